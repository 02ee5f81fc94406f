"""Random transactions: every compare, nested branches, overlaps, malformed and oversized ones."""

from pykvd.pb import rpc_pb2
from tests.conformance.kv_requests import random_delete, random_put, random_range
from tests.conformance.revisions import now
from tests.conformance.universe import KEYS, LEASES, UNKNOWN_LEASE, VALUES, Dice

MAX_DEPTH = 3
MAX_OPS = 128
UNKNOWN_ENUM = 9


def random_txn(dice: Dice, depth: int = 0) -> rpc_pb2.TxnRequest:
    """A transaction; about one in a hundred tries the limit on operations."""
    if depth == 0 and dice.chance(0.01):
        return _big_txn(dice)
    if depth == 0 and dice.chance(0.15):
        return _read_txn(dice)
    txn = rpc_pb2.TxnRequest(compare=_compares(dice))
    txn.success.extend(_op(dice, depth) for _ in range(_count(dice)))
    txn.failure.extend(_op(dice, depth) for _ in range(_count(dice)))
    return txn


def random_compare(dice: Dice) -> rpc_pb2.Compare:
    """A compare of any target, sometimes over a range, with unset or mistyped operands."""
    key = dice.key()
    compare = rpc_pb2.Compare(key=key, result=dice.member(rpc_pb2.Compare.CompareResult))
    compare.target = dice.member(rpc_pb2.Compare.CompareTarget)
    if dice.chance(0.25):
        compare.range_end = dice.interval(key, single=0.0)
    if dice.chance(0.02):
        compare.result = UNKNOWN_ENUM  # type: ignore[assignment]  # not in the enum
    if dice.chance(0.02):
        compare.target = UNKNOWN_ENUM  # type: ignore[assignment]  # not in the enum
    operand = compare.target if dice.chance(0.95) else dice.pick(range(5))
    if dice.chance(0.97):
        _set_operand(dice, compare, operand)
    return compare


def _set_operand(dice: Dice, compare: rpc_pb2.Compare, operand: int) -> None:
    match operand:
        case rpc_pb2.Compare.VERSION:
            compare.version = dice.pick((0, 0, 1, 1, 2, 3, -1))
        case rpc_pb2.Compare.CREATE:
            compare.create_revision = dice.pick((0, now(-3), now(-8), now(-20), now()))
        case rpc_pb2.Compare.MOD:
            compare.mod_revision = dice.pick((0, now(-3), now(-8), now(-20), now()))
        case rpc_pb2.Compare.VALUE:
            compare.value = dice.pick(VALUES)
        case rpc_pb2.Compare.LEASE:
            compare.lease = dice.pick((0, 0, *LEASES))


def _compares(dice: Dice) -> list[rpc_pb2.Compare]:
    count = dice.pick((0, 0, 0, 1, 1, 1, 2, 3))
    return [random_compare(dice) for _ in range(count)]


def _count(dice: Dice) -> int:
    return dice.pick((0, 1, 1, 2, 2, 3, 5))


def _op(dice: Dice, depth: int) -> rpc_pb2.RequestOp:
    choice = dice.rng.random()
    if choice < 0.33:
        return rpc_pb2.RequestOp(request_range=_range_in_txn(dice))
    if choice < 0.66:
        return rpc_pb2.RequestOp(request_put=_put_in_txn(dice))
    if choice < 0.84:
        return rpc_pb2.RequestOp(request_delete_range=random_delete(dice))
    if choice < 0.995 and depth < MAX_DEPTH:
        return rpc_pb2.RequestOp(request_txn=random_txn(dice, depth + 1))
    # No operation at all is an error of its own, which would hide the others if it were common.
    if dice.chance(0.05):
        return rpc_pb2.RequestOp()
    return rpc_pb2.RequestOp(request_range=_range_in_txn(dice))


def _range_in_txn(dice: Dice) -> rpc_pb2.RangeRequest:
    request = random_range(dice)
    # One refused revision refuses the whole transaction.
    if dice.chance(0.7):
        request.revision = 0
    return request


def _put_in_txn(dice: Dice) -> rpc_pb2.PutRequest:
    request = random_put(dice)
    if dice.chance(0.6):
        request.lease = 0
        request.ignore_value = request.ignore_lease = False
    return request


def _read_txn(dice: Dice) -> rpc_pb2.TxnRequest:
    txn = rpc_pb2.TxnRequest(compare=_compares(dice))
    for branch in (txn.success, txn.failure):
        for _ in range(_count(dice)):
            branch.append(rpc_pb2.RequestOp(request_range=_range_in_txn(dice)))
    return txn


def _big_txn(dice: Dice) -> rpc_pb2.TxnRequest:
    """A transaction within one operation of the limit, alone or with a nested remainder."""
    nested = dice.pick((0, 0, 1, 2, 64))
    count = MAX_OPS - nested + dice.pick((-1, 0, 1))
    read = rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=dice.pick(KEYS)))
    txn = rpc_pb2.TxnRequest()
    if nested:
        inner = rpc_pb2.TxnRequest(failure=[read] * nested)
        txn.success.append(rpc_pb2.RequestOp(request_txn=inner))
    if dice.chance(0.3):
        compare = rpc_pb2.Compare(key=dice.pick(KEYS), lease=UNKNOWN_LEASE)
        txn.compare.extend([compare] * count)
    else:
        txn.success.extend([read] * count)
    return txn
