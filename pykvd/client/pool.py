"""The endpoints of a cluster, and which of them is next. Pure: times are arguments, in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

REST_MIN: Final = 0.1
"""How long an endpoint is passed over after its first failure; doubled with each in a row."""
REST_MAX: Final = 5.0


class _State:
    """What is known of one endpoint."""

    __slots__ = ("failures", "rests_until")

    def __init__(self) -> None:
        self.failures = 0
        self.rests_until = 0.0


class Pool:
    """Round robin over the endpoints that have not failed lately.

    Invariant: never empty.
    """

    def __init__(self, endpoints: Iterable[str]) -> None:
        self._states = {endpoint: _State() for endpoint in endpoints}
        self._order = list(self._states)
        self._next = 0
        if not self._order:
            raise ValueError("endpoints: at least one is needed")

    @property
    def endpoints(self) -> list[str]:
        """All of them."""
        return list(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def pick(self, now: float) -> str:
        """The next one that does not rest; if all do, the one that rests the shortest."""
        order = self._order
        count = len(order)
        for step in range(count):
            index = (self._next + step) % count
            if self._states[order[index]].rests_until <= now:
                self._next = (index + 1) % count
                return order[index]
        return min(order, key=lambda endpoint: self._states[endpoint].rests_until)

    def failed(self, endpoint: str, now: float) -> None:
        """It could not be reached or does not work; let it rest."""
        state = self._states.get(endpoint)
        if state is not None:
            state.rests_until = now + min(REST_MAX, REST_MIN * 2**state.failures)
            state.failures = min(state.failures + 1, 16)

    def answered(self, endpoint: str) -> None:
        """It works."""
        state = self._states.get(endpoint)
        if state is not None and state.failures:
            state.failures = 0
            state.rests_until = 0.0

    def replace(self, endpoints: Iterable[str]) -> None:
        """Use these from now on; what is known of the ones that stay is kept."""
        order = list(dict.fromkeys(endpoints))
        if order:
            self._states = {one: self._states.get(one) or _State() for one in order}
            self._order, self._next = order, 0
