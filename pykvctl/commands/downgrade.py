"""downgrade: prepare a cluster for the release before."""

import click

from pykvctl.errors import BadArgumentsError
from pykvctl.options.command import Group
from pykvctl.session import Session
from pykvd.methods import DOWNGRADE
from pykvd.pb import rpc_pb2 as rpc

downgrade = Group("downgrade", short_help="Downgrade related commands")

_ACTIONS = {
    "validate": rpc.DowngradeRequest.VALIDATE,
    "enable": rpc.DowngradeRequest.ENABLE,
    "cancel": rpc.DowngradeRequest.CANCEL,
}


def _target(args: list[str]) -> str:
    """The version that is the only argument."""
    if not args:
        raise BadArgumentsError("TARGET_VERSION not provided")
    if len(args) > 1:
        raise BadArgumentsError("too many arguments")
    if not args[0]:
        raise BadArgumentsError("target version not provided")
    return args[0]


def _ask(session: Session, action: str, version: str = "") -> None:
    client = session.client

    request = rpc.DowngradeRequest(action=_ACTIONS[action], version=version)
    session.printer.downgrade(action, client.unary(DOWNGRADE, request, session.full_timeout_s))


@downgrade.subcommand(
    "validate",
    usage="validate <TARGET_VERSION>",
    short_help="Validate downgrade capability before starting downgrade",
)
@click.pass_obj
def validate(session: Session, args: list[str]) -> None:
    """Ask whether the cluster could go to a version, X.Y or X.Y.Z."""
    _ask(session, "validate", _target(args))


@downgrade.subcommand(
    "enable", usage="enable <TARGET_VERSION>", short_help="Start a downgrade action to cluster"
)
@click.pass_obj
def enable(session: Session, args: list[str]) -> None:
    """Have the cluster keep to what a version knows."""
    _ask(session, "enable", _target(args))


@downgrade.subcommand(
    "cancel", usage="cancel", short_help="Cancel the ongoing downgrade action to cluster"
)
@click.pass_obj
def cancel(session: Session, args: list[str]) -> None:  # noqa: ARG001
    """Stay with the version there is."""
    _ask(session, "cancel")
