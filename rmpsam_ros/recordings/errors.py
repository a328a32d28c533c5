"""Errors of recordings."""


class RecordingError(RuntimeError):
    """A recording that cannot be read, processed or written; the message is one line."""
