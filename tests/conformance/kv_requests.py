"""Random single requests of the KV service."""

from pykvd.pb import rpc_pb2
from tests.conformance.universe import Dice

UNKNOWN_SORT_ORDER = 7


def random_range(dice: Dice, alone: bool = False) -> rpc_pb2.RangeRequest:
    """A Range with any options; `alone` (not in a transaction) allows an unknown sort order."""
    key = dice.key()
    request = rpc_pb2.RangeRequest(key=key, range_end=dice.interval(key), limit=dice.limit())
    request.serializable = dice.chance(0.3)
    request.keys_only = dice.chance(0.15)
    request.count_only = dice.chance(0.1)
    if dice.chance(0.35):
        request.revision = dice.revision()
    if dice.chance(0.4):
        request.sort_order = dice.member(rpc_pb2.RangeRequest.SortOrder)
        request.sort_target = dice.member(rpc_pb2.RangeRequest.SortTarget)
    elif alone and dice.chance(0.02):
        request.sort_order = UNKNOWN_SORT_ORDER  # type: ignore[assignment]  # not in the enum
    if dice.chance(0.2):
        for field in ("min_mod", "max_mod", "min_create", "max_create"):
            if dice.chance(0.4):
                setattr(request, f"{field}_revision", dice.bound())
    return request


def random_put(dice: Dice) -> rpc_pb2.PutRequest:
    """A Put, sometimes with a lease and with ignore flags, legal or not."""
    request = rpc_pb2.PutRequest(key=dice.key(), value=dice.value())
    request.prev_kv = dice.chance(0.3)
    if dice.chance(0.3):
        request.lease = dice.lease()
    if dice.chance(0.12):
        request.ignore_value = True
        if dice.chance(0.8):
            request.value = b""
    if dice.chance(0.12):
        request.ignore_lease = True
        if dice.chance(0.8):
            request.lease = 0
    return request


def random_delete(dice: Dice) -> rpc_pb2.DeleteRangeRequest:
    """A DeleteRange, mostly of few keys so that some remain."""
    key = dice.key()
    range_end = dice.interval(key, single=0.7)
    return rpc_pb2.DeleteRangeRequest(key=key, range_end=range_end, prev_kv=dice.chance(0.4))
