"""set, mk, update, rm, ls: the habits of etcd's v2 client, on v3.

Keys are used as they are typed, so that `set os linux` and then `get os` work; where v2 had
directories, `/` separates names here. Texts and exit statuses are those of the v2 client.
"""

import os
from collections.abc import Iterator
from typing import Any, NoReturn

import click

from pykvctl.endpoints import parse_endpoints
from pykvctl.errors import ExitCode, ReportedError
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL, INT, LIST, STRING
from pykvctl.paging import Pages
from pykvctl.ranges import prefix_end
from pykvctl.session import Session
from pykvd.methods import LEASE_GRANT, LEASE_REVOKE, TXN
from pykvd.pb import kv_pb2 as kvpb
from pykvd.pb import rpc_pb2 as rpc

#: Exit status of what the server refuses; 1 is for bad arguments.
REFUSED = ExitCode.BAD_FEATURE

#: Every command of v2 knew this flag.
PEERS = click.Option(["-C", "--peers"], type=LIST, default=[], help="Old name of --endpoints")

_TTL = flag("--ttl", type=INT, default=0, help="Seconds after which the key is deleted")


def use_peers(session: Session, peers: list[str]) -> None:
    """Talk to the addresses of `--peers`, if there are any."""
    if peers:
        session.endpoints = parse_endpoints(peers)


def fail(session: Session, text: str, exit_code: ExitCode = ExitCode.ERROR) -> NoReturn:
    """Write v2's error line, with its two blanks, and end."""
    session.streams.error_line(f"Error:  {text}")
    raise ReportedError(exit_code)


def _refuse(session: Session, code: int, message: str, cause: bytes, revision: int) -> NoReturn:
    text = cause.decode("utf-8", "surrogateescape")
    fail(session, f"{code}: {message} ({text}) [{revision}]", REFUSED)


def _key(session: Session, args: list[str]) -> bytes:
    if not args:
        fail(session, "key required")
    return os.fsencode(args[0])


def _value(session: Session, args: list[str]) -> bytes:
    value = os.fsencode(args[1]) if len(args) > 1 else session.streams.stdin.read()
    if not value and len(args) < 2:
        fail(session, "value required")
    return value


def _exists(key: bytes) -> rpc.Compare:
    return rpc.Compare(
        key=key, target=rpc.Compare.CREATE, result=rpc.Compare.GREATER, create_revision=0
    )


def _conditions(key: bytes, value: str, index: int) -> list[rpc.Compare]:
    """What `--swap-with-*` and `--with-*` ask for."""
    conditions = []
    if value:
        conditions.append(
            rpc.Compare(
                key=key,
                target=rpc.Compare.VALUE,
                result=rpc.Compare.EQUAL,
                value=os.fsencode(value),
            )
        )
    if index:
        conditions.append(
            rpc.Compare(
                key=key, target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, mod_revision=index
            )
        )
    return conditions


def _transact(
    session: Session, compare: list[rpc.Compare], *success: rpc.RequestOp
) -> tuple[rpc.TxnResponse, kvpb.KeyValue | None]:
    """Run a transaction; if it failed, also the pair as it is now, if there is one."""
    look = rpc.RequestOp(request_range=rpc.RangeRequest(key=compare[0].key)) if compare else None
    request = rpc.TxnRequest(compare=compare, success=success, failure=[look] if look else [])
    answer = session.client.unary(TXN, request, session.timeout_s)
    if answer.succeeded:
        return answer, None
    found = answer.responses[0].response_range.kvs
    return answer, found[0] if found else None


def _write(
    session: Session, args: list[str], compare: list[rpc.Compare], ttl: int
) -> tuple[rpc.TxnResponse, kvpb.KeyValue | None]:
    """Put the pair of the arguments if all of `compare` holds, and print its value."""
    key, value = _key(session, args), _value(session, args)
    lease = 0
    if ttl > 0:
        grant = rpc.LeaseGrantRequest(TTL=ttl)
        lease = session.client.unary(LEASE_GRANT, grant, session.timeout_s).ID
    put = rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value, lease=lease))
    answer, present = _transact(session, compare, put)
    if answer.succeeded:
        session.streams.write(value + b"\n")
    elif lease:
        session.client.unary(LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=lease), session.timeout_s)
    return answer, present


def _compare_failed(
    session: Session, present: kvpb.KeyValue, value: str, index: int, revision: int
) -> NoReturn:
    pairs = []
    if value and os.fsencode(value) != present.value:
        pairs.append(b"%b != %b" % (os.fsencode(value), present.value))
    if index and index != present.mod_revision:
        pairs.append(b"%d != %d" % (index, present.mod_revision))
    _refuse(session, 101, "Compare failed", b"[%b]" % b" ".join(pairs), revision)


@command("set", usage="set [options] <key> [value]", short_help="v2: sets a key", inherited=[PEERS])
@_TTL
@flag("--swap-with-value", type=STRING, default="", help="Only if this is the value")
@flag("--swap-with-index", type=INT, default=0, help="Only if this is the mod revision")
@click.pass_obj
def set_key(
    session: Session,
    args: list[str],
    ttl: int,
    swap_with_value: str,
    swap_with_index: int,
    peers: list[str],
) -> None:
    """Put a pair and print its value."""
    use_peers(session, peers)
    key = _key(session, args)
    compare = _conditions(key, swap_with_value, swap_with_index)
    answer, present = _write(session, args, compare, ttl)
    if answer.succeeded:
        return
    revision = answer.header.revision
    if present is None:
        _refuse(session, 100, "Key not found", key, revision)
    _compare_failed(session, present, swap_with_value, swap_with_index, revision)


