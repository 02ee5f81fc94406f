"""gRPC messages, framed with their five-byte prefix, and templates that only change the key."""

from google.protobuf.message import Message

_PREFIX_SIZE = 5


def framed(message: Message) -> bytes:
    """`message` as it travels in DATA frames: not compressed, length, bytes."""
    body = message.SerializeToString()
    return b"\0" + len(body).to_bytes(4) + body


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole messages at the start of `data`, and the rest.

    Raises ValueError for a compressed message: the generator never asks for compression.
    """
    messages = []
    position, end = 0, len(data)
    while end - position >= _PREFIX_SIZE:
        start = position + _PREFIX_SIZE
        stop = start + int.from_bytes(data[position + 1 : start])
        if data[position]:
            raise ValueError("compressed message in a stream that did not ask for it")
        if stop > end:
            break
        messages.append(data[start:stop])
        position = stop
    return messages, data[position:]


class Template:
    """A framed message in which `placeholder` is replaced by strings of the same length."""

    def __init__(self, message: Message, placeholder: bytes) -> None:
        self._parts = framed(message).split(placeholder)
        if len(self._parts) < 2:
            raise ValueError(f"{placeholder!r} does not occur in the message")

    def fill(self, text: bytes) -> bytes:
        """The framed message with `text`, as long as the placeholder, in its place."""
        return text.join(self._parts)
