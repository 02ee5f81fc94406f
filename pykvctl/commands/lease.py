"""lease: grant, revoke, inspect, list and renew leases."""

import click

from pykvctl.errors import BadArgumentsError, CommandError, ExitCode, RequestError
from pykvctl.gotext.numbers import parse_int
from pykvctl.keepalive import renew, renewals
from pykvctl.options.command import Group, flag
from pykvctl.options.values import BOOL
from pykvctl.session import Session
from pykvd.methods import LEASE_GRANT, LEASE_LEASES, LEASE_REVOKE, LEASE_TIME_TO_LIVE
from pykvd.pb import rpc_pb2 as rpc

lease = Group("lease", short_help="Lease related commands")


def _one_lease(args: list[str], complaint: str) -> int:
    """The lease ID that is the only argument."""
    if len(args) != 1:
        raise BadArgumentsError(complaint)
    try:
        return parse_int(args[0], 16)
    except ValueError as error:
        raise BadArgumentsError(f"bad lease ID arg ({error}), expecting ID in Hex") from None


@lease.subcommand("grant", usage="grant <ttl>", short_help="Creates leases")
@click.pass_obj
def grant(session: Session, args: list[str]) -> None:
    """Create a lease with a time to live in seconds."""
    if len(args) != 1:
        raise BadArgumentsError("lease grant command needs TTL argument")
    try:
        ttl = parse_int(args[0])
    except ValueError as error:
        raise BadArgumentsError(f"bad TTL ({error})") from None
    client = session.client

    try:
        answer = client.unary(LEASE_GRANT, rpc.LeaseGrantRequest(TTL=ttl), session.timeout_s)
    except RequestError as error:
        raise CommandError(f"failed to grant lease ({error})") from None
    session.printer.lease_grant(answer)


@lease.subcommand("revoke", usage="revoke <leaseID>", short_help="Revokes leases")
@click.pass_obj
def revoke(session: Session, args: list[str]) -> None:
    """Remove a lease with its keys."""
    lease_id = _one_lease(args, "lease revoke command needs 1 argument")
    client = session.client

    try:
        answer = client.unary(LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=lease_id), session.timeout_s)
    except RequestError as error:
        raise CommandError(f"failed to revoke lease ({error})") from None
    session.printer.lease_revoke(lease_id, answer)


@lease.subcommand(
    "timetolive", usage="timetolive <leaseID> [options]", short_help="Get lease information"
)
@flag("--keys", type=BOOL, default=False, help="Get keys attached to this lease")
@click.pass_obj
def timetolive(session: Session, args: list[str], keys: bool) -> None:
    """Print the time a lease was granted and has left."""
    lease_id = _one_lease(args, "lease timetolive command needs lease ID as argument")
    client = session.client

    request = rpc.LeaseTimeToLiveRequest(ID=lease_id, keys=keys)
    try:
        answer = client.unary(LEASE_TIME_TO_LIVE, request, session.timeout_s)
    except RequestError as error:
        raise CommandError(str(error), ExitCode.BAD_CONNECTION) from None
    session.printer.lease_time_to_live(answer, keys=keys)


@lease.subcommand("list", usage="list", short_help="List all active leases")
@click.pass_obj
def list_leases(session: Session, args: list[str]) -> None:  # noqa: ARG001
    """Print all leases; waits for a server without a deadline."""
    client = session.client

    try:
        answer = client.unary(LEASE_LEASES, rpc.LeaseLeasesRequest(), None)
    except RequestError as error:
        raise CommandError(str(error), ExitCode.BAD_CONNECTION) from None
    session.printer.lease_list(answer)


@lease.subcommand(
    "keep-alive", usage="keep-alive [options] <leaseID>", short_help="Keeps leases alive (renew)"
)
@flag("--once", type=BOOL, default=False, help="Renew once and exit")
@click.pass_obj
def keep_alive(session: Session, args: list[str], once: bool) -> None:
    """Renew a lease at a third of its time until it is gone."""
    lease_id = _one_lease(args, "lease keep-alive command needs lease ID as argument")
    client = session.client

    if not once:
        for answer in renewals(client, lease_id):
            session.printer.lease_keep_alive(answer)
        session.streams.line(f"lease {lease_id:016x} expired or revoked.")
        return
    try:
        answer = renew(client, lease_id)
    except RequestError as error:
        raise CommandError(str(error), ExitCode.BAD_CONNECTION) from None
    if answer.TTL <= 0:
        raise CommandError("etcdserver: requested lease not found", ExitCode.BAD_CONNECTION)
    session.printer.lease_keep_alive(answer)
