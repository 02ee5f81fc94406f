"""Errors as grpc-gateway words them: gRPC status to HTTP status and JSON body."""

import json
from typing import Final

from pykvd.http.message import JSON, Headers, Response, reason
from pykvd.status import Code

_HTTP_STATUS: Final = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}


def http_status(code: int) -> int:
    """The HTTP status for a gRPC code."""
    return _HTTP_STATUS.get(Code(code), 500) if code in set(Code) else 500


def error_response(code: int, message: str, *, status: int = 0, extra: Headers = ()) -> Response:
    """A failed unary call. `status` overrides the HTTP status that belongs to the code.

    The text stands under both names that etcd's releases have used, so that clients of each find
    it where they look.
    """
    body = _dump({"error": message, "code": code, "message": message})
    headers: Headers = (("Content-Type", JSON), *extra)
    if code == Code.UNAUTHENTICATED:
        # Line breaks would end the header; the body has the text as it is.
        headers += (("WWW-Authenticate", " ".join(message.split())),)
    return Response(status or http_status(code), headers, body)


def stream_error(code: int, message: str) -> bytes:
    """The last line of a stream that failed, with the names of all releases as above."""
    status = http_status(code)
    error = {
        "code": code,
        "grpc_code": code,
        "http_code": status,
        "message": message,
        "http_status": reason(status),
    }
    return _dump({"error": error}) + b"\n"


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
