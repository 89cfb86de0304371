"""Metrics of segmentations: pure functions, and thresholds chosen by them."""
