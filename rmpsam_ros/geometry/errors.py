"""Errors of the geometry."""


class GeometryError(ValueError):
    """A calibration or depth image that cannot be used; the message says what and why."""
