"""move-leader: hand the leadership to another member."""

import click

from pykvctl.errors import BadArgumentsError, RequestError
from pykvctl.gotext.numbers import parse_uint
from pykvctl.options.command import command
from pykvctl.session import Session
from pykvd.methods import MOVE_LEADER, STATUS
from pykvd.pb import rpc_pb2 as rpc


@command(
    "move-leader",
    usage="move-leader <transferee-member-id>",
    short_help="Transfers leadership to another etcd cluster member.",
)
@click.pass_obj
def move_leader(session: Session, args: list[str]) -> None:
    """Find the leader among the endpoints and ask it to step down for the target."""
    if len(args) != 1:
        raise BadArgumentsError("move-leader command needs 1 argument")
    try:
        target = parse_uint(args[0], 16)
    except ValueError as error:
        raise BadArgumentsError(str(error)) from None
    client = session.client

    for endpoint in session.endpoints:
        member = client.only(endpoint)
        try:
            status = member.unary(STATUS, rpc.StatusRequest(), session.full_timeout_s)
        except RequestError:
            continue
        if status.header.member_id == status.leader:
            request = rpc.MoveLeaderRequest(targetID=target)
            answer = member.unary(MOVE_LEADER, request, session.full_timeout_s)
            session.printer.move_leader(status.leader, target, answer)
            return
    texts = " ".join(endpoint.text for endpoint in session.endpoints)
    raise BadArgumentsError(f"no leader endpoint given at [{texts}]")
