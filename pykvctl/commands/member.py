"""member: the members of the cluster."""

import click

from pykvctl.errors import CommandError, ExitCode
from pykvctl.gotext.quoting import quote
from pykvctl.options.command import Group, flag
from pykvctl.options.values import STRING
from pykvctl.session import Session
from pykvd.methods import MEMBER_LIST
from pykvd.pb import rpc_pb2 as rpc

_CHANGES = "pykvctl.commands.member_change"

member = Group(
    "member",
    short_help="Membership related commands",
    lazy={name: f"{_CHANGES}:{name}" for name in ("add", "promote", "remove", "update")},
)


@member.subcommand("list", usage="list", short_help="Lists all members in the cluster")
@flag("--consistency", type=STRING, default="l", help="Linearizable(l) or Serializable(s)")
@click.pass_obj
def list_members(session: Session, args: list[str], consistency: str) -> None:  # noqa: ARG001
    """Print the members in the order of their IDs."""
    if consistency not in {"l", "s"}:
        raise CommandError(f"unknown consistency flag {quote(consistency)}", ExitCode.BAD_FEATURE)
    client = session.client

    request = rpc.MemberListRequest(linearizable=consistency == "l")
    answer = client.unary(MEMBER_LIST, request, session.timeout_s)
    session.printer.member_list(answer)
