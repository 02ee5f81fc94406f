"""Exit codes of the command line and the exceptions that carry them.

Every failure a user can cause ends here: commands raise, `dispatch.run` prints one line and
returns the code. Nothing below it writes an error line or exits the process by itself.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit statuses; scripts written for etcdctl test for these numbers."""

    SUCCESS = 0
    ERROR = 1
    BAD_CONNECTION = 2
    INVALID_INPUT = 3
    BAD_FEATURE = 4
    INTERRUPTED = 5
    BAD_ARGUMENTS = 128


class CommandError(Exception):
    """A failure shown as `Error: TEXT`."""

    def __init__(self, text: str, exit_code: int = ExitCode.ERROR) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class BadArgumentsError(CommandError):
    """Wrong arguments of a command."""

    def __init__(self, text: str) -> None:
        super().__init__(text, ExitCode.BAD_ARGUMENTS)


class ReportedError(Exception):
    """A failure whose text the command has written already; only the status is left."""

    def __init__(self, exit_code: ExitCode = ExitCode.ERROR) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class FlagError(Exception):
    """The command line cannot be parsed; shown together with the usage text."""


class UnknownCommandError(Exception):
    """The first word names no command; the text includes suggestions."""


class RequestError(Exception):
    """A request that failed: `code` is the gRPC code in CamelCase, `details` its description."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details

    def __str__(self) -> str:
        """The text clients show: texts of the API stand alone, others keep the gRPC form."""
        if self.code == "DeadlineExceeded":
            return "context deadline exceeded"
        if self.details.startswith("etcdserver: ") and self.details not in _UNMAPPED:
            return self.details
        return self.grpc_text

    @property
    def grpc_text(self) -> str:
        """The complete form with code and description."""
        return f"rpc error: code = {self.code} desc = {self.details}"


# Texts of the API that its reference client has no typed error for.
_UNMAPPED = frozenset(
    {
        "etcdserver: invalid client api version",
        "etcdserver: permission not given",
        "etcdserver: request canceled",
        "etcdserver: request timed out, waiting for the applied index took too long",
        "etcdserver: watch canceled",
    },
)
