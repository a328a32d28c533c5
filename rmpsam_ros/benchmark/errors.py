"""The error of measurements."""


class BenchmarkError(RuntimeError):
    """Something cannot be measured; the message says what and why."""
