"""Runs plans with blocking calls."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, TypeVar, cast

from pykvd.client.errors import ClientClosed
from pykvd.client.steps import Await, Open, Pause, Plan, Receive, Send, Step
from pykvd.client.transport import CallError, Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.client.transport import Transport

T = TypeVar("T")


class Runner:
    """Does what plans say, over one transport an endpoint. Any thread may use it."""

    def __init__(self, dial: Callable[[str], Transport]) -> None:
        self._dial = dial
        self._transports: dict[str, Transport] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._pid = os.getpid()

    @property
    def closed(self) -> bool:
        """Whether it runs nothing any more."""
        return self._closed.is_set()

    def run(self, plan: Plan[T]) -> T:
        """The plan's result; raises what the plan raises, and ClientClosed."""
        self.check()
        try:
            step = next(plan)
            while True:
                try:
                    result = self._do(step)
                except BaseException as failure:  # noqa: BLE001 - the plan decides
                    step = plan.throw(self._seen(failure))
                else:
                    step = plan.send(result)
        except StopIteration as done:
            result = done.value
            return cast(T, result)

    def check(self) -> None:
        """Raises ClientClosed, or RuntimeError in a child process after `fork`."""
        if self._closed.is_set():
            raise ClientClosed
        if self.forked:
            raise RuntimeError("a client cannot be used after a fork: make another one")

    @property
    def forked(self) -> bool:
        """Whether this is a child process: the connections are its parent's."""
        return os.getpid() != self._pid

    def end(self, close: Callable[[], None]) -> None:
        """Close something that has a connection, but not the parent's in a child process."""
        if not self.forked:
            close()

    def close(self) -> None:
        """End all calls."""
        self._closed.set()
        with self._lock:
            for transport in self._transports.values():
                transport.close()

    def _do(self, step: Step) -> object:
        if isinstance(step, Send):
            transport = self._transport(step.endpoint)
            return transport.unary(step.path, step.request, step.deadline, step.metadata)
        if isinstance(step, Receive):
            return cast(Stream, step.stream).receive(step.deadline)
        if isinstance(step, Open):
            transport = self._transport(step.endpoint)
            return transport.stream(step.path, step.deadline, step.metadata)
        if isinstance(step, Await):
            left = None if step.deadline is None else max(0.0, step.deadline - time.monotonic())
            if not cast(threading.Event, step.signal).wait(left):
                raise TimeoutError
            return None
        assert isinstance(step, Pause)
        if self._closed.wait(step.seconds):
            raise ClientClosed
        return None

    def _seen(self, failure: BaseException) -> BaseException:
        """What has failed because the client was closed says so."""
        if self._closed.is_set() and isinstance(failure, CallError):
            return ClientClosed()
        return failure

    def _transport(self, endpoint: str) -> Transport:
        transport = self._transports.get(endpoint)
        if transport is None:
            with self._lock:
                self.check()
                transport = self._transports.get(endpoint) or self._dial(endpoint)
                self._transports[endpoint] = transport
        return transport
