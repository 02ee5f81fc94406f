"""endpoint: health, status and hash of the members behind the endpoints."""

import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import click

from pykvctl.client import Client
from pykvctl.cluster import CLUSTER, addressed_endpoints
from pykvctl.endpoints import Endpoint
from pykvctl.errors import CommandError, ReportedError, RequestError
from pykvctl.hints import hint_alarms
from pykvctl.options.command import Group, flag
from pykvctl.options.values import INT
from pykvctl.output.printer import EndpointHash, EndpointHealth, EndpointStatus
from pykvctl.output.rows import alarm_name
from pykvctl.session import Session
from pykvd.methods import ALARM, HASH_KV, RANGE, STATUS
from pykvd.pb import rpc_pb2 as rpc

endpoint = Group("endpoint", short_help="Endpoint related commands", persistent=[CLUSTER])

# Health checks run at once; more than this many at a time help nobody.
PARALLEL_CHECKS = 32


@endpoint.subcommand(
    "health",
    usage="health",
    short_help="Checks the healthiness of endpoints specified in `--endpoints` flag",
)
@click.pass_obj
def health(session: Session, args: list[str], cluster: bool) -> None:  # noqa: ARG001
    """Commit a read on each endpoint and look for alarms; listed as they complete."""
    endpoints = addressed_endpoints(session, cluster=cluster)
    session.logger = "client"
    with ThreadPoolExecutor(PARALLEL_CHECKS) as pool:
        checks = [
            pool.submit(_check, session.client.only(item), item, session.full_timeout_s)
            for item in endpoints
        ]
        results = [check.result() for check in as_completed(checks)]
    session.printer.endpoint_health(results)
    hint_alarms(session.streams, (result.error for result in results))
    if not all(result.healthy for result in results):
        raise CommandError("unhealthy cluster")


def _check(client: Client, endpoint: Endpoint, timeout_s: float) -> EndpointHealth:

    started = time.monotonic_ns()
    error = ""
    try:
        client.unary(RANGE, rpc.RangeRequest(key=b"health"), timeout_s)
    except RequestError as failure:
        # A refusal for want of permission has been agreed upon by the cluster: it works.
        if failure.code != "PermissionDenied":
            error = str(failure)
    if not error:
        error = _alarms(client, timeout_s)
    return EndpointHealth(endpoint.text, not error, time.monotonic_ns() - started, error)


def _alarms(client: Client, timeout_s: float) -> str:

    try:
        answer = client.unary(ALARM, rpc.AlarmRequest(), timeout_s)
    except RequestError:
        return "Unable to fetch the alarm list"
    if not answer.alarms:
        return ""
    return "Active Alarm(s): " + "".join(f"{alarm_name(item.alarm)} " for item in answer.alarms)


@endpoint.subcommand(
    "status",
    usage="status",
    short_help="Prints out the status of endpoints specified in `--endpoints` flag",
)
@click.pass_obj
def status(session: Session, args: list[str], cluster: bool) -> None:  # noqa: ARG001
    """Ask each endpoint in turn; the exit status tells if any failed."""
    endpoints = addressed_endpoints(session, cluster=cluster)

    results = []
    for item in endpoints:
        client = session.client.only(item)
        try:
            answer = client.unary(STATUS, rpc.StatusRequest(), session.full_timeout_s)
        except RequestError as error:
            session.streams.error_line(
                f"Failed to get the status of endpoint {item.text} ({error})"
            )
        else:
            results.append(EndpointStatus(item.text, answer))
    session.printer.endpoint_status(results)
    hint_alarms(session.streams, (text for result in results for text in result.status.errors))
    if len(results) < len(endpoints):
        raise ReportedError


@endpoint.subcommand(
    "hashkv",
    usage="hashkv",
    short_help="Prints the KV history hash for each endpoint in --endpoints",
)
@flag("--rev", type=INT, default=0, help="revision to hash up to (0: the newest)")
@click.pass_obj
def hashkv(session: Session, args: list[str], rev: int, cluster: bool) -> None:  # noqa: ARG001
    """Ask each endpoint in turn; the first failure ends it."""
    endpoints = addressed_endpoints(session, cluster=cluster)

    results = []
    for item in endpoints:
        client = session.client.only(item)
        request = rpc.HashKVRequest(revision=rev)
        try:
            answer = client.unary(HASH_KV, request, session.full_timeout_s)
        except RequestError as error:
            session.streams.error_line(f"Failed to get the hash of endpoint {item.text} ({error})")
            raise
        results.append(EndpointHash(item.text, answer))
    session.printer.endpoint_hash(results)
