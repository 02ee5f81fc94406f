"""The binary form of a `Message`, for the wire between members of one cluster.

All integers are big-endian. A message is a fixed head, then `context`, then the snapshot if the
flag says so (head, configuration, data), then the entries (head and data each). Every length is
checked against what is there, so that a damaged message is an error and never a wrong message.
"""

from __future__ import annotations

import struct

from pykvd.raft.errors import MessageDecodeError
from pykvd.raft.membership import ConfState
from pykvd.raft.message import Message, MessageKind
from pykvd.raft.types import Entry, EntryKind, Snapshot

_HEAD = struct.Struct(">BBQQQQQQQII")
"""kind, flags, to, sender, term, index, log_term, commit, hint, context bytes, entry count"""
_SNAPSHOT = struct.Struct(">QQIQ")
"""index, term, configuration bytes, data bytes"""
_ENTRY = struct.Struct(">QQBI")
"""term, index, kind, data bytes"""

_REJECT = 1
_HAS_SNAPSHOT = 2


def encode_message(message: Message) -> bytes:
    """The bytes of `message`."""
    flags = _REJECT if message.reject else 0
    parts: list[bytes] = [b"", message.context]
    snapshot = message.snapshot
    if snapshot is not None:
        flags |= _HAS_SNAPSHOT
        conf = snapshot.conf_state.encode()
        head = _SNAPSHOT.pack(snapshot.index, snapshot.term, len(conf), len(snapshot.data))
        parts += [head, conf, snapshot.data]
    for entry in message.entries:
        parts.append(_ENTRY.pack(entry.term, entry.index, entry.kind, len(entry.data)))
        parts.append(entry.data)
    parts[0] = _HEAD.pack(
        message.kind,
        flags,
        message.to,
        message.sender,
        message.term,
        message.index,
        message.log_term,
        message.commit,
        message.hint,
        len(message.context),
        len(message.entries),
    )
    return b"".join(parts)


class _Reader:
    """Takes pieces off a buffer, and complains when there is too little."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def unpack(self, form: struct.Struct) -> tuple[int, ...]:
        return form.unpack(self.take(form.size))

    def take(self, size: int) -> bytes:
        end = self._position + size
        if end > len(self._data):
            raise MessageDecodeError("message: truncated")
        piece = self._data[self._position : end]
        self._position = end
        return piece

    def finish(self) -> None:
        if self._position != len(self._data):
            raise MessageDecodeError("message: bytes left over")


def decode_message(data: bytes) -> Message:
    """The inverse of `encode_message`; raises `MessageDecodeError`."""
    reader = _Reader(data)
    kind, flags, to, sender, term, index, log_term, commit, hint, context_size, count = (
        reader.unpack(_HEAD)
    )
    if flags & ~(_REJECT | _HAS_SNAPSHOT):
        raise MessageDecodeError(f"message: unknown flags {flags:#x}")
    context = reader.take(context_size)
    snapshot = _decode_snapshot(reader) if flags & _HAS_SNAPSHOT else None
    try:
        entries = tuple(_decode_entry(reader) for _ in range(count))
        message = Message(
            kind=MessageKind(kind),
            to=to,
            sender=sender,
            term=term,
            index=index,
            log_term=log_term,
            commit=commit,
            entries=entries,
            snapshot=snapshot,
            reject=bool(flags & _REJECT),
            hint=hint,
            context=context,
        )
    except MessageDecodeError:
        raise
    except ValueError as error:
        raise MessageDecodeError(f"message: {error}") from error
    reader.finish()
    return message


def _decode_snapshot(reader: _Reader) -> Snapshot:
    index, term, conf_size, data_size = reader.unpack(_SNAPSHOT)
    conf = ConfState.decode(reader.take(conf_size))
    return Snapshot(index, term, conf, reader.take(data_size))


def _decode_entry(reader: _Reader) -> Entry:
    term, index, kind, size = reader.unpack(_ENTRY)
    return Entry(term, index, EntryKind(kind), reader.take(size))
