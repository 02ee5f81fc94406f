"""Requests as the log shows them: keys, sizes and numbers, never a value, password or token."""

from collections.abc import Sequence

from google.protobuf.message import Message

from pykvd.node.commands import Command
from pykvd.pb import rpc_pb2 as rpc

#: Bytes of a key, and operations of a transaction, that are shown.
KEY_BYTES = 128
OPERATIONS = 8


def describe(command: Command | None, request: Message) -> str:
    """One line about a request; of kinds that are not listed here, the kind alone.

    `command` is None for requests that do not go through the log.
    """
    match request:
        case rpc.PutRequest():
            lease = f" lease:{request.lease}" if request.lease else ""
            return f"key:{_key(request.key)} value_size:{len(request.value)}{lease}"
        case rpc.RangeRequest():
            return _range(request)
        case rpc.DeleteRangeRequest():
            return f"key:{_key(request.key)}{_end(request.range_end)}"
        case rpc.TxnRequest():
            success, failure = _ops(request.success), _ops(request.failure)
            return f"compare:<{len(request.compare)}> success:<{success}> failure:<{failure}>"
        case rpc.CompactionRequest():
            return f"revision:{request.revision}"
        case rpc.LeaseGrantRequest():
            return f"id:{request.ID} ttl:{request.TTL}"
        case rpc.LeaseRevokeRequest():
            return f"id:{request.ID}"
    return command.name.lower() if command else request.DESCRIPTOR.name


def _range(request: rpc.RangeRequest) -> str:
    parts = [f"key:{_key(request.key)}{_end(request.range_end)}"]
    parts += [f"limit:{request.limit}"] if request.limit else []
    parts += [f"revision:{request.revision}"] if request.revision else []
    parts += [f"{flag}:true" for flag in ("keys_only", "count_only") if getattr(request, flag)]
    return " ".join(parts)


def _ops(ops: Sequence[rpc.RequestOp]) -> str:
    shown = [_op(op) for op in ops[:OPERATIONS]]
    if len(ops) > OPERATIONS:
        shown.append(f"and {len(ops) - OPERATIONS} more")
    return ", ".join(shown)


def _op(op: rpc.RequestOp) -> str:
    kind = op.WhichOneof("request")
    if kind is None or kind == "request_txn":
        return kind or "empty"
    return f"{kind}:<{describe(None, getattr(op, kind))}>"


def _key(key: bytes) -> str:
    text = key[:KEY_BYTES].decode(errors="backslashreplace")
    return f'"{text}"' if len(key) <= KEY_BYTES else f'"{text}..."'


def _end(range_end: bytes) -> str:
    return f" range_end:{_key(range_end)}" if range_end else ""
