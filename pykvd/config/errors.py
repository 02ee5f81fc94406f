"""What is raised when the server's options cannot be used."""

from __future__ import annotations


class ConfigError(ValueError):
    """Options that cannot be used; `str()` is one line saying which and why.

    `event` and `fields` are the log message and its fields, worded as etcd words them.
    """

    def __init__(self, reason: str, *, event: str = "failed to verify flags", **fields: str):
        super().__init__(reason)
        self.event = event
        self.fields = fields or {"error": reason}


class UsageError(ConfigError):
    """A command line that does not follow the syntax: an unknown flag, a value that is not one."""


class HelpRequested(Exception):  # noqa: N818 - a request, as argparse's and Go's are
    """`-h` or `--help` stands on the command line."""
