"""Decoded once: flat files of pixels and labels that every fold, model and process maps; and their statistics."""
