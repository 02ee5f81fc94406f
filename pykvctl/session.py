"""One invocation: its streams, environment, global flags, and the client made from them.

Commands check their arguments first and ask for the client or the printer afterwards: only then the
environment is read and only then its errors appear, as in etcdctl.
"""

from collections.abc import Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from pykvctl.endpoints import Endpoint, parse_endpoints
from pykvctl.errors import (
    BadArgumentsError,
    CommandError,
    ExitCode,
    ReportedError,
    RequestError,
)
from pykvctl.gotext.durations import SECOND
from pykvctl.logline import log_line
from pykvctl.options.global_flags import (
    GLOBAL_OPTIONS,
    GlobalFlags,
    ShadowedVariableError,
    from_environment,
    from_flags,
    unrecognized,
    variable_of,
)
from pykvctl.options.values import FlagType
from pykvctl.output import Printer, make_printer
from pykvctl.prompt import read_password
from pykvctl.streams import Streams

if TYPE_CHECKING:
    from pykvctl.client import Client

LOGGER = "etcd-client"


class Session:
    """What a command works with. `given` holds the global flags of the command line only."""

    def __init__(
        self, streams: Streams, environ: Mapping[str, str], given: Mapping[str, Any]
    ) -> None:
        self.streams = streams
        self.environ = environ
        self.given = given
        self.quiet_variables: frozenset[str] = frozenset()
        self.logger = LOGGER
        self._clients: list[Client] = []

    @cached_property
    def timeout_s(self) -> float:
        """Deadline of a short command.

        etcdctl makes it before it reads variables, so ETCDCTL_COMMAND_TIMEOUT does not count here.
        """
        return from_flags(self.given).command_timeout / SECOND

    @property
    def full_timeout_s(self) -> float:
        """Deadline of the commands that do honour ETCDCTL_COMMAND_TIMEOUT."""
        return self.flags.command_timeout / SECOND

    @cached_property
    def flags(self) -> GlobalFlags:
        """Global flags, completed from the environment; complains about odd variables once."""
        try:
            values = from_environment(self.given, self.environ)
        except ShadowedVariableError as error:
            self.log(
                "fatal",
                "conflicting environment variable is shadowed by corresponding command-line flag "
                "(either unset environment variable or disable flag))",
                environment_variable=str(error),
            )
            raise ReportedError from None
        for variable in unrecognized(self.environ, known=self.quiet_variables):
            self.log("warn", "unrecognized environment variable", environment_variable=variable)
        flags = from_flags({**values, **self.given})
        if flags.debug:
            self._show(flags)
        return flags

    def _show(self, flags: GlobalFlags) -> None:
        for option in GLOBAL_OPTIONS:
            assert isinstance(option.type, FlagType)
            value = getattr(flags, str(option.name))
            self.streams.error_line(f"{variable_of(option)}={option.type.text(value)}")

    @cached_property
    def printer(self) -> Printer:
        """The printer of the chosen format; CommandError if there is none of that name."""
        return make_printer(self.flags.write_out, self.streams, hex_bytes=self.flags.hex)

    @cached_property
    def endpoints(self) -> list[Endpoint]:
        """The endpoints: from DNS if asked for and there are any, else of the flag."""
        flags = self.flags
        found: list[str] = []
        if flags.discovery_srv:
            from pykvctl.discovery import discover  # noqa: PLC0415  # seldom used

            suffix, insecure = flags.discovery_srv_name, flags.insecure_discovery
            found = discover(flags.discovery_srv, suffix, self.streams, insecure=insecure)
        return parse_endpoints(found or flags.endpoints)

    @cached_property
    def client(self) -> "Client":
        """A client that is ready to call; made at the first use."""
        for name in ("cert", "key", "cacert"):
            if self.given.get(name) == "":
                raise BadArgumentsError(f"empty string is passed to --{name} option")
        credentials = self._credentials(self.flags, "Password: ")
        assert self.printer is not None
        return self._connect(self.endpoints, self.flags, credentials)

    def connect(self, endpoints: list[Endpoint], flags: GlobalFlags, *, prompt: str) -> "Client":
        """A client for another cluster, ready to call; `prompt` asks for its password."""
        return self._connect(endpoints, flags, self._credentials(flags, prompt))

    def _connect(
        self, endpoints: list[Endpoint], flags: GlobalFlags, credentials: tuple[str, str] | None
    ) -> "Client":
        # Importing gRPC takes 40 ms, which argument errors and help should not have to wait for.
        from pykvctl.client import Client  # noqa: PLC0415

        if not endpoints:
            raise CommandError("etcdclient: no available endpoints", ExitCode.BAD_CONNECTION)
        client = Client(endpoints, flags, credentials, partial(self._log_failure, endpoints))
        self._clients.append(client)
        try:
            client.authenticate(flags.dial_timeout / SECOND)
        except RequestError as error:
            raise CommandError(str(error), ExitCode.BAD_CONNECTION) from None
        return client

    def _credentials(self, flags: GlobalFlags, prompt: str) -> tuple[str, str] | None:
        """Name and password; None if either is empty, for then no token is asked for."""
        if not flags.user:
            return None
        name, has_password, password = flags.user.partition(":")
        if flags.password:
            name, password = flags.user, flags.password
        elif not has_password:
            password = read_password(self.streams, prompt)
        return (name, password) if name and password else None

    def log(
        self, level: str, message: str, *, logger: str = "", caller: str = "", **fields: object
    ) -> None:
        """Write a log line to standard error."""
        self.streams.error_line(log_line(level, message, logger=logger, caller=caller, **fields))

    def _log_failure(
        self, endpoints: list[Endpoint], method: str, peer: str, error: RequestError
    ) -> None:
        """Why a call failed: the error line alone may only say that its time is over."""
        addresses = ",".join(endpoint.address for endpoint in endpoints)
        self.log(
            "warn",
            "retrying of unary invoker failed",
            logger=self.logger,
            caller="pykvctl/client.py",
            target=f"etcd-endpoints://{addresses}",
            peer=f"Peer{{Addr: {peer!r}}}" if peer else "Peer{Addr: <nil>}",
            method=method,
            attempt=0,
            error=error.grpc_text,
        )

    def close(self) -> None:
        """Release connections."""
        for client in self._clients:
            client.close()