@command("mk", usage="mk [options] <key> [value]", short_help="v2: makes a key", inherited=[PEERS])
@_TTL
@click.pass_obj
def make_key(session: Session, args: list[str], ttl: int, peers: list[str]) -> None:
    """Put a pair whose key does not exist yet, and print its value."""
    use_peers(session, peers)
    key = _key(session, args)
    absent = rpc.Compare(
        key=key, target=rpc.Compare.CREATE, result=rpc.Compare.EQUAL, create_revision=0
    )
    answer, _ = _write(session, args, [absent], ttl)
    if not answer.succeeded:
        _refuse(session, 105, "Key already exists", key, answer.header.revision)


@command(
    "update",
    usage="update [options] <key> [value]",
    short_help="v2: changes a key that exists",
    inherited=[PEERS],
)
@_TTL
@click.pass_obj
def update_key(session: Session, args: list[str], ttl: int, peers: list[str]) -> None:
    """Put a pair whose key exists, and print its value."""
    use_peers(session, peers)
    key = _key(session, args)
    answer, _ = _write(session, args, [_exists(key)], ttl)
    if not answer.succeeded:
        _refuse(session, 100, "Key not found", key, answer.header.revision)


@command("rm", usage="rm [options] <key>", short_help="v2: removes a key", inherited=[PEERS])
@flag("-r", "--recursive", type=BOOL, default=False, help="Also all keys below <key>/")
@flag("--with-value", type=STRING, default="", help="Only if this is the value")
@flag("--with-index", type=INT, default=0, help="Only if this is the mod revision")
@click.pass_obj
def remove(
    session: Session,
    args: list[str],
    recursive: bool,
    with_value: str,
    with_index: int,
    peers: list[str],
) -> None:
    """Delete a key and print the value it had; with `--recursive` delete what lies below too."""
    use_peers(session, peers)
    key = _key(session, args)
    if recursive:
        _remove_below(session, key)
        return
    delete = rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key, prev_kv=True))
    conditions = _conditions(key, with_value, with_index)
    answer, present = _transact(session, [_exists(key), *conditions], delete)
    revision = answer.header.revision
    if answer.succeeded:
        before = answer.responses[0].response_delete_range.prev_kvs[0].value
        session.streams.write(b"\n" if conditions else b"PrevNode.Value: %b\n" % before)
    elif present is not None:
        _compare_failed(session, present, with_value, with_index, revision)
    elif _is_directory(session, key):
        _refuse(session, 102, "Not a file", key, revision)
    else:
        _refuse(session, 100, "Key not found", key, revision)


def _remove_below(session: Session, key: bytes) -> None:
    base = _base(key)
    if base in {b"", b"/"}:
        _refuse(session, 107, "Root is read only", key or b"/", 0)
    requests = [
        rpc.DeleteRangeRequest(key=base[:-1]),
        rpc.DeleteRangeRequest(key=base, range_end=prefix_end(base)),
    ]
    operations = [rpc.RequestOp(request_delete_range=request) for request in requests]
    answer, _ = _transact(session, [], *operations)
    if not any(each.response_delete_range.deleted for each in answer.responses):
        _refuse(session, 100, "Key not found", key, answer.header.revision)


def _base(key: bytes) -> bytes:
    """The prefix of the keys below `key`."""
    return key.rstrip(b"/") + b"/" if key else b""


def _is_directory(session: Session, key: bytes) -> bool:
    base = _base(key)
    pages = Pages(session.client, (base, prefix_end(base)), session.timeout_s, keys_only=True)
    return next(iter(pages), None) is not None


@command("ls", usage="ls [options] [key]", short_help="v2: lists keys", inherited=[PEERS])
@flag("--sort", type=BOOL, default=False, help="Accepted: keys always come in order")
@flag("-r", "--recursive", type=BOOL, default=False, help="Also what lies deeper")
@flag("-p", "mark", type=BOOL, default=False, help="A slash behind names that others lie below")
@flag("-q", "--quorum", type=BOOL, default=False, help="Accepted: reads always have one")
@click.pass_obj
def list_keys(
    session: Session,
    /,
    args: list[str],
    recursive: bool,
    mark: bool,
    peers: list[str],
    **_accepted: Any,
) -> None:
    """List the names below a key."""
    use_peers(session, peers)
    key = os.fsencode(args[0]) if args else b""
    base = _base(key)
    bounds = (base or b"\0", prefix_end(base))
    pages = Pages(session.client, bounds, session.timeout_s, keys_only=True)
    names = list(names_below((pair.key for pair in pages), base, deep=recursive, mark=mark))
    if not names and base:
        own = Pages(session.client, (key, b""), session.timeout_s, keys_only=True)
        if next(iter(own), None) is None:
            _refuse(session, 100, "Key not found", key, own.newest)
        names = [key]
    session.streams.write(b"".join(name + b"\n" for name in names))


def names_below(keys: Iterator[bytes], base: bytes, *, deep: bool, mark: bool) -> Iterator[bytes]:
    """Paths that keys make below `base`, each once; with `mark` inner ones end with a slash."""
    seen: set[bytes] = set()
    for key in keys:
        rest = key[len(base) :]
        # A slash in front of the first name separates nothing.
        root = base + b"/" if rest.startswith(b"/") else base
        parts = key[len(root) :].split(b"/")
        for depth in range(1, len(parts) + 1 if deep else 2):
            path = root + b"/".join(parts[:depth])
            if mark and depth < len(parts):
                path += b"/"
            if path not in seen:
                seen.add(path)
                yield path
