"""What only people read: colours and things that move, where a terminal is attached.

In pipes, with NO_COLOR and with TERM=dumb or none everything is plain lines that stay the same from
release to release. `rich` takes 50 ms to import, hence only here and only then.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from pykvctl.interrupts import interruptible
from pykvctl.session import Session
from pykvctl.streams import Streams, encode

if TYPE_CHECKING:
    from rich.console import Console


def is_fancy(stream: BinaryIO, environ: Mapping[str, str]) -> bool:
    """Whether people look at the stream through a terminal that can do more than lines.

    A terminal that does not say what it is counts as one that cannot, as it does for curses.
    """
    known = environ.get("TERM", "") not in {"", "dumb"}
    return known and stream.isatty() and not environ.get("NO_COLOR")


@contextmanager
def console_on(stream: BinaryIO) -> Iterator["Console"]:
    """A rich console that writes to a stream."""
    from rich.console import Console  # noqa: PLC0415

    text = io.TextIOWrapper(stream, "utf-8", "surrogateescape", write_through=True)
    try:
        yield Console(file=text, highlight=False)
    finally:
        text.flush()
        # Otherwise it would close the stream.
        text.detach()


@contextmanager
def progress_of_bytes(session: Session, text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error while bytes arrive, if that is a terminal; it leaves no trace.

    Yields a function to be called with bytes so far and in all (0: not known). Nothing else may be
    written to the terminal after its first call.
    """
    stderr = session.streams.stderr
    if not is_fancy(stderr, session.environ):
        yield lambda _done, _total: None
        return
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with interruptible(), console_on(stderr) as console:
        progress = Progress(*columns, console=console, transient=True)
        task = progress.add_task(text, total=None)

        def update(done: int, total: int) -> None:
            progress.start()
            progress.update(task, completed=done, total=total or None)

        try:
            yield update
        finally:
            progress.stop()


def print_usage(streams: Streams, environ: Mapping[str, str], text: str) -> None:
    """A usage text, with its titles, commands and flags in colours if that is possible."""
    if not is_fancy(streams.stdout, environ):
        streams.write(encode(text))
        return
    from rich.text import Text  # noqa: PLC0415

    with console_on(streams.stdout) as console:
        coloured = Text(text.rstrip("\n"), tab_size=8)
        coloured.highlight_regex(r"(?m)^[A-Z][A-Z0-9 ,]*:$", "bold yellow")
        coloured.highlight_regex(r"(?m)^\t[a-z][a-z0-9-]*( [a-z-]+)?(?=\t)", "bold")
        coloured.highlight_regex(r"(?m)^ +(-[A-Za-z], )?(--[a-z-]+)?", "cyan")
        coloured.highlight_regex(r"(?m)(?<=^EXAMPLE:\n)\t.*$", "green")
        console.print(coloured, soft_wrap=True)


def present(
    session: Session,
    *,
    lines: Callable[[], Iterable[str]],
    value: Callable[[], object],
    draw: Callable[["Console"], None],
) -> None:
    """Show a result in the chosen format: drawn on a terminal, else as lines or as a value."""
    printer, stdout = session.printer, session.streams.stdout
    if printer.name == "simple" and is_fancy(stdout, session.environ):
        with console_on(stdout) as console:
            draw(console)
    elif printer.name == "simple":
        printer.report(lines(), None)
    else:
        printer.report((), value())
