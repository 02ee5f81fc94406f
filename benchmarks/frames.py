"""HTTP/2 frames, as far as a gRPC load generator needs them (RFC 9113, sections 4 and 6)."""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, RST_STREAM, SETTINGS = 0x0, 0x1, 0x3, 0x4
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0x6, 0x7, 0x8, 0x9

END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20

SETTINGS_HEADER_TABLE_SIZE = 0x1
SETTINGS_MAX_CONCURRENT_STREAMS = 0x3
SETTINGS_INITIAL_WINDOW_SIZE = 0x4

DEFAULT_WINDOW = 65_535
MAX_FRAME_SIZE = 16_384

# Length as 8 + 16 bits, type, flags, stream.
FRAME_HEADER = struct.Struct(">BHBBL")
FRAME_HEADER_SIZE = FRAME_HEADER.size
_SETTING = struct.Struct(">HL")


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame of `kind` with its header."""
    size = len(payload)
    return FRAME_HEADER.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame that sets `values`, by identifier."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in values.items()))


def parse_settings(payload: bytes) -> dict[int, int]:
    """The values in the payload of a SETTINGS frame, by identifier."""
    return dict(_SETTING.iter_unpack(payload))


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame that allows the peer `increment` more bytes."""
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4))


def strip_padding(flags: int, payload: bytes) -> bytes:
    """What is left of a DATA or HEADERS payload without padding and priority."""
    if flags & PADDED:
        payload = payload[1 : len(payload) - payload[0]]
    if flags & PRIORITY:
        payload = payload[5:]
    return payload
