"""role: what those who have a role may read and write."""

import os

import click

from pykvctl.errors import BadArgumentsError
from pykvctl.options.command import Group, flag
from pykvctl.options.values import BOOL
from pykvctl.ranges import ZERO, prefix_end
from pykvctl.session import Session
from pykvd.methods import (
    ROLE_ADD,
    ROLE_DELETE,
    ROLE_GET,
    ROLE_GRANT_PERMISSION,
    ROLE_LIST,
    ROLE_REVOKE_PERMISSION,
)
from pykvd.pb import auth_pb2 as authpb
from pykvd.pb import rpc_pb2 as rpc

role = Group("role", short_help="Role related commands")

_TYPES = {
    "read": authpb.Permission.READ,
    "write": authpb.Permission.WRITE,
    "readwrite": authpb.Permission.READWRITE,
}


def permission_range(args: list[str], *, prefix: bool, from_key: bool) -> tuple[bytes, bytes]:
    """Key and range end of a permission; an empty key stands for the lowest one."""
    key = os.fsencode(args[0])
    if prefix and from_key and (len(args) == 1 or not key):
        raise BadArgumentsError("--from-key and --prefix flags are mutually exclusive")
    if not key:
        return ZERO, ZERO if prefix or from_key else b""
    if len(args) > 1 and (prefix or from_key):
        name = "--prefix" if prefix else "--from-key"
        raise BadArgumentsError(f"unexpected endkey argument with {name} flag")
    if prefix:
        return key, prefix_end(key)
    if from_key:
        return key, ZERO
    return key, os.fsencode(args[1]) if len(args) > 1 else b""


@role.subcommand("add", usage="add <role name>", short_help="Adds a new role")
@click.pass_obj
def add(session: Session, args: list[str]) -> None:
    """Make a role."""
    if len(args) != 1:
        raise BadArgumentsError("role add command requires role name as its argument")
    client = session.client

    answer = client.unary(ROLE_ADD, rpc.AuthRoleAddRequest(name=args[0]), None)
    session.printer.auth_change(f"Role {args[0]} created", answer)


@role.subcommand("delete", usage="delete <role name>", short_help="Deletes a role")
@click.pass_obj
def delete(session: Session, args: list[str]) -> None:
    """Remove a role, also from its users."""
    if len(args) != 1:
        raise BadArgumentsError("role delete command requires role name as its argument")
    client = session.client

    answer = client.unary(ROLE_DELETE, rpc.AuthRoleDeleteRequest(role=args[0]), None)
    session.printer.auth_change(f"Role {args[0]} deleted", answer)


@role.subcommand("get", usage="get <role name>", short_help="Gets detailed information of a role")
@click.pass_obj
def get(session: Session, args: list[str]) -> None:
    """Print a role's permissions."""
    if len(args) != 1:
        raise BadArgumentsError("role get command requires role name as its argument")
    client = session.client

    answer = client.unary(ROLE_GET, rpc.AuthRoleGetRequest(role=args[0]), None)
    session.printer.role_get(args[0], answer)


@role.subcommand("list", usage="list", short_help="Lists all roles")
@click.pass_obj
def list_roles(session: Session, args: list[str]) -> None:
    """Print all names."""
    if args:
        raise BadArgumentsError("role list command requires no arguments")
    client = session.client

    session.printer.role_list(client.unary(ROLE_LIST, rpc.AuthRoleListRequest(), None))


@role.subcommand(
    "grant-permission",
    usage="grant-permission [options] <role name> <permission type> <key> [endkey]",
    short_help="Grants a key to a role",
    help="The permission type is read, write or readwrite.\n"
    "An empty key with --prefix stands for all keys.",
)
@flag("--prefix", type=BOOL, default=False, help="Grant a prefix permission")
@flag("--from-key", type=BOOL, default=False, help="Grant all keys from this one on")
@click.pass_obj
def grant_permission(session: Session, args: list[str], prefix: bool, from_key: bool) -> None:
    """Let a role read or write a range."""
    if len(args) < 3:
        raise BadArgumentsError(
            "role grant command requires role name, permission type, "
            "and key [endkey] as its argument"
        )
    name, kind = args[:2]
    if kind.lower() not in _TYPES:
        raise BadArgumentsError(f"invalid permission type: {kind}")
    key, range_end = permission_range(args[2:], prefix=prefix, from_key=from_key)
    client = session.client

    permission = authpb.Permission(permType=_TYPES[kind.lower()], key=key, range_end=range_end)
    request = rpc.AuthRoleGrantPermissionRequest(name=name, perm=permission)
    answer = client.unary(ROLE_GRANT_PERMISSION, request, None)
    session.printer.auth_change(f"Role {name} updated", answer)


@role.subcommand(
    "revoke-permission",
    usage="revoke-permission [options] <role name> <key> [endkey]",
    short_help="Revokes a key from a role",
    help="Key and end key must be those of the grant.",
)
@flag("--prefix", type=BOOL, default=False, help="Revoke a prefix permission")
@flag("--from-key", type=BOOL, default=False, help="Revoke all keys from this one on")
@click.pass_obj
def revoke_permission(session: Session, args: list[str], prefix: bool, from_key: bool) -> None:
    """Take a permission from a role."""
    if len(args) < 2:
        raise BadArgumentsError(
            "role revoke-permission command requires role name and key [endkey] as its argument"
        )
    name = args[0]
    key, range_end = permission_range(args[1:], prefix=prefix, from_key=from_key)
    client = session.client

    request = rpc.AuthRoleRevokePermissionRequest(role=name, key=key, range_end=range_end)
    answer = client.unary(ROLE_REVOKE_PERMISSION, request, None)
    what = _what(args[1], os.fsdecode(range_end))
    session.printer.auth_change(f"Permission of {what} is revoked from role {name}", answer)


def _what(key: str, end: str) -> str:
    """The key as it was typed, or the range."""
    if not end:
        return f"key {key}"
    return f"range [{key}, <open ended>" if end == "\0" else f"range [{key}, {end})"
