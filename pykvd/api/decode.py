"""Parsing of request messages."""

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from pykvd.errors import Code, RpcError

M = TypeVar("M", bound=Message)


def decode(kind: type[M], payload: bytes) -> M:
    """Parse a request; what is no message of that kind is answered as grpc-go answers it."""
    try:
        return kind.FromString(payload)
    except DecodeError as error:
        raise RpcError(Code.INTERNAL, f"grpc: error unmarshalling request: {error}") from None
