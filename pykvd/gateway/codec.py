"""Protobuf messages to JSON values and back, with the rules of protojson as etcd uses it.

Out: proto field names, 64-bit integers as strings, bytes in base64, enums by name, defaults left
out. In: proto or lowerCamel names, numbers or strings, both base64 alphabets with or without
padding, enums by name or number, null for the default; unknown fields are ignored.

`google.protobuf.json_format` keeps the same rules and is the tests' oracle; a message costs it
three times as much, because it looks every field up anew. Here each message type has a plan.
"""

from __future__ import annotations

import binascii
import json
import re
from decimal import Decimal
from functools import cache, partial
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Final, NoReturn

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,9})?")
_RANGES: Final = {
    FieldDescriptor.TYPE_INT32: (-(1 << 31), 1 << 31),
    FieldDescriptor.TYPE_UINT32: (0, 1 << 32),
    FieldDescriptor.TYPE_INT64: (-(1 << 63), 1 << 63),
    FieldDescriptor.TYPE_UINT64: (0, 1 << 64),
    FieldDescriptor.TYPE_ENUM: (-(1 << 31), 1 << 31),
}
_TYPE_NAMES: Final = {
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_ENUM: "enum",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_MESSAGE: "message",
}
_LONG: Final = frozenset({FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64})
#: Objects and lists in one body. Many times what a transaction may hold; each costs a microsecond
#: and more, and the garbage collector looks at all of them at once.
MAX_CONTAINERS: Final = 100_000
_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_URL_SAFE: Final = str.maketrans("-_", "+/")


class JsonError(ValueError):
    """A JSON text that is no request; the text says why."""


class Codec:
    """Converts messages of one type."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.message_type: type[Message] = message_factory.GetMessageClass(descriptor)
        self._parsers: dict[str, tuple[str, str, Callable[[Any], Any]]] = {}
        self._writers: dict[int, tuple[str, Callable[[Any], str]]] = {}
        for field in descriptor.fields:
            union = field.containing_oneof.name if field.containing_oneof else ""
            entry = field.name, union, _parser(field)
            self._parsers[field.name] = self._parsers[field.json_name] = entry
            self._writers[field.number] = f'"{field.name}":', _writer(field)

    def parse(self, value: object) -> Message:
        """The message in a JSON value.

        Raises:
            JsonError: something in it cannot be read.

        """
        fields = self.fields(value, "request")
        try:
            return self.message_type(**fields)
        except ValueError as error:  # text that is not Unicode
            raise JsonError(f"proto: {error}") from None

    def fields(self, value: object, name: str) -> dict[str, Any]:
        """The fields of the object `value`, ready for the message's constructor."""
        if type(value) is not dict:
            _refuse("message", name, value)
        parsers = self._parsers
        fields: dict[str, Any] = {}
        unions: set[str] | None = None
        for key, item in value.items():
            entry = parsers.get(key)
            if entry is None or item is None:
                continue
            field, union, parse = entry
            if field in fields:
                raise JsonError(f'proto: duplicate field "{key}"')
            if union:
                unions = unions or set()
                if union in unions:
                    raise JsonError(f'proto: error parsing "{key}", oneof {union} is already set')
                unions.add(union)
            parsed = parse(item)
            if parsed is not None:
                fields[field] = parsed
        return fields

    def members(self, message: Message) -> list[str]:
        """The JSON members (`"name":value`) of what is set, in the order of field numbers."""
        writers = self._writers
        members = []
        for field, content in message.ListFields():
            name, write = writers[field.number]
            members.append(name + write(content))
        return members

    def text(self, message: Message) -> str:
        """The JSON text of a message."""
        return "{" + ",".join(self.members(message)) + "}"

    def convert(self, serialized: bytes) -> bytes:
        """The JSON text of a serialized message."""
        return self.text(self.message_type.FromString(serialized)).encode()


@cache
def codec(descriptor: Descriptor) -> Codec:
    """The codec of a message type; made once, as it is needed."""
    return Codec(descriptor)


def load(body: bytes) -> Iterator[object]:
    """The JSON values in a body, one after the other; none for an empty one.

    Raises:
        JsonError: what is left is no JSON, or there is too much of it.

    """
    if body.count(b"{") + body.count(b"[") > MAX_CONTAINERS:
        raise JsonError(f"proto: more than {MAX_CONTAINERS} objects and lists")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise JsonError("proto: syntax error (line 1:1): invalid UTF-8") from None
    at = _skip_blanks(text, 0)
    while at < len(text):
        try:
            value, at = _decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}:{error.colno}"
            raise JsonError(f"proto: syntax error ({place}): {error.msg}") from None
        except RecursionError:
            raise JsonError("proto: exceeded max recursion depth") from None
        yield value
        at = _skip_blanks(text, at)


def _skip_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    assert match is not None
    return match.end()


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in fields if names.count(name) > 1)
        raise JsonError(f'proto: duplicate field "{twice}"')
    return fields


def _no_constant(name: str) -> NoReturn:
    raise JsonError(f"proto: syntax error: invalid value {name}")


def _integer(digits: str) -> int:
    if len(digits) > 20:
        return 1 << 64  # beyond every field; Python refuses or is slow with thousands of digits
    return int(digits)


