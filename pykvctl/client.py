"""The client: one endpoint after the other until a call is answered.

A call goes to the endpoint that answered last. If it cannot be reached the next one is tried, round
and round with short pauses, until the call's deadline; only then the user hears of it. A call that
may have been carried out is sent again only if its method is repeatable.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import Message

from pykvctl.dialing import describe, never_sent
from pykvctl.endpoints import Endpoint
from pykvctl.errors import CommandError, RequestError
from pykvctl.gotext.durations import SECOND
from pykvctl.options.global_flags import GlobalFlags
from pykvctl.transport import SEND_LIMIT_BYTES, TlsFiles, open_channel, read_tls_files, uses_tls
from pykvd.methods import AUTHENTICATE, Method, Req, Resp
from pykvd.pb import rpc_pb2 as rpc

if TYPE_CHECKING:
    from pykvctl.tunnel import Tunnel
    from pykvd.client import AsyncClient

Metadata = tuple[tuple[str, str], ...]

# The API level spoken; servers may refuse clients that are too old.
API_VERSION_METADATA = ("client-api-version", "3.6.0")
# Asks the server to end a stream when its member has lost the leader.
REQUIRE_LEADER: Metadata = (("hasleader", "true"),)

RETRY_PAUSE_S = 0.05
# Refusals that a new token may cure.
STALE_TOKEN = frozenset(
    {
        "etcdserver: invalid auth token",
        "etcdserver: revision of auth store is old",
        "etcdserver: user name is empty",
    }
)


class Client:
    """Calls the API through the first endpoint that answers.

    `on_failure` hears of each failed unary call (method, peer or "", error) before it is raised.
    """

    def __init__(
        self,
        endpoints: list[Endpoint],
        flags: GlobalFlags,
        credentials: tuple[str, str] | None,
        on_failure: Callable[[str, str, RequestError], None],
        *,
        files: TlsFiles | None = None,
    ) -> None:
        self.endpoints = endpoints
        self._flags = flags
        self._files = files if files is not None else read_tls_files(flags)
        self._credentials = credentials
        self._on_failure = on_failure
        self._send_limit = flags.max_request_bytes or SEND_LIMIT_BYTES
        self._channels: dict[Endpoint, grpc.Channel] = {}
        self._tunnels: list[Tunnel] = []
        self._current = 0
        self._token = ""

    def only(self, endpoint: Endpoint) -> "Client":
        """A client with the same settings for one endpoint."""
        client = Client(
            [endpoint], self._flags, self._credentials, self._on_failure, files=self._files
        )
        client._channels = self._channels
        client._tunnels = self._tunnels
        client._token = self._token
        return client

    def asynchronous(self) -> "AsyncClient":
        """A client of the same endpoints for an event loop: for thousands of calls a second.

        Raises CommandError for endpoints that are none.
        """
        from pykvd.client import TLS, AsyncClient  # noqa: PLC0415  # seldom used

        flags = self._flags
        tls = TLS(
            ca=flags.cacert or None,
            cert=flags.cert or None,
            key=flags.key or None,
            server_name=flags.discovery_srv if not flags.insecure_discovery else None,
            verify=not flags.insecure_skip_tls_verify,
        )
        user, password = self._credentials or (None, None)
        try:
            return AsyncClient(
                map(self._url, self.endpoints), tls=tls, user=user, password=password
            )
        except ValueError as error:
            raise CommandError(str(error)) from None

    def _url(self, endpoint: Endpoint) -> str:
        secure = uses_tls(endpoint, self._flags, self._files)
        if endpoint.target.startswith("unix:"):
            return f"{'unixs' if secure else 'unix'}:{endpoint.address}"
        return f"{'https' if secure else 'http'}://{endpoint.target}"

    def close(self) -> None:
        """Close all connections."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        for tunnel in self._tunnels:
            tunnel.close()
        self._tunnels.clear()

    def auth_info(self, endpoint: Endpoint) -> str:
        """`tls` or `insecure`."""
        return "tls" if uses_tls(endpoint, self._flags, self._files) else "insecure"

    def authenticate(self, timeout_s: float | None) -> None:
        """Get a token for the user; without one, or while auth is off, calls go without."""
        if self._credentials is None:
            return
        name, password = self._credentials
        request = rpc.AuthenticateRequest(name=name, password=password)
        self._token = ""
        try:
            self._token = self._unary(AUTHENTICATE, request, timeout_s).token
        except RequestError as error:
            self._on_failure(AUTHENTICATE.path, self._peer_of(error), error)
            if error.details != "etcdserver: authentication is not enabled":
                raise

    def unary(
        self,
        method: Method[Req, Resp],
        request: Req,
        timeout_s: float | None,
        *,
        quiet: bool = False,
    ) -> Resp:
        """The answer; raises RequestError. `timeout_s` None waits for a server for ever.

        `quiet` is for callers to whom a failure is an answer: `on_failure` does not hear of it.
        """
        try:
            try:
                return self._unary(method, request, timeout_s)
            except RequestError as error:
                if not self.renew_token(error, timeout_s):
                    raise
                return self._unary(method, request, timeout_s)
        except RequestError as error:
            if not quiet:
                self._on_failure(method.path, self._peer_of(error), error)
            raise

    def renew_token(self, error: RequestError, timeout_s: float | None) -> bool:
        """Get a new token if that may cure the failure; RequestError if it cannot be had."""
        if not self.may_renew_token(error.details):
            return False
        self.authenticate(timeout_s)
        return bool(self._token)

    def may_renew_token(self, reason: str) -> bool:
        """Whether a refusal is one that a new token may cure."""
        return self._credentials is not None and reason.rpartition(" desc = ")[2] in STALE_TOKEN

    def _peer_of(self, error: RequestError) -> str:
        if error.code == "DeadlineExceeded" and "balancer" in error.details:
            return ""
        return self.endpoints[self._current].address

    def _unary(self, method: Method[Req, Resp], request: Req, timeout_s: float | None) -> Resp:
        data = request.SerializeToString()
        if len(data) > self._send_limit:
            raise RequestError(
                "ResourceExhausted",
                f"trying to send message larger than max ({len(data)} vs. {self._send_limit})",
            )
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        failures = _Failures()
        while True:
            call: Callable[..., Resp] = self._channel().unary_unary(
                method.path, response_deserializer=method.response.FromString
            )
            left = None if deadline is None else deadline - time.monotonic()
            try:
                if left is not None and left <= 0:
                    raise failures.out_of_time()
                answer = call(data, timeout=left, metadata=self._metadata())
            except grpc.RpcError as error:
                failure = self._failure(error)
                if failure.code == "DeadlineExceeded" and failures.last:
                    raise failures.out_of_time() from None
                if not self._may_retry(method, error, failure):
                    raise failure from None
                failures.add(failure)
                self._next(failures, deadline)
            else:
                _check_answer(request, answer)
                return answer

    def _may_retry(
        self, method: Method[Req, Resp], error: grpc.RpcError, failure: RequestError
    ) -> bool:
        if failure.code != "Unavailable":
            return False
        return method.repeatable or never_sent(error)

    def _next(self, failures: "_Failures", deadline: float | None) -> None:
        """Turn to the next endpoint, with a pause after each round; raises once time is over."""
        self._current = (self._current + 1) % len(self.endpoints)
        pause = RETRY_PAUSE_S if failures.count % len(self.endpoints) == 0 else 0.0
        if deadline is not None and time.monotonic() + pause >= deadline:
            time.sleep(max(0.0, deadline - time.monotonic()))
            raise failures.out_of_time() from None
        time.sleep(pause)

    def stream(
        self,
        method: Method[Req, Resp],
        requests: Iterable[Req],
        *,
        metadata: Metadata = (),
        timeout_s: float | None = None,
    ) -> Iterator[Resp]:
        """Open a bidirectional stream on the current endpoint.

        Iterating raises grpc.RpcError; `translate` tells what it means.
        """
        call = self._channel().stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        answers: Iterator[Resp] = call(
            iter(requests), timeout=timeout_s, metadata=self._metadata() + metadata
        )
        return answers

    def download(
        self, method: Method[Req, Resp], request: Req, timeout_s: float | None
    ) -> Iterator[Resp]:
        """The answers of a server stream, once an endpoint can be reached; raises RequestError."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        failures = _Failures()
        while True:
            call: Callable[..., Iterator[Resp]] = self._channel().unary_stream(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                yield from call(request, timeout=left, metadata=self._metadata())
                return
            except grpc.RpcError as error:
                failure = self._failure(error)
                if not never_sent(error):
                    raise failure from None
                failures.add(failure)
                self._next(failures, deadline)

    def turn(self) -> None:
        """Use the next endpoint for what follows."""
        self._current = (self._current + 1) % len(self.endpoints)

    def translate(self, error: grpc.RpcError) -> RequestError:
        """The failure of a stream."""
        return self._failure(error)

    def _channel(self) -> grpc.Channel:
        endpoint = self.endpoints[self._current]
        channel = self._channels.get(endpoint)
        if channel is None:
            tunnel = self._tunnel(endpoint)
            channel = open_channel(endpoint, self._flags, self._files, tunnel)
            self._channels[endpoint] = channel
        return channel

    def _tunnel(self, endpoint: Endpoint) -> str:
        """Where the server is reached without its certificate being verified; else empty."""
        flags = self._flags
        if not (flags.insecure_skip_tls_verify and uses_tls(endpoint, flags, self._files)):
            return ""
        from pykvctl.tunnel import Tunnel  # noqa: PLC0415  # slow to import, and seldom used

        tunnel = Tunnel(endpoint, flags.cert, flags.key, flags.dial_timeout / SECOND)
        self._tunnels.append(tunnel)
        return tunnel.target

    def _metadata(self) -> Metadata:
        if self._token:
            return (API_VERSION_METADATA, ("token", self._token))
        return (API_VERSION_METADATA,)

    def _failure(self, error: grpc.RpcError) -> RequestError:
        return describe(error, self.endpoints[self._current])


def _check_answer(request: Message, answer: Message | None) -> None:
    """Refuse what no server of the API says: callers take the parts of an answer for granted."""
    if answer is None:
        raise RequestError("Internal", "there is no answer")
    if isinstance(request, rpc.TxnRequest) and isinstance(answer, rpc.TxnResponse):
        holds = answer.succeeded or not request.compare
        branch = request.success if holds else request.failure
        asked = [_kind(op.WhichOneof("request")) for op in branch]
        if asked != [_kind(op.WhichOneof("response")) for op in answer.responses]:
            raise RequestError("Internal", "the answer does not belong to the request")


def _kind(field: str | None) -> str:
    return (field or "").partition("_")[2]


class _Failures:
    """The failed attempts of a call."""

    def __init__(self) -> None:
        self.count = 0
        self.last: RequestError | None = None

    def add(self, failure: RequestError) -> None:
        """One more."""
        self.count += 1
        self.last = failure

    def out_of_time(self) -> RequestError:
        """The time of the call is over; the last failure tells what it was spent on."""
        text = f"latest balancer error: {self.last.details}" if self.last else ""
        return RequestError("DeadlineExceeded", text or "context deadline exceeded")
