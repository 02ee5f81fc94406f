"""Play the same steps on two servers at once, find the first difference, and shrink the list."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.conformance.compare import difference
from tests.conformance.play import Answer, Player
from tests.conformance.steps import Step
from tests.harness import Client, Kind, Server, running

BATCH = 100
PATIENCE = 5.0
#: While shrinking, most of the time would be spent waiting for what never comes.
SHRINKING_PATIENCE = 1.0
SHOWN = 30
#: Hashing as it is by default takes most of the time of a run with users.
QUICK_HASHES = "--bcrypt-cost=4"


@dataclass(frozen=True)
class Mismatch:
    """The first step whose answers differ, and both answers as text."""

    index: int
    text: str


class Duel:
    """Two servers (reference first) that get the same steps."""

    def __init__(
        self,
        reference: Client,
        subject: Client,
        same_release: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        self.players = (Player(reference, patience), Player(subject, patience))
        self.same_release = same_release

    def play(self, steps: Sequence[Step]) -> Mismatch | None:
        """The first mismatch of the list. After one the two servers are no longer comparable."""
        for start in range(0, len(steps), BATCH):
            batch = steps[start : start + BATCH]
            for index, (one, other) in enumerate(zip(*self._both(batch), strict=True)):
                if (text := difference(one, other, self.same_release)) is not None:
                    return Mismatch(start + index, text)
        return None

    def close(self) -> None:
        """End the streams of both sides."""
        for player in self.players:
            player.close()

    def _both(self, batch: Sequence[Step]) -> list[list[Answer]]:
        """Each side answers in a thread of its own: neither waits for the other between steps."""
        answers: list[list[Answer]] = [[], []]
        errors: list[Exception] = []

        def run(side: int) -> None:
            try:
                answers[side] = self.players[side].play(batch)
            except Exception as error:  # noqa: BLE001 - raised again by the caller's thread
                error.add_note(f"on the {('reference', 'subject')[side]}")
                errors.append(error)

        threads = [threading.Thread(target=run, args=(side,)) for side in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for error in errors:
            raise error
        return answers


@contextmanager
def fresh_duel(reference: Kind, subject: Kind, patience: float = PATIENCE) -> Iterator[Duel]:
    """Two fresh servers and a duel between them."""
    with ExitStack() as stack:
        servers: list[Server] = [
            stack.enter_context(running(kind, [QUICK_HASHES])) for kind in (reference, subject)
        ]
        clients = [stack.enter_context(Client(server.endpoint)) for server in servers]
        duel = Duel(clients[0], clients[1], reference == subject, patience)
        stack.callback(duel.close)
        yield duel


def shrink(
    steps: Sequence[Step], fails: Callable[[Sequence[Step]], bool], seconds: float
) -> list[Step]:
    """A shorter list that still fails: chunks are left out, large to single, until time is up."""
    deadline = time.monotonic() + seconds
    best = list(steps)
    size = len(best) // 2
    while size >= 1:
        start = 0
        while start < len(best):
            if time.monotonic() > deadline:
                return best
            candidate = best[:start] + best[start + size :]
            if candidate and fails(candidate):
                best = candidate
            else:
                start += size
        size //= 2
    return best


def explain(
    reference: Kind, subject: Kind, steps: Sequence[Step], found: Mismatch, seconds: float = 40.0
) -> str:
    """The shortest list that fails on fresh servers; the recent steps if it never does."""

    def first(candidate: Sequence[Step]) -> Mismatch | None:
        with fresh_duel(reference, subject, SHRINKING_PATIENCE) as duel:
            return duel.play(candidate)

    upto = list(steps[: found.index + 1])
    if first(upto) is None:
        recent = _numbered(upto[-SHOWN:])
        return f"differs after (not on fresh servers):\n{recent}\n{found.text}"
    small = shrink(upto, lambda candidate: first(candidate) is not None, seconds)
    again = first(small) or found
    return f"differs on fresh servers after:\n{_numbered(small)}\n{again.text}"


def _numbered(steps: Sequence[Step]) -> str:
    return "\n".join(f"  {number}. {step}" for number, step in enumerate(steps, 1))
