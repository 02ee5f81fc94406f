"""Words of a line typed into `txn` or `watch -i`.

Blanks separate words; `'single quotes'` keep everything, `"double quotes"` know Go's escapes.
"""

import re

from pykvctl.errors import CommandError, ExitCode
from pykvctl.gotext.quoting import unquote

_WORD = re.compile(
    r""" " (?P<double> (?: [^"\\] | \\. )* ) "
       | ' (?P<single> [^']* ) '
       | (?P<plain> [^'"\s] \S* )
    """,
    re.VERBOSE | re.DOTALL,
)


def split_words(line: str) -> list[str]:
    """The words of a line; CommandError for a bad escape."""
    return [_value(match) for match in _WORD.finditer(line)]


def _value(match: re.Match[str]) -> str:
    if match["double"] is None:
        return match["single"] if match["single"] is not None else match["plain"]
    try:
        body = unquote(match["double"].encode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise CommandError(str(error), ExitCode.INVALID_INPUT) from None
    return body.decode("utf-8", "surrogateescape")
