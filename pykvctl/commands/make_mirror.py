"""make-mirror: keep a copy of a cluster's keys in another cluster."""

import os
import signal
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from pykvctl.endpoints import parse_endpoint
from pykvctl.errors import BadArgumentsError
from pykvctl.options.command import command, flag
from pykvctl.options.global_flags import GlobalFlags
from pykvctl.options.values import BOOL, INT, STRING, UINT
from pykvctl.session import Session

if TYPE_CHECKING:
    from pykvctl.mirror import Mirror

REPORT_INTERVAL_S = 30.0


@command(
    "make-mirror",
    usage="make-mirror [options] <destination>",
    short_help="Makes a mirror at the destination etcd cluster",
    help="Copies all keys, then follows changes until it is ended. With --bookmark it writes down\n"
    "how far it has got, and goes on from there when it is started again; --rev goes on from\n"
    "a revision that is known otherwise.",
)
@flag("--prefix", type=STRING, default="", help="Key-value prefix to mirror")
@flag("--bookmark", type=STRING, default="", help="Key of the destination to keep the place in")
@flag("--rev", type=INT, default=0, help="Specify the kv revision to start to mirror")
@flag("--max-txn-ops", type=UINT, default=128, help="Operations in one transaction at most")
@flag("--dest-prefix", type=STRING, default="", help="Prefix in the destination cluster")
@flag("--no-dest-prefix", type=BOOL, default=False, help="Leave the prefix out")
@flag("--dest-cert", type=STRING, default="", help="TLS certificate for the destination")
@flag("--dest-key", type=STRING, default="", help="TLS key for the destination")
@flag("--dest-cacert", type=STRING, default="", help="CA bundle to verify the destination with")
@flag("--dest-insecure-transport", type=BOOL, default=True, help="Plain text without TLS files")
@flag("--dest-user", type=STRING, default="", help="username[:password] for the destination")
@flag("--dest-password", type=STRING, default="", help="Password for the destination")
@click.pass_obj
def make_mirror(session: Session, /, args: list[str], **flags: object) -> None:
    """Copy, then follow, and tell the number of keys from time to time."""
    if len(args) != 1:
        raise BadArgumentsError("make-mirror takes one destination argument")
    if flags["no_dest_prefix"] and flags["dest_prefix"]:
        raise BadArgumentsError(
            "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one"
        )
    destination = session.connect(
        [parse_endpoint(args[0])],
        _destination_flags(session.flags, flags),
        prompt="Destination Password: ",
    )
    source = session.client
    from pykvctl.mirror import Mirror  # noqa: PLC0415  # loads gRPC

    prefix, new_prefix = str(flags["prefix"]), str(flags["dest_prefix"])
    if not new_prefix and not flags["no_dest_prefix"]:
        new_prefix = prefix
    ops_max, revision = flags["max_txn_ops"], flags["rev"]
    assert isinstance(ops_max, int)
    assert isinstance(revision, int)
    old, new = os.fsencode(prefix), os.fsencode(new_prefix)
    bookmark = os.fsencode(str(flags["bookmark"]))
    mirror = Mirror(source, destination, old, new, ops_max or sys.maxsize, bookmark)
    _report(session, mirror)
    mirror.run(revision if revision > 1 else 0)


def _destination_flags(flags: GlobalFlags, own: dict[str, object]) -> GlobalFlags:
    """Global flags with those of the destination in the place of the source's."""
    return replace(
        flags,
        cert=str(own["dest_cert"]),
        key=str(own["dest_key"]),
        cacert=str(own["dest_cacert"]),
        insecure_transport=bool(own["dest_insecure_transport"]),
        insecure_skip_tls_verify=False,
        user=str(own["dest_user"]),
        password=str(own["dest_password"]),
    )


def _report(session: Session, mirror: "Mirror") -> None:
    """Print the number of keys written, every half minute."""

    def report() -> None:
        try:
            session.streams.line(str(mirror.written))
        except BrokenPipeError:
            # What the signal does to other commands; only the main thread could set that up.
            os._exit(128 + signal.SIGPIPE)
        except OSError:
            pass  # A full disk below the counts does not harm the mirror.
        _report(session, mirror)

    timer = threading.Timer(REPORT_INTERVAL_S, report)
    timer.daemon = True
    timer.start()
