"""From header blocks to requests: the checks of RFC 9113 8.2 and 8.3, made cheap by two caches.

1. By block: the same bytes mean the same request while the HPACK table stays as it is. Clients
   that send no deadline repeat one block for ever.
2. By fields: clients that send a deadline insert a new `grpc-timeout` into the table with every
   call, which moves all indexes. The fields without it are still the same few lists, and each list
   is checked once.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pykvd.transport import grpc
from pykvd.transport.frames import ErrorCode, Http2ConnectionError
from pykvd.transport.hpack import Field, HpackDecoder, HpackError

if TYPE_CHECKING:
    from pykvd.transport.statistics import MethodCounters

MAX_CACHED_BLOCKS = 64
"""Per connection; a client uses one or two blocks a method."""
MAX_CACHED_LISTS = 64
MAX_CACHED_LIST_BYTES = 8192
"""Longer header lists are checked every time rather than kept."""

_TIMEOUT = "grpc-timeout"
_PSEUDO_HEADERS = frozenset({":method", ":scheme", ":path", ":authority"})
_CONNECTION_HEADERS = frozenset(
    {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"}
)
_NAME_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_FORBIDDEN_IN_VALUES = ("\x00", "\r", "\n")


class MalformedRequestError(Exception):
    """The request is malformed: its stream is reset with `code`, the connection goes on."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code


class RequestHead:
    """The checked headers of a request, shared by all requests that carry the same ones.

    `open` and `counts` are filled in by the dispatcher when the head is made: `open` starts a call
    of the right kind.
    """

    __slots__ = (
        "_metadata",
        "content_type",
        "counts",
        "encoding",
        "fields",
        "method",
        "open",
        "path",
        "target",
    )

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self.fields = fields
        self.method = self.path = self.content_type = ""
        self.encoding = "identity"
        self._metadata: Mapping[str, str | bytes] | None = None
        self.open: Callable[..., Any]
        self.target: Any = None
        self.counts: MethodCounters
        self._check()

    def _check(self) -> None:
        """Find what routing needs.

        Raises MalformedRequestError for a malformed list (RFC 9113 8.2, 8.3).
        """
        pseudo: dict[str, str] = {}
        regular = False
        for name, value, _ in self.fields:
            _check_value(name, value)
            if name[:1] == ":":
                if regular or name in pseudo or name not in _PSEUDO_HEADERS:
                    raise MalformedRequestError(ErrorCode.PROTOCOL_ERROR, f"pseudo-header {name!r}")
                pseudo[name] = value
            else:
                regular = True
                _check_name(name, value)
                if name == "content-type":
                    self.content_type = value
                elif name == "grpc-encoding":
                    self.encoding = value
        self.method = pseudo.get(":method", "")
        self.path = pseudo.get(":path", "")
        if not (self.method and self.path and pseudo.get(":scheme")):
            raise MalformedRequestError(ErrorCode.PROTOCOL_ERROR, "missing pseudo-header")

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """As `Call.metadata`; raises ValueError for a `-bin` value that is not base64."""
        if self._metadata is None:
            self._metadata = grpc.decode_metadata(self.fields)
        return self._metadata


def _check_name(name: str, value: str) -> None:
    if not name or not _NAME_CHARACTERS.issuperset(name) or name in _CONNECTION_HEADERS:
        raise MalformedRequestError(ErrorCode.PROTOCOL_ERROR, f"header {name!r}")
    if name == "te" and value != "trailers":
        raise MalformedRequestError(ErrorCode.PROTOCOL_ERROR, f"te: {value!r}")


def _check_value(name: str, value: str) -> None:
    if value and (value[0] in " \t" or value[-1] in " \t"):
        raise MalformedRequestError(
            ErrorCode.PROTOCOL_ERROR, f"white space around the value of {name!r}"
        )
    for character in _FORBIDDEN_IN_VALUES:
        if character in value:
            raise MalformedRequestError(ErrorCode.PROTOCOL_ERROR, f"control character in {name!r}")


Request = tuple[RequestHead, str | None]
"""A head and the text of its `grpc-timeout`."""


class RequestDecoder:
    """Header blocks of one connection, in; requests, out. Must see every block, in order."""

    __slots__ = ("_blocks", "_hpack", "_lists", "_route")

    def __init__(self, route: Callable[[RequestHead], None], max_list_bytes: int) -> None:
        self._hpack = HpackDecoder(max_list_bytes)
        self._blocks: dict[bytes, Request] = {}
        self._lists: dict[tuple[Field, ...], RequestHead] = {}
        self._route = route

    def decode(self, block: bytes) -> Request:
        """The request of one header block.

        Raises:
            Http2ConnectionError: the block cannot be decoded.
            MalformedRequestError: the request is malformed.
            HeaderListTooLargeError: the list is above the limit.

        """
        request = self._blocks.get(block)
        if request is not None:
            return request
        changes = self._hpack.changes
        fields = self.decode_fields(block)
        timeout = None
        # From the end: that is where clients put it.
        for position in range(len(fields) - 1, -1, -1):
            if fields[position][0] == _TIMEOUT:
                timeout = fields.pop(position)[1]
                break
        key = tuple(fields)
        head = self._lists.get(key)
        if head is None:
            head = self._new_head(key)
        request = (head, timeout)
        if changes == self._hpack.changes and len(self._blocks) < MAX_CACHED_BLOCKS:
            self._blocks[block] = request
        return request

    def decode_fields(self, block: bytes) -> list[Field]:
        """The fields of one block (also trailers, whose meaning nobody needs)."""
        changes = self._hpack.changes
        try:
            return self._hpack.decode(block)
        except HpackError as error:
            raise Http2ConnectionError(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        finally:
            if changes != self._hpack.changes and self._blocks:
                self._blocks.clear()

    def _new_head(self, fields: tuple[Field, ...]) -> RequestHead:
        head = RequestHead(fields)
        self._route(head)
        if sum(size for _, _, size in fields) <= MAX_CACHED_LIST_BYTES:
            if len(self._lists) >= MAX_CACHED_LISTS:
                self._lists.clear()
            self._lists[fields] = head
        return head
