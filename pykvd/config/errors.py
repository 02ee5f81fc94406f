"""What is raised when the server's options cannot be used."""

from __future__ import annotations


class ConfigError(ValueError):
    """Options that cannot be used; `str()` is one line saying which and why.

    event, fields: the log message and its fields, worded as etcd words them.
    """

    def __init__(self, reason: str, *, event: str = "failed to verify flags", **fields: str):
        line = "".join(c if c.isprintable() else _escaped(c) for c in reason)
        super().__init__(line)
        self.event = event
        self.fields = fields or {"error": line}


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


class UsageError(ConfigError):
    """A command line that does not follow the syntax: an unknown flag, a value that is not one.

    similar: the name of a flag that may have been meant, or "".
    """

    def __init__(self, reason: str, *, similar: str = ""):
        super().__init__(reason)
        self.similar = similar


class ShadowedVariableError(ConfigError):
    """An option that is given both as a flag and as a variable."""

    def __init__(self, variable: str, flag: str):
        super().__init__(
            f"{variable} and --{flag} are both set",
            event="conflicting environment variable is shadowed by corresponding command-line flag "
            "(either unset environment variable or disable flag))",
            environment_variable=variable,
        )


class HelpRequested(Exception):  # noqa: N818 - a request, as argparse's and Go's are
    """`-h` or `--help` stands on the command line."""
