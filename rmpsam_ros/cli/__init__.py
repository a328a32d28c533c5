"""The ``rmpsam`` command: every sub-command in a file of its own."""
