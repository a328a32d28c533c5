"""Measurements: the engines of a network, and the whole node."""
