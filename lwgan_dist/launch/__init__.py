"""Runs on a cluster. The only place that imports Ray."""
