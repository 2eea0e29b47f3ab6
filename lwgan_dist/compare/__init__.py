"""Comparisons: several models on the same samples, measured alike."""
