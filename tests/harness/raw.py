"""A bare HTTP/2 connection, for what a gRPC client hides: GOAWAY frames and odd metadata."""

import socket
from types import TracebackType
from typing import Self

import h2.config
import h2.connection
import h2.events
from hyperframe.frame import Frame, GoAwayFrame, PingFrame

FRAME_HEADER = 9
GOAWAY_NO_ERROR = 0
TIMEOUT = 60.0


class RawConnection:
    """One client connection, driven by the `h2` library."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), TIMEOUT)
        config = h2.config.H2Configuration(
            client_side=True, header_encoding=None, validate_outbound_headers=False
        )
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        self._flush()
        self._pending: list[h2.events.Event] = []

    def ping(self) -> None:
        """A round trip: afterwards the server has accepted the connection."""
        self._h2.ping(b"12345678")
        self._flush()
        self._until(h2.events.PingAckReceived)

    def goaway(self) -> tuple[int, bytes]:
        """Wait for a GOAWAY: its error code and debug data.

        Frames are read one by one here: `h2` refuses what may rightly follow a GOAWAY.
        """
        while True:
            frame, length = Frame.parse_frame_header(memoryview(self._exactly(FRAME_HEADER)))
            frame.parse_body(memoryview(self._exactly(length)))
            if isinstance(frame, GoAwayFrame):
                return frame.error_code, frame.additional_data
            if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
                answer = PingFrame(opaque_data=frame.opaque_data, flags=["ACK"])
                self._socket.sendall(answer.serialize())

    def unary(self, path: str, body: bytes, metadata: list[tuple[bytes, bytes]]) -> tuple[int, str]:
        """Send one gRPC request with any header bytes: the status number and text of the answer."""
        stream = self._h2.get_next_available_stream_id()
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", b"localhost"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            *metadata,
        ]
        self._h2.send_headers(stream, headers)
        self._h2.send_data(stream, b"\x00" + len(body).to_bytes(4) + body, end_stream=True)
        self._flush()
        while True:
            event = self._until((h2.events.ResponseReceived, h2.events.TrailersReceived))
            trailers = dict(event.headers)
            if b"grpc-status" in trailers:
                text = trailers.get(b"grpc-message", b"").decode()
                return int(trailers[b"grpc-status"]), text

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise AssertionError("connection closed while waiting for a frame")
            data += more
        return data

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())

    def _until(self, kinds: type | tuple[type, ...]):  # type: ignore[no-untyped-def]  # h2 has no stubs
        while True:
            while self._pending:
                event = self._pending.pop(0)
                if isinstance(event, kinds):
                    return event
            data = self._socket.recv(65536)
            if not data:
                raise AssertionError(f"connection closed while waiting for {kinds}")
            self._pending = self._h2.receive_data(data)
            self._flush()
