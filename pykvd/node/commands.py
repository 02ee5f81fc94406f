"""Commands and how they stand in a log entry.

A raft entry carries a batch: everything that was proposed in one turn of the event loop.

    origin     u64   member that made the batch
    sequence   u64   number of the batch at that member, so that it finds its waiting callers
    time       u64   nanoseconds since the epoch, by the proposer's clock
    then per command:
    kind       u8    one of `Command`
    length     u32   bytes of the request
    request          the serialized protobuf message, as the client sent it where possible
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from google.protobuf.message import Message

from pykvd.pb import rpc_pb2 as rpc

_BATCH = Struct("<QQQ")
_COMMAND = Struct("<BI")


class Command(IntEnum):
    """What a command does; the numbers are the log's format."""

    PUT = 1
    DELETE_RANGE = 2
    TXN = 3
    COMPACT = 4
    LEASE_GRANT = 5
    LEASE_REVOKE = 6
    LEASE_CHECKPOINT = 7
    ALARM = 8
    PUBLISH = 9


REQUEST_TYPES: dict[Command, type[Message]] = {
    Command.PUT: rpc.PutRequest,
    Command.DELETE_RANGE: rpc.DeleteRangeRequest,
    Command.TXN: rpc.TxnRequest,
    Command.COMPACT: rpc.CompactionRequest,
    Command.LEASE_GRANT: rpc.LeaseGrantRequest,
    Command.LEASE_REVOKE: rpc.LeaseRevokeRequest,
    Command.LEASE_CHECKPOINT: rpc.LeaseCheckpointRequest,
    Command.ALARM: rpc.AlarmRequest,
    Command.PUBLISH: rpc.Member,
}


class BatchId(NamedTuple):
    """Which batch an entry carries."""

    origin: int
    sequence: int


def encode_batch(batch: BatchId, time_ns: int, commands: Iterable[tuple[int, bytes]]) -> bytes:
    """The data of an entry."""
    parts = [_BATCH.pack(*batch, time_ns)]
    pack = _COMMAND.pack
    for kind, payload in commands:
        parts.append(pack(kind, len(payload)))
        parts.append(payload)
    return b"".join(parts)


def decode_batch_head(data: bytes) -> tuple[BatchId, int]:
    """Whose batch the entry carries, and when it was made, in nanoseconds since the epoch."""
    origin, sequence, time_ns = _BATCH.unpack_from(data)
    return BatchId(origin, sequence), time_ns


def decode_commands(data: bytes) -> Iterator[tuple[Command, Message]]:
    """The commands of an entry, parsed."""
    offset = _BATCH.size
    while offset < len(data):
        kind, length = _COMMAND.unpack_from(data, offset)
        offset += _COMMAND.size
        command = Command(kind)
        yield command, REQUEST_TYPES[command].FromString(data[offset : offset + length])
        offset += length
