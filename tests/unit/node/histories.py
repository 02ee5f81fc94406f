"""Random commands, as members of a cluster would find them in their logs."""

from typing import TYPE_CHECKING

from google.protobuf.message import Message
from hypothesis import strategies as st

from pykvd.auth.identity import ITSELF, Identity
from pykvd.errors import RpcError
from pykvd.node.commands import Command
from pykvd.node.validate import check_put, check_txn
from pykvd.pb import auth_pb2 as auth
from pykvd.pb import rpc_pb2 as rpc

if TYPE_CHECKING:
    from collections.abc import Callable

Entry = tuple[Command, Message] | tuple[Command, Message, Identity | None]

KEYS = (b"a", b"ab", b"b", b"c")
ENDS = (b"", b"", b"b", b"c", b"\x00", b"a")
LEASES = (7, -8, 9)
KINDS = (rpc.NONE, rpc.NOSPACE, rpc.CORRUPT)

keys = st.sampled_from(KEYS)
ends = st.sampled_from(ENDS)
lease_ids = st.sampled_from(LEASES)
revisions = st.sampled_from((*range(-1, 8), 12, 18))


@st.composite
def puts(draw: st.DrawFn) -> rpc.PutRequest:
    request = rpc.PutRequest(key=draw(keys), prev_kv=draw(st.booleans()))
    request.ignore_value = draw(st.integers(0, 7)) == 0
    request.ignore_lease = draw(st.integers(0, 7)) == 0
    if not request.ignore_value:
        request.value = draw(st.sampled_from((b"", b"1", b"2")))
    if not request.ignore_lease:
        request.lease = draw(st.sampled_from((0, 0, *LEASES)))
    check_put(request)
    return request


deletes = st.builds(rpc.DeleteRangeRequest, key=keys, range_end=ends, prev_kv=st.booleans())
ranges = st.builds(
    rpc.RangeRequest,
    key=keys,
    range_end=ends,
    revision=st.one_of(st.just(0), st.just(0), st.just(0), revisions),
    limit=st.integers(0, 2),
    keys_only=st.booleans(),
    sort_order=st.sampled_from(rpc.RangeRequest.SortOrder.values()),
)


@st.composite
def compares(draw: st.DrawFn) -> rpc.Compare:
    compare = rpc.Compare(key=draw(keys), range_end=draw(ends))
    compare.result = draw(st.sampled_from((*rpc.Compare.CompareResult.values(), 9)))  # type: ignore[assignment]  # open enum
    compare.target = draw(st.sampled_from((*rpc.Compare.CompareTarget.values(), 9)))  # type: ignore[assignment]  # open enum
    operand = draw(st.sampled_from(("version", "create_revision", "mod_revision", "lease")))
    if draw(st.booleans()):
        setattr(compare, operand, draw(st.integers(0, 10)))
    else:
        compare.value = draw(st.sampled_from((b"", b"1", b"2")))
    return compare


def ops(depth: int) -> st.SearchStrategy[rpc.RequestOp]:
    """Operations of a branch, with `depth` levels of transactions inside."""
    build: Callable[..., rpc.RequestOp] = rpc.RequestOp
    choices = [
        st.builds(build, request_put=puts()),
        st.builds(build, request_delete_range=deletes),
        st.builds(build, request_range=ranges),
    ]
    if depth:
        choices.append(st.builds(build, request_txn=txns(depth - 1)))
    return st.one_of(choices)


def txns(depth: int) -> st.SearchStrategy[rpc.TxnRequest]:
    """Transactions, valid or not."""
    branch = st.lists(ops(depth), max_size=3)
    return st.builds(
        rpc.TxnRequest,
        compare=st.lists(compares(), max_size=2),
        success=branch,
        failure=branch,
    )


def _is_valid(request: rpc.TxnRequest) -> bool:
    try:
        check_txn(request, 128)
    except RpcError:
        return False
    return True


def _entries(
    command: Command, requests: st.SearchStrategy[Message]
) -> st.SearchStrategy[tuple[Command, Message]]:
    return st.tuples(st.just(command), requests)


