"""help: the usage text of another command."""

import click

from pykvctl.commands import ROOT
from pykvctl.dispatch import show_usage
from pykvctl.errors import UnknownCommandError
from pykvctl.options.command import command, find
from pykvctl.session import Session


@command("help", usage="help [command]", short_help="Help about any command")
@click.pass_obj
def help_command(session: Session, args: list[str]) -> None:
    """Print a usage text; an unknown topic gets that of the program."""
    try:
        path, node, _ = find(ROOT, args)
    except UnknownCommandError:
        topics = " ".join(f"`{word}`" for word in args)
        session.streams.error_line(f"Unknown help topic [{topics}]")
        path, node = [], ROOT
    show_usage(session.streams, session.environ, path, node)
