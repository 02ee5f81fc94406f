"""An `h2` client in memory against our connection.

Whole buffers, byte by byte, and random splits.
"""

from collections.abc import Callable, Iterator
from random import Random

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pykvd.transport import grpc
from tests.unit.transport.harness import CHAT, ECHO, Peer, request_headers

Cut = Callable[[bytes], Iterator[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def single_bytes(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[at : at + 1]


class Client:
    """The h2 side: remembers what each stream received and gives windows back."""

    def __init__(self, cut: Cut) -> None:
        self.peer = Peer(start=False)
        self.cut = cut
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.body: dict[int, bytes] = {}
        self.headers: dict[int, dict[str, str]] = {}
        self.ended: set[int] = set()
        self.exchange()

    def exchange(self) -> None:
        """Carry bytes both ways until nobody has any."""
        while True:
            data = self.h2.data_to_send()
            for piece in self.cut(data):
                self.peer.send(piece)
            self.peer.collect()
            answer, self.peer.output = self.peer.output, b""
            if not data and not answer:
                return
            for piece in self.cut(answer):
                for event in self.h2.receive_data(piece):
                    self.handle(event)

    def handle(self, event: Event) -> None:
        if isinstance(event, ResponseReceived | TrailersReceived):
            fields = self.headers.setdefault(event.stream_id, {})
            fields.update((str(name), str(value)) for name, value in event.headers)
        elif isinstance(event, DataReceived):
            self.body[event.stream_id] = self.body.get(event.stream_id, b"") + event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.ended.add(event.stream_id)
        else:
            assert not isinstance(event, StreamReset)

    def open(self, path: str, extra: list[tuple[str, str]] | None = None) -> int:
        stream_id: int = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, request_headers(path, extra))
        return stream_id

    def send(self, stream_id: int, data: bytes, *, end_stream: bool = False) -> None:
        """DATA in as many frames as the windows allow."""
        while data:
            size = min(
                self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size
            )
            if not size:
                self.exchange()
                continue
            self.h2.send_data(stream_id, data[:size])
            data = data[size:]
        if end_stream:
            self.h2.end_stream(stream_id)
        self.exchange()


@pytest.mark.parametrize("cut", [whole, single_bytes])
def test_unary_calls_of_many_sizes(cut: Cut) -> None:
    client = Client(cut)
    for size in (0, 1, 1000, 16_379, 16_380, 70_000, 200_000):
        message = bytes(size)
        stream_id = client.open(ECHO)
        client.send(stream_id, grpc.frame_message(message), end_stream=True)
        assert client.body[stream_id] == grpc.frame_message(message)
        assert client.headers[stream_id]["grpc-status"] == "0"
        assert stream_id in client.ended


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.binary(max_size=300), st.integers(1, 10**8 - 1) | st.none()), max_size=12
    ),
    st.randoms(use_true_random=False),
)
def test_interleaved_calls_in_random_pieces(
    calls: list[tuple[bytes, int | None]], random: Random
) -> None:
    def pieces(data: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(data):
            size = random.randint(1, 60)
            yield data[at : at + size]
            at += size

    client = Client(pieces)
    opened = []
    for message, timeout in calls:
        extra = [] if timeout is None else [("grpc-timeout", f"{timeout}S")]
        opened.append((client.open(ECHO, extra), message))
    random.shuffle(opened)
    for stream_id, message in opened:
        framed = grpc.frame_message(message)
        split = random.randint(0, len(framed))
        client.h2.send_data(stream_id, framed[:split])
        client.h2.send_data(stream_id, framed[split:], end_stream=True)
    client.exchange()
    for stream_id, message in opened:
        assert client.headers[stream_id]["grpc-status"] == "0"
        assert client.body[stream_id] == grpc.frame_message(message)


@pytest.mark.parametrize("cut", [whole, single_bytes])
def test_bidirectional_stream(cut: Cut) -> None:
    client = Client(cut)
    stream_id = client.open(CHAT)
    client.exchange()
    recorder = client.peer.recorders[0]
    for number in range(5):
        message = bytes([number]) * number * 7
        client.send(stream_id, grpc.frame_message(message))
        recorder.stream.send(message * 2)
    client.send(stream_id, b"", end_stream=True)
    recorder.stream.finish()
    client.exchange()
    expected = [bytes([number]) * number * 7 for number in range(5)]
    assert recorder.events == [*expected, "half_closed"]
    assert client.body[stream_id] == b"".join(grpc.frame_message(m * 2) for m in expected)
    assert client.headers[stream_id]["grpc-status"] == "0"


def test_small_client_windows_are_respected() -> None:
    """h2 raises when a window is overrun."""
    client = Client(whole)
    client.h2.update_settings({4: 100})
    client.exchange()
    stream_id = client.open(ECHO)
    client.send(stream_id, grpc.frame_message(bytes(50_000)), end_stream=True)
    assert len(client.body[stream_id]) == 50_005
    assert stream_id in client.ended
