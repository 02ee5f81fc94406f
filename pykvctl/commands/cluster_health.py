"""cluster-health: the health of every member as the v2 client told it."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import click

from pykvctl.commands.v2 import PEERS, fail, use_peers
from pykvctl.endpoints import parse_endpoint
from pykvctl.errors import ExitCode, ReportedError, RequestError
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL
from pykvctl.session import Session
from pykvd.methods import ALARM, MEMBER_LIST, RANGE
from pykvd.pb import rpc_pb2 as rpc

#: Seconds between the checks of `--forever`.
INTERVAL_S = 10
PARALLEL_CHECKS = 32
NOT_ALL_HEALTHY = ExitCode.INTERRUPTED
LIST_FAILED = ExitCode.BAD_FEATURE

_DIAL = re.compile(r'desc = "transport: Error while dialing: (.*)"$')


@command(
    "cluster-health",
    usage="cluster-health [options]",
    short_help="v2: checks the health of all members",
    help="`endpoint health --cluster` and `endpoint status --cluster` tell more.",
    inherited=[PEERS],
)
@flag("-f", "--forever", type=BOOL, default=False, help="Check every 10 seconds until interrupted")
@click.pass_obj
def cluster_health(session: Session, args: list[str], forever: bool, peers: list[str]) -> None:
    """One line a member, then one for the cluster; the exit status is 5 unless all are healthy."""
    if args:
        session.streams.error_line("unrecognized arguments")
        raise ReportedError
    use_peers(session, peers)
    while True:
        healthy, members = _check(session)
        if not forever:
            break
        session.streams.line(f"\nnext check after {INTERVAL_S} second...\n")
        time.sleep(INTERVAL_S)
    if healthy < members:
        raise ReportedError(NOT_ALL_HEALTHY)


def _check(session: Session) -> tuple[int, int]:
    """Check every member once; how many are healthy, and how many there are."""
    timeout_s = session.full_timeout_s
    try:
        # Any member can tell, also without a majority.
        request = rpc.MemberListRequest(linearizable=False)
        answer = session.client.unary(MEMBER_LIST, request, timeout_s, quiet=True)
    except RequestError as error:
        session.streams.line("cluster may be unhealthy: failed to list members")
        text = f"etcd cluster is unavailable or misconfigured; error #0: {_reason(error)}"
        fail(session, f"client: {text}", LIST_FAILED)
    members = sorted(answer.members, key=lambda member: member.ID)
    with ThreadPoolExecutor(PARALLEL_CHECKS) as pool:
        checks = list(pool.map(lambda member: _check_member(session, member), members))
    for lines, _ in checks:
        for line in lines:
            session.streams.line(line)
    healthy = sum(is_healthy for _, is_healthy in checks)
    if healthy == len(members):
        word = "healthy"
    else:
        word = "degraded" if healthy else "unavailable"
    session.streams.line(f"cluster is {word}")
    return healthy, len(members)


def _check_member(session: Session, member: rpc.Member) -> tuple[list[str], bool]:
    """Lines about a member, and whether it is healthy; its first URL that answers decides."""
    name = f"member {member.ID:x}"
    if not member.clientURLs:
        return [f"{name} is unreachable: no available published client urls"], False
    lines: list[str] = []
    for url in member.clientURLs:
        reason, healthy = _ask(session, url)
        if not reason:
            word = "healthy" if healthy else "unhealthy"
            return [*lines, f"{name} is {word}: got {word} result from {url}"], healthy
        lines.append(f'failed to check the health of {name} on {url}: Get "{url}/health": {reason}')
    unreachable = f"{name} is unreachable: [{' '.join(member.clientURLs)}] are all unreachable"
    return [*lines, unreachable], False


def _ask(session: Session, url: str) -> tuple[str, bool]:
    """Why nobody answers at `url`, and if somebody does, whether it is healthy.

    That is what /health says: a read through the leader is answered, and no alarm is up.
    """
    client, timeout_s = session.client.only(parse_endpoint(url)), session.full_timeout_s
    try:
        client.unary(RANGE, rpc.RangeRequest(key=b"health"), timeout_s, quiet=True)
    except RequestError as error:
        if "balancer" in error.details:
            return _reason(error), False
        if error.code != "PermissionDenied":
            return "", False
    try:
        alarms = client.unary(ALARM, rpc.AlarmRequest(), timeout_s, quiet=True).alarms
    except RequestError:
        return "", False
    return "", not alarms


def _reason(error: RequestError) -> str:
    """Why nobody could be reached, without what gRPC says around it."""
    dialled = _DIAL.search(error.details)
    return dialled[1] if dialled else error.details
