"""The language of transactions: compare lines and request lines.

Compares read `TARGET("KEY") OP "VALUE"`, requests are put, get and del with their flags.
"""

import re
from io import BytesIO

from pykvctl.commands.delete import delete, delete_request
from pykvctl.commands.get import get, range_request
from pykvctl.commands.put import put, put_request
from pykvctl.errors import CommandError, ExitCode, FlagError
from pykvctl.gotext.numbers import parse_int
from pykvctl.gotext.quoting import quote, unquote
from pykvctl.options.command import Command
from pykvctl.options.parser import FlagSet, parse_flags
from pykvctl.words import split_words
from pykvd.pb import rpc_pb2 as rpc

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_OPERANDS = (
    re.compile(rf"\s*{_QUOTED}"),
    re.compile(r"\)\s*([^\s]+)"),
    re.compile(rf"\s*{_QUOTED}"),
)
_RESULTS = {
    "=": rpc.Compare.EQUAL,
    "!=": rpc.Compare.NOT_EQUAL,
    ">": rpc.Compare.GREATER,
    "<": rpc.Compare.LESS,
}
_TARGETS = {
    "ver": rpc.Compare.VERSION,
    "version": rpc.Compare.VERSION,
    "c": rpc.Compare.CREATE,
    "create": rpc.Compare.CREATE,
    "m": rpc.Compare.MOD,
    "mod": rpc.Compare.MOD,
    "val": rpc.Compare.VALUE,
    "value": rpc.Compare.VALUE,
    "lease": rpc.Compare.LEASE,
}


class TxnTextError(CommandError):
    """A line that is not in the language."""

    def __init__(self, text: str) -> None:
        super().__init__(text, ExitCode.INVALID_INPUT)


class UnknownOperatorError(CommandError):
    """An operator that does not exist; etcdctl dies of it, with this status."""

    def __init__(self, line: str, operator: str) -> None:
        text = f"malformed comparison: {line} (unknown operator {operator})"
        super().__init__(text, ExitCode.BAD_CONNECTION)


def parse_compare(line: str) -> rpc.Compare:
    """The compare that a line describes."""
    name, parenthesis, rest = line.partition("(")
    if not parenthesis:
        raise TxnTextError(f"malformed comparison: {line}")
    key, operator, value = _operands(line, name, rest)
    target = _TARGETS.get(name)
    if target is None:
        raise TxnTextError(f"malformed comparison: {line} (unknown target {name})")
    compare = rpc.Compare(target=target, key=key)
    try:
        _set_value(compare, value)
    except ValueError:
        raise TxnTextError(f"invalid txn compare request: {line}") from None
    if operator not in _RESULTS:
        raise UnknownOperatorError(line, operator)
    compare.result = _RESULTS[operator]
    return compare


def _operands(line: str, name: str, rest: str) -> tuple[bytes, str, bytes]:
    """Key, operator and value; TxnTextError shows how much of them was understood."""
    found: list[str] = []
    position = 0
    for pattern in _OPERANDS:
        match = pattern.match(rest, position)
        if match is None:
            break
        found.append(match[1])
        position = match.end()
    texts = found + [""] * (len(_OPERANDS) - len(found))
    try:
        key, value = (unquote(texts[i].encode("utf-8", "surrogateescape")) for i in (0, 2))
    except ValueError:
        key, value, found = b"", b"", []
    if len(found) < len(_OPERANDS):
        raise TxnTextError(
            f"malformed comparison: {line}; got {name}({quote(key)}) {texts[1]} {quote(value)}"
        )
    return key, texts[1], value


def _set_value(compare: rpc.Compare, value: bytes) -> None:
    """Fill the member of the union that belongs to the target; ValueError for a bad number."""
    text = value.decode("utf-8", "surrogateescape")
    if compare.target == rpc.Compare.VALUE:
        compare.value = value
    elif compare.target == rpc.Compare.LEASE:
        compare.lease = parse_int(text, 16)
    elif compare.target == rpc.Compare.VERSION:
        compare.version = parse_int(text)
    elif compare.target == rpc.Compare.CREATE:
        compare.create_revision = parse_int(text)
    else:
        compare.mod_revision = parse_int(text)


def parse_operation(line: str) -> rpc.RequestOp:
    """The request that a line describes."""
    words = split_words(line)
    if len(words) < 2:
        raise TxnTextError(f"invalid txn compare request: {line}")
    matching = [c for c in (put, get, delete) if str(c.name).startswith(words[0])]
    if len(matching) != 1:
        raise TxnTextError(f"invalid txn request: {line}")
    try:
        return _operation(matching[0], words[1:])
    except FlagError:
        raise TxnTextError(f"invalid txn request: {line}") from None


def _operation(command: Command, words: list[str]) -> rpc.RequestOp:
    parsed = parse_flags(FlagSet(command.params), words)
    flags = {**command.defaults(), **parsed.values}
    if command is put:
        # Standard input holds the transaction: a value must stand in the line.
        return rpc.RequestOp(request_put=put_request(parsed.args, BytesIO(), **flags))
    if command is get:
        del flags["print_value_only"]
        if flags.pop("at"):
            # A time is turned into a revision by a question of its own.
            raise FlagError("--at cannot be part of a transaction")
        return rpc.RequestOp(request_range=range_request(parsed.args, **flags))
    del flags["is_range"]
    return rpc.RequestOp(request_delete_range=delete_request(parsed.args, **flags))
