"""Leases: their calls, and who renews them, without I/O."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Final

from pykvd.client import arguments, errors, methods
from pykvd.client.retry import translate
from pykvd.client.steps import REQUIRE_LEADER, Open, Pause, Receive, mapped
from pykvd.client.transport import CallError, decode
from pykvd.client.values import LeaseInfo
from pykvd.pb import rpc_pb2 as rpc
from pykvd.status import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pykvd.client.engine import Engine
    from pykvd.client.steps import Plan
    from pykvd.client.transport import Metadata

MAX_TTL: Final = 9_000_000_000
GIVE_UP_TIMEOUT: Final = 1.0
"""Seconds for giving back what nobody will use: leases that are not given back run out."""
GRANT_PAUSE: Final = 0.1
"""Seconds in which a call that was cancelled on its way takes effect, if it ever does."""
RENEWALS: Final = 3
"""How often a lease is renewed within its time to live."""
RETRY_PAUSE: Final = 0.5
"""Seconds until a failed renewal is tried again."""


def grant(engine: Engine, ttl: int, lease_id: int, timeout: float | None) -> Plan[tuple[int, int]]:
    """The id and the time to live (seconds) of a new lease."""
    request = rpc.LeaseGrantRequest(
        TTL=arguments.integer("ttl", ttl, 1, MAX_TTL),
        ID=arguments.integer("id", lease_id, -arguments.INT64_MAX - 1),
    )
    if lease_id:
        made = engine.call(methods.GRANT_ID, request, timeout)
        return mapped(made, lambda made: (made.ID, made.TTL))
    request.ID = secrets.randbelow(arguments.INT64_MAX) + 1
    return _grant_new(engine, request, engine.call(methods.GRANT, request, timeout))


def _grant_new(
    engine: Engine, request: rpc.LeaseGrantRequest, call: Plan[rpc.LeaseGrantResponse]
) -> Plan[tuple[int, int]]:
    """Grant a lease whose id is our choice: so nothing is left of one that nobody will use."""
    try:
        made = yield from call
    except errors.LeaseExists as error:
        if not error.repeated:
            raise
        return request.ID, request.TTL  # an attempt of ours made it whose answer was lost
    except (GeneratorExit, Exception):
        raise
    except BaseException:  # the caller was cancelled
        with contextlib.suppress(errors.EtcdError):
            yield from _revoke_abandoned(engine, request.ID)
        raise
    return made.ID, made.TTL


def _revoke_abandoned(engine: Engine, lease_id: int) -> Plan[None]:
    """End a lease that may be granted only now: servers do not keep the order of two calls."""
    try:
        yield from revoke(engine, lease_id, GIVE_UP_TIMEOUT)
    except errors.LeaseNotFound:
        yield Pause(GRANT_PAUSE)
        yield from revoke(engine, lease_id, GIVE_UP_TIMEOUT)


def insist(attempt: Callable[[], Plan[None]]) -> Plan[None]:
    """Give something back, also when the caller is cancelled in the middle of it."""
    try:
        yield from attempt()
    except (GeneratorExit, Exception):
        raise
    except BaseException:
        with contextlib.suppress(errors.EtcdError):
            yield from attempt()
        raise


def revoke(engine: Engine, lease_id: int, timeout: float | None) -> Plan[None]:
    """End a lease and delete its keys; raises LeaseNotFound.

    Not if it is gone because an attempt of ours ended it whose answer was lost.
    """
    request = rpc.LeaseRevokeRequest(ID=lease_id)
    deadline = engine.deadline(timeout)

    def attempt() -> Plan[None]:
        try:
            yield from engine.call(methods.REVOKE, request, engine.timeout_until(deadline))
        except errors.LeaseNotFound as error:
            if not error.repeated:
                raise

    return insist(attempt)


def time_to_live(
    engine: Engine, lease_id: int, timeout: float | None, *, keys: bool
) -> Plan[LeaseInfo]:
    """What the server knows about a lease."""
    request = rpc.LeaseTimeToLiveRequest(ID=lease_id, keys=arguments.flag("keys", keys))
    return mapped(
        engine.call(methods.TIME_TO_LIVE, request, timeout),
        lambda found: LeaseInfo(found.ID, found.TTL, found.grantedTTL, list(found.keys)),
    )


def all_leases(engine: Engine, timeout: float | None) -> Plan[list[int]]:
    """The ids of all leases."""
    return mapped(
        engine.call(methods.LEASES, rpc.LeaseLeasesRequest(), timeout),
        lambda found: [lease.ID for lease in found.leases],
    )


def renew_once(engine: Engine, lease_id: int, timeout: float | None) -> Plan[int]:
    """Renew a lease; its time to live from now on. Raises LeaseNotFound."""
    method = methods.KEEP_ALIVE
    request = rpc.LeaseKeepAliveRequest(ID=lease_id)
    download = engine.download(method, request, timeout, None)

    def result() -> Plan[int]:
        stream, data = yield from download
        stream.close()
        try:
            ttl = decode(method.response, data or b"").TTL
        except CallError as failure:
            raise translate(failure, repeatable=True) from None
        if ttl <= 0:
            raise errors.LeaseNotFound
        return ttl

    return result()


class Renewal:
    """A lease that is kept: when it is due, and whether it is still there. Times in seconds."""

    __slots__ = ("due", "expires", "lease_id", "lost", "on_lost", "ttl")

    def __init__(self, lease_id: int, ttl: int, now: float, on_lost: Callable[[], None]) -> None:
        self.lease_id = lease_id
        self.lost = False
        self.on_lost = on_lost
        self.renewed(ttl, now)

    def renewed(self, ttl: int, now: float) -> None:
        """It lives for `ttl` seconds from when the renewal was sent."""
        self.ttl = ttl
        self.due = now + ttl / RENEWALS
        self.expires = now + ttl

    def lose(self) -> None:
        """It is gone."""
        if not self.lost:
            self.lost = True
            self.on_lost()


class Keeper:
    """The leases of a client that are renewed. All that are due travel on one short stream."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._renewals: dict[int, Renewal] = {}

    def add(self, lease_id: int, ttl: int, on_lost: Callable[[], None]) -> Renewal:
        """Keep a lease from now on; `on_lost` is called once if it turns out to be gone."""
        renewal = Renewal(lease_id, ttl, self._engine.clock(), on_lost)
        self._renewals[lease_id] = renewal
        return renewal

    def remove(self, lease_id: int) -> None:
        """Keep it no longer."""
        self._renewals.pop(lease_id, None)

    def wait_seconds(self) -> float | None:
        """Until the next one is due; None if there is none."""
        dues = [renewal.due for renewal in list(self._renewals.values())]
        return max(0.0, min(dues) - self._engine.clock()) if dues else None

    def renew_due(self) -> Plan[None]:
        """Renew what is due; failures are tried again until a lease's time is over."""
        now = self._engine.clock()
        due = [renewal for renewal in list(self._renewals.values()) if renewal.due <= now]
        if not due:
            return
        metadata: Metadata | None = None
        try:
            deadline = min([now + 5.0, *(renewal.expires for renewal in due)])
            metadata = yield from self._engine.metadata(deadline)
            yield from self._renew(due, metadata, deadline)
        except (CallError, TimeoutError, errors.EtcdError) as failure:
            if isinstance(failure, CallError) and metadata:
                self._engine.forget_token(metadata)
            yield Pause(min(RETRY_PAUSE, *(renewal.ttl / 10 for renewal in due)))
        self._expire(due)

    def _renew(self, due: Iterable[Renewal], metadata: Metadata, deadline: float) -> Plan[None]:
        engine = self._engine
        endpoint = engine.pool.pick(engine.clock())
        stream = None
        try:
            path = methods.KEEP_ALIVE.path
            stream = yield Open(endpoint, path, deadline, (*metadata, *REQUIRE_LEADER))
            sent = engine.clock()
            waiting = {renewal.lease_id: renewal for renewal in due}
            for lease_id in waiting:
                stream.send(rpc.LeaseKeepAliveRequest(ID=lease_id).SerializeToString())
            while waiting:
                data = yield Receive(stream, deadline)
                self._answered(data, waiting, sent)
        except (CallError, TimeoutError):
            engine.pool.failed(endpoint, engine.clock())
            raise
        finally:
            if stream is not None:
                stream.close()
        engine.pool.answered(endpoint)

    def _answered(self, data: bytes | None, waiting: dict[int, Renewal], sent: float) -> None:
        if data is None:
            raise CallError(Code.UNAVAILABLE, "the server ended the stream")
        answer = decode(methods.KEEP_ALIVE.response, data)
        renewal = waiting.pop(answer.ID, None)
        if renewal is None:
            return
        if answer.TTL > 0:
            renewal.renewed(answer.TTL, sent)
        else:
            self.remove(renewal.lease_id)
            renewal.lose()

    def _expire(self, renewals: Iterable[Renewal]) -> None:
        """Give up those whose time is over: the servers do so too."""
        now = self._engine.clock()
        for renewal in renewals:
            if renewal.expires <= now:
                self.remove(renewal.lease_id)
                renewal.lose()
