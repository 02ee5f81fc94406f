"""The endpoints that a command addresses one by one."""

import click

from pykvctl.endpoints import Endpoint, parse_endpoints
from pykvctl.errors import CommandError, RequestError
from pykvctl.options.values import BOOL
from pykvctl.session import Session
from pykvd.methods import MEMBER_LIST
from pykvd.pb import rpc_pb2 as rpc

CLUSTER = click.Option(
    ["--cluster"],
    type=BOOL,
    default=False,
    help="use all endpoints from the cluster member list",
)


def addressed_endpoints(session: Session, *, cluster: bool) -> list[Endpoint]:
    """The endpoints of the flag, or with `--cluster` the client URLs of all members."""
    client = session.client
    if not cluster:
        return session.endpoints

    request = rpc.MemberListRequest(linearizable=True)
    try:
        answer = client.unary(MEMBER_LIST, request, session.full_timeout_s)
    except RequestError as error:
        raise CommandError(
            f"failed to fetch endpoints from etcd cluster member list: {error}"
        ) from None
    return parse_endpoints([url for member in answer.members for url in member.clientURLs])
