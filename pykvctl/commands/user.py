"""user: who may call, and with which roles."""

import click

from pykvctl.errors import BadArgumentsError
from pykvctl.options.command import Group, flag
from pykvctl.options.values import BOOL, STRING
from pykvctl.prompt import read_password
from pykvctl.session import Session
from pykvd.methods import (
    ROLE_GET,
    USER_ADD,
    USER_CHANGE_PASSWORD,
    USER_DELETE,
    USER_GET,
    USER_GRANT_ROLE,
    USER_LIST,
    USER_REVOKE_ROLE,
)
from pykvd.pb import auth_pb2 as authpb
from pykvd.pb import rpc_pb2 as rpc

user = Group("user", short_help="User related commands")


def _read_new_password(session: Session, name: str, *, interactive: bool) -> str:
    """A password typed twice, or the first word of standard input."""
    streams = session.streams
    if not interactive:
        words = streams.stdin.readline().split()
        return words[0].decode("utf-8", "surrogateescape") if words else ""
    password = read_password(streams, f"Password of {name}: ")
    if not password:
        raise BadArgumentsError("empty password")
    question = f"Type password of {name} again for confirmation: "
    if read_password(streams, question) != password:
        raise BadArgumentsError("given passwords are different")
    return password


@user.subcommand(
    "add",
    usage="add <user name or user:password> [options]",
    short_help="Adds a new user",
    help="Without a password in the argument or a flag, it is asked for twice.",
)
@flag("--interactive", type=BOOL, default=True, help="Ask, instead of reading standard input")
@flag("--new-user-password", type=STRING, default="", help="Password of the new user")
@flag("--no-password", type=BOOL, default=False, help="A user known by its certificate only")
@click.pass_obj
def add(
    session: Session, args: list[str], interactive: bool, new_user_password: str, no_password: bool
) -> None:
    """Make a user."""
    if len(args) != 1:
        raise BadArgumentsError("user add command requires user name as its argument")
    name, password = args[0], ""
    if not no_password:
        if new_user_password:
            password = new_user_password
        elif ":" in name:
            name, _, password = name.partition(":")
            if not name:
                raise BadArgumentsError("empty user name is not allowed")
        else:
            password = _read_new_password(session, name, interactive=interactive)
    client = session.client

    options = authpb.UserAddOptions(no_password=no_password)
    request = rpc.AuthUserAddRequest(name=name, password=password, options=options)
    answer = client.unary(USER_ADD, request, None)
    session.printer.auth_change(f"User {name} created", answer)


@user.subcommand("delete", usage="delete <user name>", short_help="Deletes a user")
@click.pass_obj
def delete(session: Session, args: list[str]) -> None:
    """Remove a user."""
    if len(args) != 1:
        raise BadArgumentsError("user delete command requires user name as its argument")
    client = session.client

    answer = client.unary(USER_DELETE, rpc.AuthUserDeleteRequest(name=args[0]), None)
    session.printer.auth_change(f"User {args[0]} deleted", answer)


@user.subcommand(
    "get", usage="get <user name> [options]", short_help="Gets detailed information of a user"
)
@flag("--detail", type=BOOL, default=False, help="Show permissions of roles granted to the user")
@click.pass_obj
def get(session: Session, args: list[str], detail: bool) -> None:
    """Print a user's roles."""
    if len(args) != 1:
        raise BadArgumentsError("user get command requires user name as its argument")
    client = session.client

    answer = client.unary(USER_GET, rpc.AuthUserGetRequest(name=args[0]), None)
    if not detail:
        session.printer.user_get(args[0], answer)
        return
    session.streams.line(f"User: {args[0]}")
    for role in answer.roles:
        session.streams.line("")
        found = client.unary(ROLE_GET, rpc.AuthRoleGetRequest(role=role), None)
        session.printer.role_get(role, found)


@user.subcommand("list", usage="list", short_help="Lists all users")
@click.pass_obj
def list_users(session: Session, args: list[str]) -> None:
    """Print all names."""
    if args:
        raise BadArgumentsError("user list command requires no arguments")
    client = session.client

    session.printer.user_list(client.unary(USER_LIST, rpc.AuthUserListRequest(), None))


@user.subcommand(
    "passwd", usage="passwd <user name> [options]", short_help="Changes password of user"
)
@flag("--interactive", type=BOOL, default=True, help="Ask, instead of reading standard input")
@click.pass_obj
def passwd(session: Session, args: list[str], interactive: bool) -> None:
    """Change a password."""
    if len(args) != 1:
        raise BadArgumentsError("user passwd command requires user name as its argument")
    password = _read_new_password(session, args[0], interactive=interactive)
    client = session.client

    request = rpc.AuthUserChangePasswordRequest(name=args[0], password=password)
    answer = client.unary(USER_CHANGE_PASSWORD, request, None)
    session.printer.auth_change("Password updated", answer)


@user.subcommand(
    "grant-role", usage="grant-role <user name> <role name>", short_help="Grants a role to a user"
)
@click.pass_obj
def grant_role(session: Session, args: list[str]) -> None:
    """Give a user a role."""
    if len(args) != 2:
        raise BadArgumentsError(
            "user grant command requires user name and role name as its argument"
        )
    name, role = args
    client = session.client

    request = rpc.AuthUserGrantRoleRequest(user=name, role=role)
    answer = client.unary(USER_GRANT_ROLE, request, None)
    session.printer.auth_change(f"Role {role} is granted to user {name}", answer)


@user.subcommand(
    "revoke-role",
    usage="revoke-role <user name> <role name>",
    short_help="Revokes a role from a user",
)
@click.pass_obj
def revoke_role(session: Session, args: list[str]) -> None:
    """Take a role from a user."""
    if len(args) != 2:
        raise BadArgumentsError("user revoke-role requires user name and role name as its argument")
    name, role = args
    client = session.client

    request = rpc.AuthUserRevokeRoleRequest(name=name, role=role)
    answer = client.unary(USER_REVOKE_ROLE, request, None)
    session.printer.auth_change(f"Role {role} is revoked from user {name}", answer)
