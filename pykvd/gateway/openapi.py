"""The OpenAPI 3.1 description of the gateway, made from the message descriptors.

Requests and replies have schemas of their own where a message is used in both: replies are exact
(64-bit integers are strings, nothing is added), requests as lenient as the codec.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import FieldDescriptor

from pykvd.gateway.routes import PREFIX, ROUTES, find_method
from pykvd.version import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor import Descriptor, MethodDescriptor

Schema = dict[str, Any]

_INPUT: Final = ".Input"
_LONG: Final = {
    FieldDescriptor.TYPE_INT64: ("int64", "^-?[0-9]+$"),
    FieldDescriptor.TYPE_UINT64: ("uint64", "^[0-9]+$"),
}
_SHORT: Final = {FieldDescriptor.TYPE_INT32: "int32", FieldDescriptor.TYPE_UINT32: "uint32"}
_ERROR: Final[Schema] = {
    "type": "object",
    "required": ["error", "code", "message"],
    "properties": {
        "error": {"type": "string"},
        "code": {"type": "integer", "description": "The gRPC status code."},
        "message": {"type": "string"},
    },
    "additionalProperties": False,
}
_STREAM_ERROR: Final[Schema] = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "integer", "description": "The gRPC status code."},
        "grpc_code": {"type": "integer"},
        "http_code": {"type": "integer"},
        "message": {"type": "string"},
        "http_status": {"type": "string"},
    },
    "additionalProperties": False,
}


def document() -> str:
    """The description as JSON text."""
    return json.dumps(describe(), indent=1) + "\n"


def describe() -> Schema:
    """The description as a JSON value."""
    methods = {path: find_method(*names) for path, names in ROUTES.items()}
    schemas: dict[str, Schema] = {"Error": _ERROR, "StreamError": _STREAM_ERROR}
    outputs = _reachable(method.output_type for method in methods.values())
    inputs = _reachable(method.input_type for method in methods.values())
    for name in sorted(outputs):
        schemas[name] = _message_schema(outputs[name], outputs, reply=True)
    for name in sorted(inputs):
        schemas[_input_name(name, outputs)] = _message_schema(inputs[name], outputs, reply=False)
    paths: dict[str, Schema] = {}
    used: set[str] = set()
    for path in sorted(methods):
        paths[path] = {"post": _operation(methods[path], outputs, used)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pykvd's JSON gateway",
            "version": API_VERSION,
            "description": (
                f"The etcd v3 API as JSON over HTTP. All paths are also served with the prefix "
                f"/v3beta/ in place of {PREFIX}. Keys and values are base64."
            ),
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "Authorization"}
            },
        },
        "security": [{}, {"token": []}],
    }


def _reachable(roots: Iterable[Descriptor]) -> dict[str, Descriptor]:
    """All messages inside these, by full name."""
    found: dict[str, Descriptor] = {}
    waiting = list(roots)
    while waiting:
        descriptor = waiting.pop()
        if descriptor.full_name not in found:
            found[descriptor.full_name] = descriptor
            waiting += [field.message_type for field in descriptor.fields if field.message_type]
    return found


def _input_name(name: str, outputs: dict[str, Descriptor]) -> str:
    return name + _INPUT if name in outputs else name


def _operation(method: MethodDescriptor, outputs: dict[str, Descriptor], used: set[str]) -> Schema:
    service = method.containing_service.name
    request = _reference(_input_name(method.input_type.full_name, outputs))
    reply = _reference(method.output_type.full_name)
    operation: Schema = {
        "operationId": _unique(f"{service}_{method.name}", used),
        "tags": [service],
    }
    if method.client_streaming:
        operation["description"] = "The body holds any number of requests, one after the other."
    if method.server_streaming:
        reply = {
            "type": "object",
            "properties": {"result": reply, "error": _reference("StreamError")},
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
        }
    operation["requestBody"] = {"content": {"application/json": {"schema": request}}}
    answer = "One JSON object a line." if method.server_streaming else "The reply."
    error = {"oneOf": [_reference("Error"), reply]} if method.server_streaming else None
    operation["responses"] = {
        "200": {"description": answer, "content": {"application/json": {"schema": reply}}},
        "default": {
            "description": "The call failed; the status belongs to the gRPC code.",
            "content": {"application/json": {"schema": error or _reference("Error")}},
        },
    }
    return operation


def _unique(name: str, used: set[str]) -> str:
    """The name, or with the lowest number from 2 on that makes it new."""
    candidate, number = name, 2
    while candidate in used:
        candidate, number = f"{name}{number}", number + 1
    used.add(candidate)
    return candidate


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _message_schema(
    descriptor: Descriptor, outputs: dict[str, Descriptor], *, reply: bool
) -> Schema:
    properties = {
        field.name: _field_schema(field, outputs, reply=reply) for field in descriptor.fields
    }
    schema: Schema = {"type": "object", "properties": properties}
    if reply:
        schema["additionalProperties"] = False
    return schema


def _field_schema(field: FieldDescriptor, outputs: dict[str, Descriptor], *, reply: bool) -> Schema:
    schema = _value_schema(field, outputs, reply=reply)
    return {"type": "array", "items": schema} if field.is_repeated else schema


def _value_schema(field: FieldDescriptor, outputs: dict[str, Descriptor], *, reply: bool) -> Schema:
    kind = field.type
    if kind in _LONG:
        name, pattern = _LONG[kind]
        return {
            "type": "string" if reply else ["string", "integer"],
            "format": name,
            "pattern": pattern,
        }
    if kind in _SHORT:
        return {"type": "integer", "format": _SHORT[kind]}
    if kind == FieldDescriptor.TYPE_BOOL:
        return {"type": "boolean"}
    if kind == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    if field.enum_type is not None:
        names: list[str | int] = [value.name for value in field.enum_type.values]
        if not reply:
            names += [value.number for value in field.enum_type.values]
        return {"enum": names}
    if field.message_type is not None:
        name = field.message_type.full_name
        return _reference(name if reply else _input_name(name, outputs))
    return {"type": "string"}
