"""The help text."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from pykvd.config.catalog import GROUPS
from pykvd.config.options import BOOL, Option
from pykvd.config.support import NO_EFFECT, REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTH = 88
_HEAD = """\
pykvd, a distributed key-value store that speaks the etcd v3 API.

Usage:
  pykvd [flags]                  run a server
  pykvd --config-file pykvd.yml  run a server with the options in a YAML file
  pykvd --version                print the version

Examples:
  pykvd --data-dir /var/lib/pykvd
  pykvd --name n1 --listen-client-urls http://0.0.0.0:2379 \\
        --advertise-client-urls http://n1.example:2379

One dash is as good as two. Every flag can be given as a variable instead: --data-dir is
ETCD_DATA_DIR. Durations are written 300ms, 5s, 1h30m. The value shown is the default.
"""


def usage() -> str:
    """What `--help` prints: how to start, then every flag by subject with its default."""
    parts = [_HEAD]
    for title, options in GROUPS.items():
        parts.append(f"\n{title}:\n" + "".join(_lines(options)))
    return "".join(parts)


def _lines(options: tuple[Option, ...]) -> Iterator[str]:
    for option in options:
        shown = option.kind.show(option.default)
        default = shown if option.kind is BOOL or shown else "''"
        yield f"  --{option.flag} {default}\n"
        text = option.help
        if option.flag in REFUSED:
            text += " Refused: not supported yet."
        elif option.flag in NO_EFFECT:
            text += " No effect yet."
        yield (
            textwrap.fill(text, _WIDTH, initial_indent="      ", subsequent_indent="      ") + "\n"
        )
