"""HPACK header decoding (RFC 7541): static and dynamic table, integers, strings.

A field is `(name, value, size)` with text decoded as latin-1 (one character an octet) and `size`
as RFC 7541 4.1 counts it, so that a table entry, a decoded field and its cost are one shared
object. An error ends the connection: after it the two tables no longer agree.
"""

from pykvd.transport import huffman

Field = tuple[str, str, int]

ENTRY_OVERHEAD = 32
DEFAULT_TABLE_BYTES = 4096
# Seven bits a step: five steps reach 2**35, more than any length or index that can be valid.
_MAX_INTEGER_STEPS = 5

_STATIC_NAMES_AND_VALUES = """
:authority|;:method|GET;:method|POST;:path|/;:path|/index.html;:scheme|http;:scheme|https;
:status|200;:status|204;:status|206;:status|304;:status|400;:status|404;:status|500;
accept-charset|;accept-encoding|gzip, deflate;accept-language|;accept-ranges|;accept|;
access-control-allow-origin|;age|;allow|;authorization|;cache-control|;content-disposition|;
content-encoding|;content-language|;content-length|;content-location|;content-range|;
content-type|;cookie|;date|;etag|;expect|;expires|;from|;host|;if-match|;if-modified-since|;
if-none-match|;if-range|;if-unmodified-since|;last-modified|;link|;location|;max-forwards|;
proxy-authenticate|;proxy-authorization|;range|;referer|;refresh|;retry-after|;server|;
set-cookie|;strict-transport-security|;transfer-encoding|;user-agent|;vary|;via|;
www-authenticate|
"""


def _make_field(name: str, value: str) -> Field:
    return name, value, len(name) + len(value) + ENTRY_OVERHEAD


STATIC_TABLE: tuple[Field, ...] = tuple(
    _make_field(*entry.strip().split("|")) for entry in _STATIC_NAMES_AND_VALUES.split(";")
)
"""RFC 7541 Appendix A; index 1 is element 0."""

_STATIC_COUNT = len(STATIC_TABLE)
STATIC_ENTRIES: tuple[Field | None, ...] = (None, *STATIC_TABLE)


class HpackError(ValueError):
    """The block cannot be decoded (COMPRESSION_ERROR)."""


class HeaderListTooLargeError(ValueError):
    """The decoded list is above the limit. The table is still in step: only the request is lost."""


class HpackDecoder:
    """The decoding side of one connection.

    Invariant: `_table_bytes` is the sum of the sizes in `_entries` and never above `_capacity`.
    """

    __slots__ = ("_capacity", "_entries", "_max_list_bytes", "_table_bytes", "changes")

    def __init__(self, max_list_bytes: int) -> None:
        self._entries: list[Field] = []  # oldest first, so that index 62 is the last element
        self._table_bytes = 0
        self._capacity = DEFAULT_TABLE_BYTES
        self._max_list_bytes = max_list_bytes
        self.changes = 0
        """Counts changes of the table.

        A block decoded without one means the same until the next one.
        """

    def decode(self, block: bytes) -> list[Field]:
        """The fields of one complete header block, in order.

        Raises:
            HpackError: the block is malformed.
            HeaderListTooLargeError: the list is above the limit; the block was still decoded to
            its end.

        """
        try:
            return self._decode(block)
        except IndexError:
            raise HpackError("truncated block or index outside the table") from None
        except huffman.HuffmanError as error:
            raise HpackError(str(error)) from None

    def _decode(self, block: bytes) -> list[Field]:
        fields: list[Field] = []
        entries = self._entries
        total = 0
        position = 0
        end = len(block)
        while position < end:
            byte = block[position]
            position += 1
            if byte >= 0x80:  # 6.1 indexed field
                index = byte & 0x7F
                if index == 0x7F:
                    index, position = _decode_integer(block, position, 0x7F)
                # Index 62 is the newest entry; past the oldest one this raises IndexError.
                field = STATIC_ENTRIES[index] if index < 62 else entries[61 - index]
                if field is None:
                    raise HpackError("index 0")
            elif byte >= 0x40:  # 6.2.1 literal with incremental indexing
                field, position = self._literal(block, position, byte & 0x3F, 0x3F)
                self._insert(field)
            elif byte < 0x20:  # 6.2.2 and 6.2.3 literal without indexing
                field, position = self._literal(block, position, byte & 0x0F, 0x0F)
            else:  # 6.3 table size update
                if total:
                    raise HpackError("table size update after a field")
                size = byte & 0x1F
                if size == 0x1F:
                    size, position = _decode_integer(block, position, 0x1F)
                self._resize(size)
                continue
            total += field[2]
            if total <= self._max_list_bytes:
                fields.append(field)
        if total > self._max_list_bytes:
            raise HeaderListTooLargeError(total)
        return fields

    def _literal(
        self, block: bytes, position: int, index: int, full_prefix: int
    ) -> tuple[Field, int]:
        """A literal field whose first byte is read.

        Its name by index or as a string, then its value.
        """
        if index == full_prefix:
            index, position = _decode_integer(block, position, full_prefix)
        if not index:
            name, position = _decode_string(block, position)
        else:
            entry = STATIC_ENTRIES[index] if index <= _STATIC_COUNT else self._entries[61 - index]
            assert entry is not None
            name = entry[0]
        first = block[position]
        length = first & 0x7F
        start = position + 1
        end = start + length
        if length == 0x7F or end > len(block):  # rare; the usual case is spelled out here for speed
            value, end = _decode_string(block, position)
        elif first & 0x80:
            value = huffman.decode(block[start:end])
        else:
            value = str(block[start:end], "latin-1")
        return (name, value, len(name) + len(value) + ENTRY_OVERHEAD), end

    def _insert(self, field: Field) -> None:
        """Add an entry and evict the oldest ones (RFC 7541 4.4).

        One that is too large empties the table.
        """
        self.changes += 1
        entries = self._entries
        entries.append(field)
        size = self._table_bytes + field[2]
        while size > self._capacity:
            size -= entries.pop(0)[2]
        self._table_bytes = size

    def _resize(self, capacity: int) -> None:
        if capacity > DEFAULT_TABLE_BYTES:
            raise HpackError("table size update above SETTINGS_HEADER_TABLE_SIZE")
        self.changes += 1
        self._capacity = capacity
        while self._table_bytes > capacity:
            self._table_bytes -= self._entries.pop(0)[2]


def _decode_integer(block: bytes, position: int, value: int) -> tuple[int, int]:
    """The rest of an integer whose prefix is full (RFC 7541 5.1): (value, position after it)."""
    for shift in range(0, 7 * _MAX_INTEGER_STEPS, 7):
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise HpackError("integer too long")


def _decode_string(block: bytes, position: int) -> tuple[str, int]:
    """A string literal (RFC 7541 5.2): (text, position after it)."""
    first = block[position]
    position += 1
    length = first & 0x7F
    if length == 0x7F:
        length, position = _decode_integer(block, position, 0x7F)
    end = position + length
    if end > len(block):
        raise HpackError("string reaches past the block")
    if first & 0x80:
        return huffman.decode(block[position:end]), end
    return str(block[position:end], "latin-1"), end
