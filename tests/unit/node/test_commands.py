"""How commands stand in a log entry."""

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from pykvd.node.commands import (
    REQUEST_TYPES,
    BatchId,
    Command,
    decode_batch_head,
    decode_commands,
    encode_batch,
)
from pykvd.pb import rpc_pb2 as rpc

u64 = st.integers(0, (1 << 64) - 1)
COMMANDS: list[tuple[Command, Message]] = [
    (Command.PUT, rpc.PutRequest(key=b"k", value=bytes(1000))),
    (Command.PUT, rpc.PutRequest()),
    (Command.TXN, rpc.TxnRequest(success=[rpc.RequestOp()])),
    (Command.LEASE_REVOKE, rpc.LeaseRevokeRequest(ID=-1)),
    (Command.PUBLISH, rpc.Member(ID=1, name="n")),
]


@given(origin=u64, sequence=u64, time_ns=u64, commands=st.lists(st.sampled_from(COMMANDS)))
def test_a_batch_comes_back(
    origin: int, sequence: int, time_ns: int, commands: list[tuple[Command, Message]]
) -> None:
    payloads = [(command, request.SerializeToString()) for command, request in commands]
    data = encode_batch(BatchId(origin, sequence), time_ns, payloads)
    assert decode_batch_head(data) == ((origin, sequence), time_ns)
    assert list(decode_commands(data)) == commands


def test_every_command_has_a_request() -> None:
    assert set(REQUEST_TYPES) == set(Command)


def test_the_numbers_are_the_logs_format() -> None:
    """A renumbered command would read old logs as something else."""
    assert {command.name: command.value for command in Command} == {
        "PUT": 1,
        "DELETE_RANGE": 2,
        "TXN": 3,
        "COMPACT": 4,
        "LEASE_GRANT": 5,
        "LEASE_REVOKE": 6,
        "LEASE_CHECKPOINT": 7,
        "ALARM": 8,
        "PUBLISH": 9,
    }
    data = encode_batch(BatchId(1, 2), 3, [(Command.PUT, b"\n\x01k")])
    assert data.hex() == "01" + "00" * 7 + "02" + "00" * 7 + "03" + "00" * 7 + "01030000000a016b"


def test_an_unknown_command_is_no_command() -> None:
    data = encode_batch(BatchId(1, 2), 3, [(250, b"")])
    with pytest.raises(ValueError, match="250"):
        list(decode_commands(data))
