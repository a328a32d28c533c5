"""Metrics of the field, and figures of a network on annotated data."""
