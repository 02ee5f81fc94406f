"""One call as the services see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.errors import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class ClientCall:
    """`pykvd.transport.Call` and, for keep-alives, `Stream`: the first answer counts."""

    def __init__(self, answered: Callable[[int, str, bytes], None], token: str = "") -> None:
        self.on_done: Callable[[], None] | None = None
        self.done = False
        self.metadata: Mapping[str, str | bytes] = {"token": token} if token else {}
        self.deadline: float | None = None
        self.peer = "127.0.0.1:1"
        self.common_name = ""
        self.buffered = 0
        self.congested = False
        self._answered = answered

    def reply(self, message: bytes) -> None:
        """Answer OK."""
        self._answer(Code.OK, "", message)

    send = reply

    def fail(self, code: int, message: str) -> None:
        """Answer with an error."""
        self._answer(code, message, b"")

    def finish(self, code: int = 0, message: str = "") -> None:
        """End a stream."""
        self._answer(code or Code.CANCELLED, message, b"")

    def give_up(self) -> None:
        """The client does not wait any more."""
        self.done = True
        if self.on_done:
            self.on_done()

    def _answer(self, code: int, text: str, message: bytes) -> None:
        if not self.done:
            self.done = True
            self._answered(code, text, message)

    def send_headers(self) -> None:
        """Nothing to see."""

    def send_shared(self, framed: bytes) -> None:
        """Not for calls like these."""

    def pause_reading(self) -> None:
        """Nothing more is sent."""

    def resume_reading(self) -> None:
        """Nothing more is sent."""
