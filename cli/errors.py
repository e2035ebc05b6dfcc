"""An error of whoever uses the command line."""


class PlatformError(Exception):
    """A user error; the message names the cure."""
