"""HTTP/2 frame layout, constants and builders (RFC 9113 4, 6 and 7).

Constants are plain ints, not enums: they are compared for every frame.
"""

from enum import IntEnum
from struct import Struct
from typing import Final

CLIENT_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20

SETTINGS_HEADER_TABLE_SIZE: Final = 0x1
SETTINGS_ENABLE_PUSH: Final = 0x2
SETTINGS_MAX_CONCURRENT_STREAMS: Final = 0x3
SETTINGS_INITIAL_WINDOW_SIZE: Final = 0x4
SETTINGS_MAX_FRAME_SIZE: Final = 0x5
SETTINGS_MAX_HEADER_LIST_SIZE: Final = 0x6

HEADER_BYTES: Final = 9
DEFAULT_WINDOW: Final = 65_535
MAX_WINDOW: Final = 2**31 - 1
MAX_STREAM_ID: Final = 2**31 - 1
MIN_MAX_FRAME_SIZE: Final = 16_384
MAX_MAX_FRAME_SIZE: Final = 2**24 - 1


class ErrorCode(IntEnum):
    """Error codes of RST_STREAM and GOAWAY (RFC 9113 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Http2ConnectionError(Exception):
    """The peer broke a rule that ends the connection: carries the GOAWAY code and debug text."""

    def __init__(self, code: ErrorCode, debug: str) -> None:
        super().__init__(code, debug)
        self.code = code
        self.debug = debug


# Length is 24 bits: its upper 16 and lower 8, then type, flags and stream id (with its reserved
# bit).
_HEADER = Struct(">HBBBL")
unpack_header = _HEADER.unpack_from
_UINT32 = Struct(">L")
_SETTING = Struct(">HL")
_GOAWAY = Struct(">LL")
iter_settings = _SETTING.iter_unpack


def frame_header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes before a payload of `length` bytes."""
    return _HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def settings_frame(settings: dict[int, int]) -> bytes:
    """A SETTINGS frame with these parameters, in this order."""
    payload = b"".join(_SETTING.pack(key, value) for key, value in settings.items())
    return frame_header(len(payload), SETTINGS, 0, 0) + payload


SETTINGS_ACK: Final = frame_header(0, SETTINGS, ACK, 0)


def ping_frame(opaque: bytes, *, ack: bool = False) -> bytes:
    """A PING frame with eight opaque bytes."""
    return frame_header(8, PING, ACK if ack else 0, 0) + opaque


def window_update_frame(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame_header(4, WINDOW_UPDATE, 0, stream_id) + _UINT32.pack(increment)


def rst_stream_frame(stream_id: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return frame_header(4, RST_STREAM, 0, stream_id) + _UINT32.pack(code)


def goaway_frame(last_stream_id: int, code: int, debug: bytes = b"") -> bytes:
    """A GOAWAY frame."""
    return frame_header(8 + len(debug), GOAWAY, 0, 0) + _GOAWAY.pack(last_stream_id, code) + debug


def headers_frame(stream_id: int, block: bytes, *, end_stream: bool) -> bytes:
    """A complete header block as one HEADERS frame; ours always fit the smallest frame size."""
    flags = END_HEADERS | END_STREAM if end_stream else END_HEADERS
    return frame_header(len(block), HEADERS, flags, stream_id) + block


def read_uint32(data: bytes, offset: int) -> int:
    """A big-endian 32-bit number."""
    value: int = _UINT32.unpack_from(data, offset)[0]
    return value
