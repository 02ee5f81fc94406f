"""Revisions relative to what a server has reached, so that generated requests need no answers.

A generated request may hold `now(-3)` or `compacted(+1)` in a revision field. These are large
numbers which `resolve` turns into real revisions just before sending. Dropping steps of a failing
list therefore leaves the rest meaningful, and both servers can be driven side by side.
"""

from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import Message

from pykvd.pb import rpc_pb2

NOW = 1 << 50
COMPACTED = 1 << 51
#: Offsets are this small, so that no real or extreme number is taken for a relative one.
REACH = 1 << 20

RANGE_FIELDS = (
    "revision",
    "min_mod_revision",
    "max_mod_revision",
    "min_create_revision",
    "max_create_revision",
)
COMPARE_FIELDS = ("create_revision", "mod_revision")

M = TypeVar("M", bound=Message)


@dataclass
class Clock:
    """What one server has reached: its store revision, and the last compaction (-1: none)."""

    revision: int = 1
    compacted: int = -1


def now(offset: int = 0) -> int:
    """The current revision plus `offset`."""
    return NOW + offset


def compacted(offset: int = 0) -> int:
    """The last compacted revision plus `offset`."""
    return COMPACTED + offset


def revision_text(value: int) -> str:
    """How a number of a generated request reads: `now-3` for relative revisions."""
    for origin, name in ((NOW, "now"), (COMPACTED, "compacted")):
        if abs(value - origin) < REACH:
            return f"{name}{value - origin:+d}"
    return str(value)


def resolve(message: M, clock: Clock) -> M:
    """A copy of a request with real revisions."""
    copy = type(message)()
    copy.CopyFrom(message)
    _resolve(copy, clock)
    return copy


def _resolve(message: Message, clock: Clock) -> None:
    if isinstance(message, rpc_pb2.RangeRequest):
        _replace(message, RANGE_FIELDS, clock)
    elif isinstance(message, rpc_pb2.CompactionRequest | rpc_pb2.HashKVRequest):
        _replace(message, ("revision",), clock)
    elif isinstance(message, rpc_pb2.WatchCreateRequest):
        _replace(message, ("start_revision",), clock)
    elif isinstance(message, rpc_pb2.TxnRequest):
        _resolve_txn(message, clock)


def _resolve_txn(txn: rpc_pb2.TxnRequest, clock: Clock) -> None:
    for compare in txn.compare:
        target = compare.WhichOneof("target_union")
        if target in COMPARE_FIELDS:
            _replace(compare, (target,), clock)
    for op in (*txn.success, *txn.failure):
        match op.WhichOneof("request"):
            case "request_range":
                _resolve(op.request_range, clock)
            case "request_txn":
                _resolve_txn(op.request_txn, clock)


def _replace(message: Message, fields: tuple[str, ...], clock: Clock) -> None:
    for field in fields:
        value: int = getattr(message, field)
        for origin, reached in ((NOW, clock.revision), (COMPACTED, clock.compacted)):
            if abs(value - origin) < REACH:
                # Negative revisions have meanings of their own; they are generated as such.
                setattr(message, field, max(1, reached + value - origin))
