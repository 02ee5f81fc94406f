"""A stream that starts later loses nothing, and ends when it cannot start."""

import asyncio

from pykvd.api.held import MAX_HELD, HeldStream
from pykvd.errors import Failure
from pykvd.transport import Stream, StreamReceiver


class Client:
    """What a `Stream` does for its handler."""

    def __init__(self) -> None:
        self.done = False
        self.reading = True
        self.ended: tuple[int, str] | None = None

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def finish(self, code: int = 0, message: str = "") -> None:
        self.done, self.ended = True, (code, message)


class Receiver:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def message_received(self, message: bytes) -> None:
        self.told.append(message)

    def half_closed(self) -> None:
        self.told.append("half closed")

    def closed(self) -> None:
        self.told.append("closed")

    def writable(self) -> None:
        self.told.append("writable")


def held(client: Client, receiver: Receiver, ready: asyncio.Event) -> HeldStream:
    def start(_stream: Stream) -> StreamReceiver:
        return receiver

    async def wait() -> None:
        await ready.wait()

    return HeldStream(client, start, wait)  # type: ignore[arg-type]  # all that it uses


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_came_before_is_handed_over_in_order() -> None:
    client, receiver, ready = Client(), Receiver(), asyncio.Event()
    stream = held(client, receiver, ready)
    for number in range(MAX_HELD):
        stream.message_received(b"%d" % number)
    stream.half_closed()
    stream.writable()
    await settle()
    assert receiver.told == []
    assert not client.reading, "a client that goes on sending does not fill memory"
    ready.set()
    await settle()
    assert client.reading
    assert receiver.told == [*(b"%d" % number for number in range(MAX_HELD)), "half closed"]
    stream.writable()
    stream.closed()
    assert receiver.told[-2:] == ["writable", "closed"]


async def test_a_client_that_leaves_starts_nothing() -> None:
    client, receiver, ready = Client(), Receiver(), asyncio.Event()
    stream = held(client, receiver, ready)
    await settle()
    stream.closed()
    ready.set()
    await settle()
    assert receiver.told == []


async def test_what_cannot_be_awaited_ends_the_stream() -> None:
    client = Client()

    async def fail() -> None:
        raise Failure.NO_LEADER.error()

    HeldStream(client, lambda _: Receiver(), fail)  # type: ignore[arg-type]  # all that it uses
    await settle()
    assert client.ended == (Failure.NO_LEADER.code, Failure.NO_LEADER.text)


async def test_a_receiver_that_refuses_what_was_held_is_closed() -> None:
    class Choosy(Receiver):
        def message_received(self, message: bytes) -> None:
            super().message_received(message)
            if message == b"bad":
                raise Failure.STOPPED.error()

    client, receiver, ready = Client(), Choosy(), asyncio.Event()
    stream = held(client, receiver, ready)
    for message in (b"good", b"bad", b"never"):
        stream.message_received(message)
    ready.set()
    await settle()
    assert client.ended == (Failure.STOPPED.code, Failure.STOPPED.text)
    assert receiver.told == [b"good", b"bad", "closed"]
