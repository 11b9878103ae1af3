"""Masks: run-length codes, objects, clean-up, and the one place where a threshold is applied."""
