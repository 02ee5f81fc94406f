from itertools import pairwise

from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.headers import DEFAULT_TABLE_SIZE, HeaderEncoder, Method, ResponseHeaders

AUTHORITY = "127.0.0.1:2379"


def decode(decoder: Decoder, block: bytes) -> list[tuple[bytes, bytes]]:
    return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]


def test_blocks_without_deadline_settle_on_indices() -> None:
    encoder, method = HeaderEncoder(), Method("/etcdserverpb.KV/Put", AUTHORITY)
    first, second, third = (encoder.encode(method) for _ in range(3))

    assert len(first) > len(second) == len(method.fields)
    assert second is third
    assert all(octet & 0x80 for octet in second)


def test_every_deadline_is_a_new_entry_that_shifts_the_indices() -> None:
    encoder, decoder = HeaderEncoder(), Decoder()
    method = Method("/etcdserverpb.KV/Put", AUTHORITY, deadline=True)
    blocks = [encoder.encode(method) for _ in range(3000)]
    timeouts = []
    for block in blocks:
        fields = decode(decoder, block)
        assert tuple(fields[:-1]) == method.fields
        name, value = fields[-1]
        assert name == b"grpc-timeout"
        assert decoder.header_table.dynamic_entries[0] == (name, value)
        timeouts.append(value)

    assert len(set(timeouts[:1000])) == 1000
    # The constant fields come and go as the table overflows, so no two neighbours are alike.
    assert all(one != other for one, other in pairwise(blocks))
    assert len({len(block) for block in blocks[100:]}) > 1


@given(
    st.lists(
        st.tuples(st.sampled_from(["/a", "/b", "/service/Method"]), st.booleans()),
        max_size=300,
    ),
    st.dictionaries(st.integers(0, 299), st.integers(0, 2 * DEFAULT_TABLE_SIZE), max_size=5),
)
def test_any_sequence_decodes_to_what_was_encoded(
    calls: list[tuple[str, bool]], resizes: dict[int, int]
) -> None:
    encoder, decoder = HeaderEncoder(), Decoder()
    methods = {call: Method(call[0], AUTHORITY, deadline=call[1]) for call in set(calls)}
    for number, call in enumerate(calls):
        if number in resizes:
            encoder.resize(resizes[number])
            decoder.max_allowed_table_size = resizes[number]
        fields = decode(decoder, encoder.encode(methods[call]))
        method = methods[call]
        assert tuple(fields[: len(method.fields)]) == method.fields
        assert len(fields) == len(method.fields) + call[1]


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from([":status", "content-type", "grpc-status", "x"]),
                st.sampled_from(["0", "5", "200", "application/grpc", "v" * 1500]),
            ),
            min_size=1,
            max_size=4,
        ),
        max_size=50,
    ),
    st.booleans(),
)
def test_cached_responses_mean_what_a_decoder_says(
    blocks: list[list[tuple[str, str]]], huffman: bool
) -> None:
    encoder, responses = Encoder(), ResponseHeaders()
    for fields in blocks:
        assert responses.decode(encoder.encode(fields, huffman=huffman)) == dict(fields)
