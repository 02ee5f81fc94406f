"""auth: whether callers have to say who they are."""

import click

from pykvctl.errors import BadArgumentsError, RequestError
from pykvctl.options.command import Group
from pykvctl.session import Session
from pykvd.methods import AUTH_DISABLE, AUTH_ENABLE, AUTH_STATUS, ROLE_ADD, USER_GRANT_ROLE
from pykvd.pb import rpc_pb2 as rpc

ROOT_ROLE_MISSING = "etcdserver: root user does not have root role"

auth = Group("auth", short_help="Enable or disable authentication")


def _no_arguments(name: str, args: list[str]) -> None:
    if args:
        raise BadArgumentsError(f"auth {name} command does not accept any arguments")


@auth.subcommand(
    "enable",
    usage="enable",
    short_help="Enables authentication",
    help="There has to be a user root; the role root is made and granted if need be.",
)
@click.pass_obj
def enable(session: Session, args: list[str]) -> None:
    """Demand a user of every caller."""
    _no_arguments("enable", args)
    client, timeout = session.client, session.full_timeout_s

    try:
        client.unary(AUTH_ENABLE, rpc.AuthEnableRequest(), timeout)
    except RequestError as error:
        if error.details != ROOT_ROLE_MISSING:
            raise
        client.unary(ROLE_ADD, rpc.AuthRoleAddRequest(name="root"), timeout)
        grant = rpc.AuthUserGrantRoleRequest(user="root", role="root")
        client.unary(USER_GRANT_ROLE, grant, timeout)
        client.unary(AUTH_ENABLE, rpc.AuthEnableRequest(), timeout)
    session.streams.line("Authentication Enabled")


@auth.subcommand("disable", usage="disable", short_help="Disables authentication")
@click.pass_obj
def disable(session: Session, args: list[str]) -> None:
    """Serve everybody again."""
    _no_arguments("disable", args)
    client = session.client

    client.unary(AUTH_DISABLE, rpc.AuthDisableRequest(), session.full_timeout_s)
    session.streams.line("Authentication Disabled")


@auth.subcommand("status", usage="status", short_help="Returns authentication status")
@click.pass_obj
def status(session: Session, args: list[str]) -> None:
    """Print whether it is on, and the revision of users and roles."""
    _no_arguments("status", args)
    client = session.client

    answer = client.unary(AUTH_STATUS, rpc.AuthStatusRequest(), session.full_timeout_s)
    session.printer.auth_status(answer)