_decoder = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=_no_constant,
    parse_float=Decimal,
    parse_int=_integer,
)


def _enum_numbers(field: FieldDescriptor) -> dict[str, int]:
    assert field.enum_type is not None
    return {value.name: value.number for value in field.enum_type.values}


# Values in.


def _refuse(kind: str, name: str, value: object) -> NoReturn:
    if isinstance(value, (list, dict)):
        # Only the outside: they may be large.
        shown = str(type(value)()) if not value else f"{str(type(value)())[0]}..."
    else:
        shown = json.dumps(value[:100] if isinstance(value, str) else value, default=str)
    raise JsonError(f"proto: invalid value for {kind} field {name}: {shown}")


def _parser(field: FieldDescriptor) -> Callable[[Any], Any]:
    parse = _single_parser(field)
    return partial(_parse_list, field.name, parse) if field.is_repeated else parse


def _single_parser(field: FieldDescriptor) -> Callable[[Any], Any]:
    match field.type:
        case FieldDescriptor.TYPE_BYTES:
            return partial(_parse_bytes, field.name)
        case FieldDescriptor.TYPE_STRING:
            return partial(_parse_plain, str, field)
        case FieldDescriptor.TYPE_BOOL:
            return partial(_parse_plain, bool, field)
        case FieldDescriptor.TYPE_ENUM:
            return partial(_parse_enum, field, _enum_numbers(field))
        case FieldDescriptor.TYPE_MESSAGE:
            return lambda value: codec(field.message_type).fields(value, field.name)
        case kind if kind in _RANGES:
            return partial(_parse_integer, field, *_RANGES[kind])
    raise NotImplementedError(f"{field.full_name} has a type that the API does not use")


def _parse_list(name: str, parse: Callable[[Any], Any], value: object) -> list[Any]:
    if type(value) is not list:
        _refuse("repeated", name, value)
    items = []
    for item in value:
        if item is None:
            _refuse("repeated", name, value)
        parsed = parse(item)
        if parsed is not None:
            items.append(parsed)
    return items


def _parse_plain(kind: type, field: FieldDescriptor, value: object) -> object:
    if type(value) is not kind:
        _refuse(_TYPE_NAMES[field.type], field.name, value)
    return value


def _parse_integer(field: FieldDescriptor, low: int, high: int, value: object) -> int:
    number = _whole(value)
    if number is None or not low <= number < high:
        _refuse(_TYPE_NAMES[field.type], field.name, value)
    return number


def _whole(value: object) -> int | None:
    """The integer in a number or in a text of one; `1.0` and `1e2` are integers too."""
    if type(value) is int:
        return value
    if type(value) is str:
        if len(value) <= 20 and _INTEGER.fullmatch(value):
            return int(value)
        if not _NUMBER.fullmatch(value):
            return None
        value = Decimal(value)
    if type(value) is Decimal and value.is_finite() and value.adjusted() < 20:
        whole = int(value)
        return whole if whole == value else None
    return None


def _parse_enum(field: FieldDescriptor, names: dict[str, int], value: object) -> int | None:
    if type(value) is str:
        return names.get(value)
    low, high = _RANGES[field.type]
    return _parse_integer(field, low, high, value)


def _parse_bytes(name: str, value: object) -> bytes:
    if type(value) is not str:
        _refuse("bytes", name, value)
    if len(value) % 4 == 0:
        try:
            return binascii.a2b_base64(value, strict_mode=True)
        except ValueError:
            pass
    return _parse_unusual_bytes(name, value)


def _parse_unusual_bytes(name: str, value: str) -> bytes:
    """Base64 without padding, in the alphabet for URLs, or with line breaks, as Go reads it."""
    text = value.replace("\r", "").replace("\n", "")
    if "-" in text or "_" in text:
        if "+" in text or "/" in text:
            _refuse("bytes", name, value)
        text = text.translate(_URL_SAFE)
    if len(text) % 4:
        if "=" in text:
            _refuse("bytes", name, value)
        text += "=" * (-len(text) % 4)
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        _refuse("bytes", name, value)


# Values out, as JSON text.


def _writer(field: FieldDescriptor) -> Callable[[Any], str]:
    write = _single_writer(field)
    if not field.is_repeated:
        return write
    return lambda items: "[" + ",".join([write(item) for item in items]) + "]"


def _single_writer(field: FieldDescriptor) -> Callable[[Any], str]:
    match field.type:
        case FieldDescriptor.TYPE_BYTES:
            return _base64
        case FieldDescriptor.TYPE_STRING:
            return encode_basestring
        case FieldDescriptor.TYPE_BOOL:
            return lambda value: "true" if value else "false"
        case FieldDescriptor.TYPE_ENUM:
            names = {number: f'"{name}"' for name, number in _enum_numbers(field).items()}
            return lambda number: names.get(number) or str(number)
        case FieldDescriptor.TYPE_MESSAGE:
            return lambda message: codec(field.message_type).text(message)
        case kind if kind in _LONG:
            return lambda value: f'"{value}"'
    return str


def _base64(value: bytes) -> str:
    return f'"{binascii.b2a_base64(value, newline=False).decode("ascii")}"'
