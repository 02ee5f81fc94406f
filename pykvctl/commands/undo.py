"""undo: write back what a key held before its last change."""

import os

import click

from pykvctl.client import Client
from pykvctl.errors import BadArgumentsError, CommandError, RequestError
from pykvctl.gotext.quoting import quote
from pykvctl.history import Change, history_of
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL
from pykvctl.output.json import to_json
from pykvctl.session import Session
from pykvctl.watcher import COMPACTED
from pykvd.methods import RANGE, TXN
from pykvd.pb import kv_pb2 as kvpb
from pykvd.pb import rpc_pb2 as rpc

LEASE_GONE = "etcdserver: requested lease not found"


@command(
    "undo",
    usage="undo [options] <key>",
    short_help="Writes back what a key held before its last change",
    help="A key that was created is deleted, one that was deleted is put again. It is one\n"
    "transaction, which does nothing if the key changes meanwhile. To undo it is to redo.",
)
@flag("--dry-run", type=BOOL, default=False, help="Only tell what would be done")
@flag("--without-lease", type=BOOL, default=False, help="Put the value back without its lease")
@click.pass_obj
def undo(session: Session, args: list[str], dry_run: bool, without_lease: bool) -> None:
    """Undo the last change of a key."""
    if len(args) != 1:
        raise BadArgumentsError("undo command needs one argument as key")
    key = os.fsencode(args[0])
    change = last_change(session.client, key, session.timeout_s)
    if not dry_run:
        write_back(session, key, change, keep_lease=not without_lease)
    action = "would undo" if dry_run else "undid"
    result = f"= {quote(change.before.value)}" if change.before else "deleted"
    session.printer.report(
        [f"{action} revision {change.revision}: {quote(key)} {result}"],
        {
            "undone": change.revision,
            "dryRun": dry_run,
            "kv": to_json(change.before) if change.before else None,
        },
    )


def last_change(client: Client, key: bytes, timeout_s: float | None) -> Change:
    """The last change of a key; CommandError if it is not held."""
    found = client.unary(RANGE, rpc.RangeRequest(key=key), timeout_s).kvs
    if not found:
        changes = history_of(client, key, timeout_s).changes
        if not changes or changes[-1].after is not None:
            raise CommandError(f"no change of {quote(key)} is held")
        return changes[-1]
    current = found[0]
    if current.version == 1:
        return Change(current.mod_revision, None, current)
    request = rpc.RangeRequest(key=key, revision=current.mod_revision - 1)
    try:
        before = client.unary(RANGE, request, timeout_s, quiet=True).kvs
    except RequestError as error:
        if error.details == COMPACTED:
            raise CommandError(
                f"what {quote(key)} held before revision {current.mod_revision} is compacted"
            ) from None
        raise
    return Change(current.mod_revision, before[0] if before else None, current)


def write_back(session: Session, key: bytes, change: Change, *, keep_lease: bool) -> None:
    """Undo a change in one transaction; CommandError if the key is not as that change left it."""
    revision = change.after.mod_revision if change.after else 0
    unchanged = rpc.Compare(
        key=key, target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, mod_revision=revision
    )
    request = rpc.TxnRequest(compare=[unchanged], success=[_operation(key, change, keep_lease)])
    try:
        answer = session.client.unary(TXN, request, session.timeout_s, quiet=True)
    except RequestError as error:
        if error.details == LEASE_GONE:
            raise CommandError(
                f"the lease that {quote(key)} hung on is gone; --without-lease puts it back alone"
            ) from None
        raise
    if not answer.succeeded:
        raise CommandError(f"{quote(key)} has changed meanwhile; nothing was written")


def _operation(key: bytes, change: Change, keep_lease: bool) -> rpc.RequestOp:
    before: kvpb.KeyValue | None = change.before
    if before is None:
        return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key))
    lease = before.lease if keep_lease else 0
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=before.value, lease=lease))
