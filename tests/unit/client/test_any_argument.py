"""Each argument of each method, given wrong values of every kind: named, and nothing is sent."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from pykvd.client import Client, EtcdError
from pykvd.client.options import RangeOptions
from pykvd.client.transport import CallError
from pykvd.status import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WRONG: list[object] = [
    object(), 3.5, float("nan"), float("inf"), -(2**70), 2**70, -1, None, True,
    b"\xff", "\ud800", "", "x", [], ["x"], [5], (), {},
]  # fmt: skip
VALID: dict[str, object] = {
    "key": "k", "value": "v", "revision": 1, "ttl": 5, "id": 1, "name": "n", "count": 2,
    "function": lambda _: None, "member_id": 1, "peer_urls": ["http://127.0.0.1:1"], "target": 1,
    "role": "r", "password": "p", "priority": 1,
}  # fmt: skip
KINDS = {"arm": "NOSPACE", "disarm": "NOSPACE"}
OTHERS = {"prefix": "end", "ignore_value": "value", "ignore_lease": "lease"}
"""What the message names where two arguments do not go together."""


class Sent:
    """A transport that only notes that something was sent."""

    def __init__(self) -> None:
        self.calls = 0

    def unary(self, *_: object) -> bytes:
        self.calls += 1
        raise CallError(Code.UNIMPLEMENTED, "sent")

    stream: Any = unary

    def close(self) -> None:
        pass


TRANSPORT = Sent()


def owners(client: Client) -> Iterator[object]:
    yield from (client, client.cluster, client.maintenance, client.auth)
    yield from (client.lock("n"), client.election("n"), client.barrier("n"), client.queue("n"))
    yield from (client.double_barrier("n", 2), client.priority_queue("n"))


def cases() -> Iterator[Any]:
    """All methods with all their arguments."""
    for owner in owners(Client(transport=TRANSPORT)):
        for name, method in inspect.getmembers(owner, inspect.ismethod):
            if name.startswith("_") or name == "close":
                continue
            arguments = list(inspect.signature(method).parameters)
            if "options" in arguments:
                arguments += RangeOptions.__annotations__
            for argument in arguments:
                if argument != "options":
                    yield pytest.param(
                        method, argument, id=f"{type(owner).__name__}.{name}-{argument}"
                    )


@pytest.mark.parametrize(("method", "argument"), list(cases()))
def test_wrong_values_are_named_and_not_sent(method: Callable[..., Any], argument: str) -> None:
    given = {
        name: KINDS.get(method.__name__, "read") if name == "kind" else VALID[name]
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    }
    for wrong in WRONG:
        before = TRANSPORT.calls
        failure = outcome(method, {**given, argument: wrong})
        if isinstance(failure, TypeError | ValueError):
            named = (f"{argument}: ", f"{OTHERS.get(argument)}: ")
            assert (str(failure).startswith(named), TRANSPORT.calls) == (True, before), failure
        else:  # it was good enough to be sent
            assert failure is None or isinstance(failure, EtcdError), failure


@pytest.mark.parametrize("argument", ["endpoints", "user", "tls", "timeout", "max_request_bytes"])
def test_clients_name_what_they_are_made_with(argument: str) -> None:
    for wrong in WRONG:
        password = "p" if argument == "user" else None
        failure = outcome(Client, {"password": password, argument: wrong})
        if failure is not None:
            assert isinstance(failure, TypeError | ValueError)
            assert str(failure).startswith(argument.removesuffix("s")), failure


def outcome(method: Callable[..., Any], arguments: dict[str, object]) -> Exception | None:
    """What it raises."""
    try:
        result = method(**arguments)
        if inspect.isgenerator(result):
            next(result)
    except Exception as failure:  # noqa: BLE001 - that is what is looked at
        return failure
    return None
