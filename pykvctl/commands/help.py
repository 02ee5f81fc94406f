"""help: the usage text of another command."""

import click

from pykvctl.commands import API_VERSION, ROOT
from pykvctl.errors import UnknownCommandError
from pykvctl.options.command import command, find
from pykvctl.options.usage import usage_text
from pykvctl.session import Session
from pykvctl.streams import encode


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
    session.streams.write(encode(usage_text(ROOT, path, node, API_VERSION)))
