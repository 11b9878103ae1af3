"""Metrics: counts of pixels per image and class first, then any score from the counts."""
