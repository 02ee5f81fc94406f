"""Random episodes with auth on: users, roles, grants, logins, and requests of everybody.

An episode turns auth on, plays, and leaves neither users nor roles behind. What 3.4.23 lets pass
although later releases refuse it is not asked for where it would change the store: afterwards the
two could not be compared any more. Tests of their own hold those cases.
"""

import random
from typing import TYPE_CHECKING, Any, TypeVar

from pykvd.pb import auth_pb2, rpc_pb2
from tests.conformance.kv_requests import random_delete, random_put, random_range
from tests.conformance.steps import Call, LogIn, Step, WatchAs
from tests.conformance.txns import random_txn
from tests.conformance.universe import (
    BAD_TOKEN,
    EVERYTHING,
    KEYS,
    LEASES,
    NOBODY,
    UNKNOWN_LEASE,
    Dice,
)
from tests.harness import methods
from tests.harness.methods import Method

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")

ROOT = "root"
USERS = ("ann", "bob", "carol")
#: Whoever has a token, most of the time.
KNOWN = (ROOT, *USERS)
EVERYBODY = (*KNOWN, NOBODY, BAD_TOKEN)
UNKNOWN = "who"
NO_PASSWORD = "np"
ROLES = ("r", "s", "t")
PASSWORDS = ("p", "q", "")
#: One range a key: with more, 3.4 keeps two grants of one range beside each other.
SPANS = (
    (b"\x00", b"\x01"),
    (b"\x00\x00", b""),
    (b"a", b""),
    (b"a\x00", b"a0"),
    (b"a/", b"a0"),
    (b"a/b", b"a/c"),
    (b"ab", b"m"),
    (b"b", EVERYTHING),
    (b"m", b"\xfe"),
    (b"\xfe", b"\xff\xff"),
    (b"\xff", b""),
    (b"\xff\xff", EVERYTHING),
)


def auth_episode(rng: random.Random, length: int) -> list[Step]:
    """About `length` steps."""
    dice = Dice(rng)
    steps = _begin(dice)
    while len(steps) < length:
        steps += _step(dice)
    return [*steps, *_end()]


def _begin(dice: Dice) -> list[Step]:
    """Users that may do something each, and auth on."""
    steps: list[Step] = [_add_user(name, "p") for name in KNOWN]
    no_password = auth_pb2.UserAddOptions(no_password=True)
    request = rpc_pb2.AuthUserAddRequest(name=NO_PASSWORD, options=no_password)
    steps.append(Call(methods.USER_ADD, request))
    for role in ROLES:
        steps.append(Call(methods.ROLE_ADD, rpc_pb2.AuthRoleAddRequest(name=role)))
        steps += [_grant("", role, dice) for _ in range(3)]
    for user, role in ((ROOT, ROOT), *zip(USERS, ROLES, strict=True)):
        grant = rpc_pb2.AuthUserGrantRoleRequest(user=user, role=role)
        steps.append(Call(methods.USER_GRANT_ROLE, grant))
    steps.append(Call(methods.AUTH_ENABLE, rpc_pb2.AuthEnableRequest()))
    return [*steps, *_log_in_all()]


def _log_in_all() -> list[Step]:
    return [LogIn(name, "p") for name in KNOWN]


def _end() -> list[Step]:
    steps: list[Step] = [LogIn(ROOT, "p")]
    steps.append(Call(methods.AUTH_DISABLE, rpc_pb2.AuthDisableRequest(), ROOT))
    steps += [_call(methods.USER_DELETE, "", name=name) for name in (*KNOWN, NO_PASSWORD, UNKNOWN)]
    steps += [_call(methods.ROLE_DELETE, "", role=role) for role in (ROOT, *ROLES)]
    return steps


def _step(dice: Dice) -> list[Step]:
    kinds: list[tuple[int, Callable[[], list[Step]]]] = [
        (60, lambda: [_request(dice)]),
        (25, lambda: [_management(dice)]),
        (5, lambda: [LogIn(dice.pick((*KNOWN, NO_PASSWORD, UNKNOWN)), dice.pick(PASSWORDS))]),
        (4, lambda: [LogIn(name, "p") for name in USERS]),
        (1, lambda: _off_and_on(dice)),
    ]
    [(_, make)] = dice.rng.choices(kinds, [weight for weight, _ in kinds])
    return make()


def _off_and_on(dice: Dice) -> list[Step]:
    """Auth off for a few requests; every simple token is gone afterwards."""
    return [
        Call(methods.AUTH_DISABLE, rpc_pb2.AuthDisableRequest(), ROOT),
        *(_request(dice, "") for _ in range(5)),
        Call(methods.AUTH_ENABLE, rpc_pb2.AuthEnableRequest()),
        *(_request(dice) for _ in range(3)),
        *_log_in_all(),
    ]


# Requests for keys and leases


def _request(dice: Dice, user: str | None = None) -> Step:
    user = dice.pick(EVERYBODY) if user is None else user
    kinds: list[tuple[int, Callable[[], Step]]] = [
        (30, lambda: Call(methods.RANGE, _sound(random_range, dice, user), user)),
        (25, lambda: Call(methods.PUT, random_put(dice), user)),
        (10, lambda: Call(methods.DELETE, _sound(random_delete, dice, user), user)),
        (25, lambda: Call(methods.TXN, _sound(random_txn, dice, user), user)),
        (10, lambda: _lease(dice, user)),
        (8, lambda: WatchAs(user, _watch(dice, user))),
        (2, lambda: Call(methods.HASH_KV, rpc_pb2.HashKVRequest(), user)),
    ]
    [(_, make)] = dice.rng.choices(kinds, [weight for weight, _ in kinds])
    return make()


