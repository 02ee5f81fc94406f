"""Commands and how they stand in a log entry.

A raft entry carries a batch: everything that was proposed in one turn of the event loop.

    origin     u64   member that made the batch
    sequence   u64   number of the batch at that member, so that it finds its waiting callers
    time       u64   nanoseconds since the epoch, by the proposer's clock
    then per command:
    kind       u8    one of `Command`; 0x80 more when it is signed
    length     u32   bytes of what follows
    identity         only when signed, that is while auth is on: who asks (`Identity.encode`)
    request          the serialized protobuf message, as the client sent it where possible
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from struct import Struct
from typing import NamedTuple, NoReturn

from google.protobuf.message import Message

from pykvd.auth.identity import Identity
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
    AUTHENTICATE = 10
    AUTH_ENABLE = 11
    AUTH_DISABLE = 12
    USER_ADD = 13
    USER_DELETE = 14
    USER_CHANGE_PASSWORD = 15
    USER_GRANT_ROLE = 16
    USER_REVOKE_ROLE = 17
    ROLE_ADD = 18
    ROLE_DELETE = 19
    ROLE_GRANT_PERMISSION = 20
    ROLE_REVOKE_PERMISSION = 21
    DOWNGRADE = 22


#: Added to the kind of a command that carries who asks for it.
_SIGNED = 0x80


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
    Command.AUTHENTICATE: rpc.InternalAuthenticateRequest,
    Command.AUTH_ENABLE: rpc.AuthEnableRequest,
    Command.AUTH_DISABLE: rpc.AuthDisableRequest,
    Command.USER_ADD: rpc.AuthUserAddRequest,
    Command.USER_DELETE: rpc.AuthUserDeleteRequest,
    Command.USER_CHANGE_PASSWORD: rpc.AuthUserChangePasswordRequest,
    Command.USER_GRANT_ROLE: rpc.AuthUserGrantRoleRequest,
    Command.USER_REVOKE_ROLE: rpc.AuthUserRevokeRoleRequest,
    Command.ROLE_ADD: rpc.AuthRoleAddRequest,
    Command.ROLE_DELETE: rpc.AuthRoleDeleteRequest,
    Command.ROLE_GRANT_PERMISSION: rpc.AuthRoleGrantPermissionRequest,
    Command.ROLE_REVOKE_PERMISSION: rpc.AuthRoleRevokePermissionRequest,
    Command.DOWNGRADE: rpc.DowngradeRequest,
}


class BatchId(NamedTuple):
    """Which batch an entry carries."""

    origin: int
    sequence: int


def sign(command: int, payload: bytes, caller: Identity | None) -> tuple[int, bytes]:
    """Kind and content of a command in the log, with who asks for it, if that is known."""
    if caller is None:
        return command, payload
    return command | _SIGNED, caller.encode() + payload


#: By its number; calling an enumeration costs a third of a Put's decoding.
_PARSERS = {int(command): (command, kind.FromString) for command, kind in REQUEST_TYPES.items()}


def _unknown(kind: int) -> NoReturn:
    raise ValueError(f"{kind} is not a command of this version")


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


def decode_commands(data: bytes) -> Iterator[tuple[Command, Message, Identity | None]]:
    """The commands of an entry, parsed, each with who asks for it."""
    offset = _BATCH.size
    while offset < len(data):
        kind, length = _COMMAND.unpack_from(data, offset)
        offset += _COMMAND.size
        end = offset + length
        caller: Identity | None = None
        if kind & _SIGNED:
            caller, offset = Identity.decode(data, offset)
        command, parse = _PARSERS.get(kind & ~_SIGNED) or _unknown(kind)
        yield command, parse(data[offset:end]), caller
        offset = end
