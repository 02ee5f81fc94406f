"""Records of the store: their ids and their encoding.

Every change of a key is one record. Its id is an int that sorts by revision and carries flags, so
that loading a store and walking it rarely needs to parse a value:

    main revision << 32 | sub << 3 | FRESH << 2 | LEASED << 1 | TOMBSTONE

A record's value is a serialized `mvccpb.KeyValue` already framed as field 2 of its parent: that
is `RangeResponse.kvs`, `PutResponse.prev_kv` and `Event.kv` alike, so most replies are a join of
stored bytes. A tombstone holds a KeyValue with the key alone, as etcd stores it.
"""

from collections.abc import Sequence

from pykvd.pb.kv_pb2 import KeyValue

TOMBSTONE = 1
LEASED = 2
#: The record created its key: version 1 and create_revision == mod_revision.
FRESH = 4
FLAGS = TOMBSTONE | LEASED | FRESH

MAIN_SHIFT = 32
SUB_SHIFT = 3
#: Bytes of an id as an LMDB key; big endian, so that byte order is revision order.
ID_BYTES = 12

_KV_FIELD = b"\x12"
_BYTES = tuple(bytes((n,)) for n in range(256))
#: The varints of one byte and of two.
_SMALL = _BYTES[:128] + tuple(low + high for high in _BYTES[1:128] for low in _BYTES[128:])


def varint(number: int) -> bytes:
    """Encode a protobuf varint; a negative int64 takes ten bytes as protobuf has it."""
    if 0 <= number < 1 << 14:
        return _SMALL[number]
    if 0 <= number < 1 << 21:
        return bytes((number & 127 | 128, number >> 7 & 127 | 128, number >> 14))
    if 0 <= number < 1 << 28:
        return bytes(
            (number & 127 | 128, number >> 7 & 127 | 128, number >> 14 & 127 | 128, number >> 21)
        )
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """Decode the varint at `offset`; returns it and the offset behind it."""
    byte = data[offset]
    if byte < 128:
        return byte, offset + 1
    value, shift = byte & 127, 7
    while True:
        offset += 1
        byte = data[offset]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, offset + 1
        shift += 7


def encode_key_value(
    key: bytes, create: int, mod: int, version: int, value: bytes, lease: int
) -> bytes:
    """Serialize a KeyValue with fields in number order, framed as field 2."""
    # In one go: this runs for every put.
    key_size, mod_text, version_text = varint(len(key)), varint(mod), varint(version)
    create_text = mod_text if create == mod else varint(create)
    tail = b"*%b%b" % (varint(len(value)), value) if value else b""
    if lease:
        tail = b"%b0%b" % (tail, varint(lease))
    size = 4 + len(key_size) + len(key) + len(create_text) + len(mod_text) + len(version_text)
    return b"\x12%b\n%b%b\x10%b\x18%b %b%b" % (
        varint(size + len(tail)),
        key_size,
        key,
        create_text,
        mod_text,
        version_text,
        tail,
    )


def encode_tombstones(keys: Sequence[bytes]) -> list[bytes]:
    """The records of deletions: framed KeyValues with the keys alone."""
    heads = {size: _tombstone_head(size) for size in set(map(len, keys))}
    return [heads[len(key)] + key for key in keys]


def _tombstone_head(size: int) -> bytes:
    head = b"\n" + varint(size)
    return _KV_FIELD + varint(len(head) + size) + head


def encode_delete_event(key: bytes, mod: int) -> bytes:
    """The body of a DELETE event: type 1 and a KeyValue of key and mod_revision."""
    body = b"\n%b%b\x18%b" % (varint(len(key)), key, varint(mod))
    return b"\x08\x01\x12%b%b" % (varint(len(body)), body)


def body_of(framed: bytes) -> bytes:
    """The serialized KeyValue inside a framed record."""
    return framed[read_varint(framed, 1)[1] :]


def key_of(framed: bytes) -> bytes:
    """The key of a framed record, without parsing the rest."""
    _, offset = read_varint(framed, 1)
    length, offset = read_varint(framed, offset + 1)
    return bytes(framed[offset : offset + length])


def parse(framed: bytes) -> KeyValue:
    """The whole record as a message."""
    return KeyValue.FromString(body_of(framed))


def without_value(framed: bytes) -> bytes:
    """The same record with an empty value, as keys_only reads want it."""
    kv = parse(framed)
    kv.ClearField("value")
    body = kv.SerializeToString()
    return _KV_FIELD + varint(len(body)) + body
