"""The client without I/O: plans of single calls.

They pick the endpoint, repeat what may be repeated until the deadline, and log in when the server
asks for it.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from typing import TYPE_CHECKING, Final

from pykvd.client import arguments, errors, methods, retry
from pykvd.client.retry import Verdict
from pykvd.client.sharing import Watches
from pykvd.client.steps import Open, Pause, Receive, Send, mapped
from pykvd.client.transport import CallError, decode
from pykvd.pb import rpc_pb2 as rpc
from pykvd.status import Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.client.methods import Method, Req, Resp
    from pykvd.client.pool import Pool
    from pykvd.client.steps import Plan, Signal
    from pykvd.client.transport import AsyncStream, Metadata, Stream

DEFAULT_TIMEOUT: Final = 10.0
"""Seconds for a call; servers give up their part after seven."""
ATTEMPT_MIN: Final = 3.0
"""Seconds that one of several endpoints gets at least to answer a call that can be repeated."""
SYNC_TIMEOUT: Final = 2.0
"""Seconds that learning the members may take from the call that happens to do it."""
SHORTEST_TIMEOUT: Final = 0.001
"""Seconds for a call that comes too late already."""
LOGIN_PAUSE: Final = 0.01
"""Seconds between looks at whether another call has logged in."""


class Engine:
    """Makes plans for calls. Holds the endpoints, the login and the watches, no connection."""

    def __init__(
        self,
        pool: Pool,
        *,
        login: tuple[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_request_bytes: int = arguments.MAX_REQUEST_BYTES,
        sync_interval: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        signal: Callable[[], Signal] = threading.Event,
    ) -> None:
        self.pool = pool
        self.watches = Watches(self, signal)
        self.clock = clock
        self._login = login
        self._timeout = timeout
        self._max_request_bytes = max_request_bytes
        self._token: str | None = None
        """None before the first login; empty while the server has auth switched off."""
        self._logging_in = False
        self._sync_interval = sync_interval
        self._sync_due = clock() if sync_interval is not None else math.inf

    def deadline(self, timeout: float | None) -> float:
        """When a call with this timeout ends; None stands for the client's own."""
        if timeout is None:
            return self.clock() + self._timeout
        return self.clock() + arguments.seconds("timeout", timeout)

    def timeout_until(self, deadline: float | None) -> float | None:
        """The timeout of a call that is part of something with a deadline; never above our own."""
        if deadline is None:
            return None
        return min(self._timeout, max(deadline - self.clock(), SHORTEST_TIMEOUT))

    def call(
        self,
        method: Method[Req, Resp],
        request: Req,
        timeout: float | None = None,
        endpoint: str | None = None,
    ) -> Plan[Resp]:
        """The answer of a unary call, of this endpoint if one is given; raises EtcdError.

        Arguments are checked at once, not when the plan is run.
        """
        if endpoint is not None:
            arguments.text("endpoint", endpoint)
        data = arguments.message(request, self._max_request_bytes)
        return self._call(method, data, self.deadline(timeout), endpoint)

    def _call(
        self, method: Method[Req, Resp], data: bytes, deadline: float, only: str | None
    ) -> Plan[Resp]:
        if self.clock() >= self._sync_due:
            yield from self._sync_when_due(deadline)
        attempts = Attempts(self, deadline, repeatable=method.repeatable, only=only)
        while True:
            metadata = yield from self.metadata(deadline)
            endpoint = attempts.begin()
            try:
                reply = yield Send(endpoint, method.path, data, attempts.until, metadata)
                answer = decode(method.response, reply)
            except CallError as failure:
                yield from attempts.failed(endpoint, failure, metadata)
            else:
                self.pool.answered(endpoint)
                return answer

    def download(
        self, method: Method[Req, Resp], request: Req, timeout: float | None, only: str | None
    ) -> Plan[tuple[Stream | AsyncStream, bytes | None]]:
        """A server stream and its first message; later ones come from `Receive`."""
        deadline = self.deadline(timeout)
        data = arguments.message(request, self._max_request_bytes)
        attempts = Attempts(self, deadline, repeatable=method.repeatable, only=only)
        while True:
            metadata = yield from self.metadata(deadline)
            endpoint = attempts.begin()
            try:
                stream: Stream | AsyncStream
                stream = yield Open(endpoint, method.path, attempts.until, metadata)
                stream.send(data, last=True)
                first: bytes | None = yield from _first(stream, attempts.until)
            except CallError as failure:
                yield from attempts.failed(endpoint, failure, metadata)
            else:
                self.pool.answered(endpoint)
                return stream, first

    def sync(self, timeout: float | None = None) -> Plan[list[str]]:
        """Use the client URLs that the members tell from now on; these."""
        request = rpc.MemberListRequest(linearizable=True)
        return mapped(self.call(methods.MEMBER_LIST, request, timeout), self._use_members)

    def _use_members(self, found: rpc.MemberListResponse) -> list[str]:
        voters = [member for member in found.members if not member.isLearner]
        urls = [url for member in voters for url in member.clientURLs]
        self.pool.replace(urls)
        return urls

    def _sync_when_due(self, deadline: float) -> Plan[None]:
        now = self.clock()
        assert self._sync_interval is not None
        self._sync_due = now + self._sync_interval
        timeout = min(SYNC_TIMEOUT, (deadline - now) / 2)
        with contextlib.suppress(errors.EtcdError):  # the endpoints there are will do
            yield from self.sync(max(timeout, SHORTEST_TIMEOUT))

    def metadata(self, deadline: float) -> Plan[Metadata]:
        """What goes with a call; logs in if that has to be done first."""
        if self._login is None:
            return ()
        while self._token is None:
            yield from self._log_in_once(self._login, deadline)
        return (("token", self._token),) if self._token else ()

    @property
    def has_login(self) -> bool:
        """Whether there is a user to log in."""
        return self._login is not None

    def forget_token(self, used: Metadata) -> None:
        """Log in before the next call, unless somebody has done so since this was used."""
        if used in {(), (("token", self._token),)}:
            self._token = None

    def _log_in_once(self, login: tuple[str, str], deadline: float) -> Plan[None]:
        """Log in, or wait for another call that does: passwords are slow to check by design."""
        if self._logging_in:
            if self.clock() >= deadline:
                raise errors.DeadlineExceeded("no login by the deadline")
            yield Pause(LOGIN_PAUSE)
            return
        self._logging_in = True
        try:
            yield from self._log_in(login, deadline)
        finally:
            self._logging_in = False

    def _log_in(self, login: tuple[str, str], deadline: float) -> Plan[None]:
        request = rpc.AuthenticateRequest(name=login[0], password=login[1])
        method = methods.AUTHENTICATE
        attempts = Attempts(self, deadline, repeatable=True, only=None)
        while True:
            endpoint = attempts.begin()
            data = request.SerializeToString()
            try:
                reply: bytes = yield Send(endpoint, method.path, data, attempts.until, ())
                self._token = decode(method.response, reply).token
            except CallError as failure:
                if failure.message == errors.AuthNotEnabled.text:
                    self._token = ""
                    return
                yield from attempts.failed(endpoint, failure)
            else:
                return


