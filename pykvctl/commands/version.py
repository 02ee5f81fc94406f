"""version: the versions of this program and of the API it speaks."""

import click

from pykvctl.commands import API_VERSION, ROOT
from pykvctl.options.command import command
from pykvctl.session import Session
from pykvd.version import VERSION


@command("version", usage="version", short_help="Prints the version")
@click.pass_obj
def version(session: Session, args: list[str]) -> None:  # noqa: ARG001
    """Two lines in every format; needs no server."""
    session.streams.line(f"{ROOT.name} version: {VERSION}")
    session.streams.line(f"API version: {API_VERSION}")
