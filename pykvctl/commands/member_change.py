"""member add, remove, update, promote: change who is in the cluster."""

import click

from pykvctl.errors import BadArgumentsError, CommandError
from pykvctl.gotext.numbers import parse_uint
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL, STRING
from pykvctl.session import Session
from pykvd.methods import MEMBER_ADD, MEMBER_PROMOTE, MEMBER_REMOVE, MEMBER_UPDATE
from pykvd.pb import rpc_pb2 as rpc


@command("add", usage="add <memberName> [options]", short_help="Adds a member into the cluster")
@flag("--learner", type=BOOL, default=False, help="The new member does not vote until promoted")
@flag("--peer-urls", type=STRING, default="", help="Comma separated peer URLs of the new member")
@click.pass_obj
def add(session: Session, args: list[str], peer_urls: str, learner: bool) -> None:
    """Add a member, and tell how it is to be started."""
    if not args:
        raise BadArgumentsError("member name not provided")
    if len(args) > 1:
        guesses = [f", did you mean --peer-urls={a}" for a in args if a.lower().startswith("http")]
        raise BadArgumentsError("too many arguments" + "".join(guesses))
    urls = _split_urls(peer_urls)
    client = session.client

    request = rpc.MemberAddRequest(peerURLs=_checked(urls), isLearner=learner)
    answer = client.unary(MEMBER_ADD, request, session.full_timeout_s)
    session.printer.member_add(args[0], peer_urls, answer)


@command("remove", usage="remove <memberID>", short_help="Removes a member from the cluster")
@click.pass_obj
def remove(session: Session, args: list[str]) -> None:
    """Remove a member."""
    member_id = _member_id(args)
    client = session.client

    request = rpc.MemberRemoveRequest(ID=member_id)
    answer = client.unary(MEMBER_REMOVE, request, session.timeout_s)
    session.printer.member_change(member_id, "removed from", answer)


@command(
    "update", usage="update <memberID> [options]", short_help="Updates a member in the cluster"
)
@flag("--peer-urls", type=STRING, default="", help="Comma separated peer URLs of the member")
@click.pass_obj
def update(session: Session, args: list[str], peer_urls: str) -> None:
    """Give a member other peer URLs."""
    member_id = _member_id(args)
    urls = _split_urls(peer_urls)
    client = session.client

    request = rpc.MemberUpdateRequest(ID=member_id, peerURLs=_checked(urls))
    answer = client.unary(MEMBER_UPDATE, request, session.timeout_s)
    session.printer.member_change(member_id, "updated in", answer)


@command(
    "promote",
    usage="promote <memberID>",
    short_help="Promotes a non-voting member in the cluster",
)
@click.pass_obj
def promote(session: Session, args: list[str]) -> None:
    """Let a learner vote."""
    member_id = _member_id(args)
    client = session.client

    request = rpc.MemberPromoteRequest(ID=member_id)
    answer = client.unary(MEMBER_PROMOTE, request, session.timeout_s)
    session.printer.member_change(member_id, "promoted in", answer)


def _member_id(args: list[str]) -> int:
    if len(args) != 1:
        raise BadArgumentsError("member ID is not provided")
    try:
        return parse_uint(args[0], 16)
    except ValueError as error:
        raise BadArgumentsError(f"bad member ID arg ({error}), expecting ID in Hex") from None


def _split_urls(text: str) -> list[str]:
    if not text:
        raise BadArgumentsError("member peer urls not provided")
    return text.split(",")


def _checked(urls: list[str]) -> list[str]:
    """The URLs as they are, if they are such; the server would not tell what is wrong with one."""
    # Knows all options of the server, which the other commands should not have to wait for.
    from pykvd.config.urls import URL  # noqa: PLC0415

    try:
        for url in urls:
            URL.parse(url.strip())
    except ValueError as error:
        raise CommandError(str(error)) from None
    return urls