def _first(stream: Stream | AsyncStream, deadline: float) -> Plan[bytes | None]:
    try:
        message: bytes | None = yield Receive(stream, deadline)
    except TimeoutError:
        stream.close()
        raise CallError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from None
    except BaseException:
        stream.close()
        raise
    return message


class Attempts:
    """The attempts at one call: where to send it next, until when, and whether at all."""

    def __init__(
        self, engine: Engine, deadline: float, *, repeatable: bool, only: str | None
    ) -> None:
        self._engine = engine
        self._deadline = deadline
        self._repeatable = repeatable
        self._only = only
        self._failures = 0
        self._reason: errors.EtcdError | None = None
        """Why an attempt failed, if that says more than that the time was over."""
        self._logged_in = False
        self._in_doubt = False
        """Whether an attempt may have been carried out although it failed."""
        self.until = deadline
        """The deadline of the attempt that was begun."""

    def begin(self) -> str:
        """The endpoint of the next attempt.

        A call that can be repeated leaves some time for another endpoint, so that one member that
        does not answer costs a part of the time, not all.
        """
        pool, now = self._engine.pool, self._engine.clock()
        if self._repeatable and self._only is None and len(pool) > 1:
            share = max((self._deadline - now) / 2, ATTEMPT_MIN)
            self.until = min(self._deadline, now + share)
        return self._only or pool.pick(now)

    def failed(
        self, endpoint: str, failure: CallError, metadata: Metadata | None = None
    ) -> Plan[None]:
        """Return when the next attempt shall be made; raises EtcdError if there shall be none.

        `metadata` is what the failed attempt carried; None if it was a login itself.
        """
        engine = self._engine
        verdict = retry.judge(
            failure,
            repeatable=self._repeatable,
            has_login=metadata is not None and engine.has_login and not self._logged_in,
            alone=self._only is not None or len(engine.pool) == 1,
        )
        error = retry.translate(failure, repeatable=self._repeatable)
        error.repeated = self._in_doubt
        self._in_doubt |= retry.translate(failure, repeatable=False).maybe_applied
        if verdict is Verdict.RAISE:
            raise error from None
        if verdict is Verdict.LOGIN and metadata is not None:
            self._logged_in = True
            engine.forget_token(metadata)
            return
        if failure.code != Code.DEADLINE_EXCEEDED:
            self._reason = error
        now = engine.clock()
        engine.pool.failed(endpoint, now)
        self._failures += 1
        seconds = retry.pause(self._failures, 1 if self._only else len(engine.pool))
        if now + seconds >= self._deadline:
            raise (self._reason or error) from None
        if seconds:
            yield Pause(seconds)
