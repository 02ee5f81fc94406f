"""defrag: give unused space of the database back, member by member."""

import time

import click

from pykvctl.cluster import CLUSTER, addressed_endpoints
from pykvctl.commands.data_dir import defragment_directory
from pykvctl.errors import ReportedError, RequestError
from pykvctl.gotext.durations import format_duration
from pykvctl.options.command import command, flag
from pykvctl.options.values import STRING
from pykvctl.session import Session
from pykvd.methods import DEFRAGMENT
from pykvd.pb import rpc_pb2 as rpc


@command(
    "defrag",
    usage="defrag",
    short_help="Defragments the storage of the etcd members with given endpoints",
    help="With --data-dir it works on the directory of a member that does not run.",
    inherited=[CLUSTER],
)
@flag("--data-dir", type=STRING, default="", help="Data directory of a stopped member")
@click.pass_obj
def defrag(session: Session, args: list[str], cluster: bool, data_dir: str) -> None:  # noqa: ARG001
    """Defragment one member after the other; the status tells if any failed."""
    if data_dir:
        defragment_directory(session, data_dir)
        return
    endpoints = addressed_endpoints(session, cluster=cluster)

    failed = False
    for endpoint in endpoints:
        started = time.monotonic_ns()
        client = session.client.only(endpoint)
        try:
            client.unary(DEFRAGMENT, rpc.DefragmentRequest(), session.full_timeout_s)
        except RequestError as error:
            took = format_duration(time.monotonic_ns() - started)
            session.streams.error_line(
                f"Failed to defragment etcd member[{endpoint.text}]. took {took}. ({error})"
            )
            failed = True
        else:
            took = format_duration(time.monotonic_ns() - started)
            session.streams.line(
                f"Finished defragmenting etcd member[{endpoint.text}]. took {took}"
            )
    if failed:
        raise ReportedError
