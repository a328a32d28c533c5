"""Whole videos from files: overlays and results that evaluation tools read."""