def _sound(make: "Callable[[Dice], M]", dice: Dice, user: str) -> M:
    """A request whose rights the two judge by the same rules."""
    while True:
        request = make(dice)
        if user in (ROOT, "") or not (_has_holes(request) or _is_inverted(request)):
            return request


def _has_holes(request: "Message") -> bool:
    """Whether 3.4.23 lets a part of it pass unchecked."""
    if not isinstance(request, rpc_pb2.TxnRequest):
        return False
    for op in (*request.success, *request.failure):
        if op.HasField("request_txn"):
            return True
        if op.HasField("request_put") and (op.request_put.prev_kv or op.request_put.lease):
            return True
    return False


def _is_inverted(request: "Message") -> bool:
    """Whether it has a range that ends before it begins.

    Who may ask for that depends in etcd on the order in which permissions were granted.
    """
    if isinstance(request, rpc_pb2.TxnRequest):
        ops = [
            getattr(op, op.WhichOneof("request"))
            for op in (*request.success, *request.failure)
            if op.WhichOneof("request")
        ]
        return any(map(_is_inverted, (*request.compare, *ops)))
    key, range_end = getattr(request, "key", b""), getattr(request, "range_end", b"")
    return bool(range_end) and range_end != EVERYTHING and range_end <= key


def _lease(dice: Dice, user: str) -> Step:
    lease = UNKNOWN_LEASE if dice.chance(0.1) else dice.pick(LEASES)
    choice = dice.rng.random()
    if choice < 0.4:
        # Nobody's grants and revokes were not checked before 3.5.
        known = user if user in (*KNOWN, "") else dice.pick(KNOWN)
        if choice < 0.25:
            return Call(methods.GRANT, rpc_pb2.LeaseGrantRequest(ID=lease, TTL=600), known)
        return Call(methods.REVOKE, rpc_pb2.LeaseRevokeRequest(ID=lease), known)
    if choice < 0.8:
        request = rpc_pb2.LeaseTimeToLiveRequest(ID=lease, keys=dice.chance(0.7))
        return Call(methods.TIME_TO_LIVE, request, user)
    return Call(methods.LEASES, rpc_pb2.LeaseLeasesRequest(), user)


def _watch(dice: Dice, user: str) -> rpc_pb2.WatchCreateRequest:
    key = dice.pick(KEYS)
    range_end = dice.interval(key)
    if user not in (ROOT, "") and (range_end == EVERYTHING or range_end <= key):
        # 3.4.23 takes an open end for the single key.
        range_end = b""
    return rpc_pb2.WatchCreateRequest(key=key, range_end=range_end)


# Users, roles and permissions


def _management(dice: Dice) -> Step:
    caller = ROOT if dice.chance(0.75) else dice.pick(EVERYBODY)
    user = dice.pick((*KNOWN, NO_PASSWORD, UNKNOWN, ""))
    role = dice.pick((ROOT, *ROLES, UNKNOWN, ""))
    kinds: list[tuple[int, Callable[[], Step]]] = [
        (3, lambda: _add_user(user, dice.pick(PASSWORDS), caller)),
        (2, lambda: _call(methods.USER_DELETE, caller, name=user)),
        (2, lambda: _change_password(dice, user, caller)),
        (3, lambda: _call(methods.USER_GET, caller, name=user)),
        (2, lambda: _call(methods.USER_LIST, caller)),
        (8, lambda: _call(methods.USER_GRANT_ROLE, caller, user=user, role=role)),
        (4, lambda: _call(methods.USER_REVOKE_ROLE, caller, name=user, role=role)),
        (3, lambda: _call(methods.ROLE_ADD, caller, name=role)),
        (1, lambda: _call(methods.ROLE_DELETE, caller, role=role)),
        (4, lambda: _call(methods.ROLE_GET, caller, role=role)),
        (2, lambda: _call(methods.ROLE_LIST, caller)),
        (12, lambda: _grant(caller, role, dice)),
        (5, lambda: _revoke(caller, role, dice)),
        (1, lambda: _call(methods.AUTH_ENABLE, caller)),
        (1, lambda: _call(methods.AUTH_DISABLE, dice.pick((NOBODY, BAD_TOKEN)))),
        (1, lambda: _call(methods.MEMBER_REMOVE, caller, ID=404)),
    ]
    [(_, make)] = dice.rng.choices(kinds, [weight for weight, _ in kinds])
    return make()


def _call(method: Method[Any, Any], caller: str, **fields: object) -> Step:
    request: Message = method.request(**fields)
    return Call(method, request, caller)


def _add_user(name: str, password: str, caller: str = "") -> Step:
    options = auth_pb2.UserAddOptions()
    request = rpc_pb2.AuthUserAddRequest(name=name, password=password, options=options)
    return Call(methods.USER_ADD, request, caller)


def _change_password(dice: Dice, user: str, caller: str) -> Step:
    # Root has to come in at the end; an empty password means something else since 3.5.
    name = dice.pick(USERS) if user == ROOT else user
    return _call(methods.USER_CHANGE_PASSWORD, caller, name=name, password=dice.pick(("p", "q")))


def _grant(caller: str, role: str, dice: Dice) -> Step:
    key, range_end = dice.pick(SPANS)
    kind = dice.member(auth_pb2.Permission.Type)
    permission = auth_pb2.Permission(permType=kind, key=key, range_end=range_end)
    return _call(methods.ROLE_GRANT, caller, name=role, perm=permission)


def _revoke(caller: str, role: str, dice: Dice) -> Step:
    key, range_end = dice.pick(SPANS)
    if dice.chance(0.1):
        range_end = b"\xff"
    return _call(methods.ROLE_REVOKE, caller, role=role, key=key, range_end=range_end)
