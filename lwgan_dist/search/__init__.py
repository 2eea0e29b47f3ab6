"""Searches: which configuration is best on a sample, and how much the estimate depends on it."""