_checkpoints = st.lists(
    st.builds(rpc.LeaseCheckpoint, ID=lease_ids, remaining_TTL=st.integers(0, 50)), max_size=2
)
_alarms = st.builds(
    rpc.AlarmRequest,
    action=st.sampled_from(
        (rpc.AlarmRequest.GET, rpc.AlarmRequest.ACTIVATE, *[rpc.AlarmRequest.DEACTIVATE] * 4)
    ),
    memberID=st.sampled_from((0, 1)),
    alarm=st.sampled_from(KINDS),
)
names = st.sampled_from(("root", "u", "v"))
roles = st.sampled_from(("root", "r"))
permissions = st.builds(
    auth.Permission,
    permType=st.sampled_from(auth.Permission.Type.values()),
    key=keys,
    range_end=ends,
)
#: Whoever may stand in a log: of any revision, known or not.
callers = st.one_of(
    st.none(), st.just(ITSELF), st.builds(Identity, names, st.sampled_from((0, 1, 3, 5, 1 << 40)))
)
_HASH = "aGFzaA=="
auth_requests: st.SearchStrategy[tuple[Command, Message]] = st.one_of(
    _entries(Command.AUTH_ENABLE, st.just(rpc.AuthEnableRequest())),
    _entries(Command.AUTH_ENABLE, st.just(rpc.AuthEnableRequest())),
    _entries(Command.AUTH_DISABLE, st.just(rpc.AuthDisableRequest())),
    _entries(
        Command.AUTHENTICATE,
        st.builds(rpc.InternalAuthenticateRequest, name=names, simple_token=st.just("prefix")),
    ),
    _entries(
        Command.USER_ADD,
        st.builds(rpc.AuthUserAddRequest, name=names, hashedPassword=st.just(_HASH)),
    ),
    _entries(Command.USER_DELETE, st.builds(rpc.AuthUserDeleteRequest, name=names)),
    _entries(
        Command.USER_CHANGE_PASSWORD,
        st.builds(
            rpc.AuthUserChangePasswordRequest,
            name=names,
            hashedPassword=st.sampled_from((_HASH, "", "!")),
        ),
    ),
    _entries(
        Command.USER_GRANT_ROLE, st.builds(rpc.AuthUserGrantRoleRequest, user=names, role=roles)
    ),
    _entries(
        Command.USER_REVOKE_ROLE, st.builds(rpc.AuthUserRevokeRoleRequest, name=names, role=roles)
    ),
    _entries(Command.ROLE_ADD, st.builds(rpc.AuthRoleAddRequest, name=roles)),
    _entries(Command.ROLE_DELETE, st.builds(rpc.AuthRoleDeleteRequest, role=roles)),
    _entries(
        Command.ROLE_GRANT_PERMISSION,
        st.builds(rpc.AuthRoleGrantPermissionRequest, name=roles, perm=permissions),
    ),
    _entries(
        Command.ROLE_REVOKE_PERMISSION,
        st.builds(rpc.AuthRoleRevokePermissionRequest, role=roles, key=keys, range_end=ends),
    ),
)

_put_entries = _entries(Command.PUT, puts())
_txn_entries = _entries(Command.TXN, txns(2).filter(_is_valid))

entries: st.SearchStrategy[tuple[Command, Message]] = st.one_of(
    _put_entries,
    _put_entries,
    _put_entries,
    _put_entries,
    _txn_entries,
    _txn_entries,
    _entries(Command.DELETE_RANGE, deletes),
    _entries(Command.COMPACT, st.builds(rpc.CompactionRequest, revision=revisions)),
    _entries(
        Command.LEASE_GRANT,
        st.builds(rpc.LeaseGrantRequest, ID=lease_ids, TTL=st.integers(-1, 100)),
    ),
    _entries(Command.LEASE_REVOKE, st.builds(rpc.LeaseRevokeRequest, ID=lease_ids)),
    _entries(
        Command.LEASE_CHECKPOINT,
        st.builds(rpc.LeaseCheckpointRequest, checkpoints=_checkpoints),
    ),
    _entries(Command.ALARM, _alarms),
    _entries(Command.PUBLISH, st.builds(rpc.Member, ID=st.sampled_from((1, 2)), name=st.just("n"))),
)

#: The same with users, roles and auth that goes on and off; each entry says who asks.
auth_entries: st.SearchStrategy[Entry] = st.builds(
    lambda entry, caller: (*entry, caller), st.one_of(entries, auth_requests), callers
)
