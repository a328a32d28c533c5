"""The error of sub-commands, by itself: the command line starts without the rest."""


class CommandError(RuntimeError):
    """A sub-command cannot do what was asked; the message is one line for the terminal."""
