"""How commands stand in a log entry."""

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from pykvd.auth.identity import Identity
from pykvd.node.commands import (
    REQUEST_TYPES,
    BatchId,
    Command,
    decode_batch_head,
    decode_commands,
    encode_batch,
    sign,
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
    assert list(decode_commands(data)) == [(*command, None) for command in commands]


@given(
    user=st.text(max_size=30),
    revision=u64,
    signed=st.lists(st.booleans(), min_size=len(COMMANDS), max_size=len(COMMANDS)),
)
def test_who_asks_comes_back(user: str, revision: int, signed: list[bool]) -> None:
    callers = [Identity(user, revision) if each else None for each in signed]
    commands = list(zip(COMMANDS, callers, strict=True))
    content = [sign(kind, request.SerializeToString(), who) for (kind, request), who in commands]
    data = encode_batch(BatchId(1, 2), 3, content)
    assert list(decode_commands(data)) == [(*command, caller) for command, caller in commands]


def test_a_command_of_nobody_is_not_longer() -> None:
    """Auth costs nothing in the log while it is off."""
    assert sign(Command.PUT, b"request", None) == (Command.PUT, b"request")


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
        "AUTHENTICATE": 10,
        "AUTH_ENABLE": 11,
        "AUTH_DISABLE": 12,
        "USER_ADD": 13,
        "USER_DELETE": 14,
        "USER_CHANGE_PASSWORD": 15,
        "USER_GRANT_ROLE": 16,
        "USER_REVOKE_ROLE": 17,
        "ROLE_ADD": 18,
        "ROLE_DELETE": 19,
        "ROLE_GRANT_PERMISSION": 20,
        "ROLE_REVOKE_PERMISSION": 21,
        "DOWNGRADE": 22,
    }
    data = encode_batch(BatchId(1, 2), 3, [(Command.PUT, b"\n\x01k")])
    assert data.hex() == "01" + "00" * 7 + "02" + "00" * 7 + "03" + "00" * 7 + "01030000000a016b"


def test_an_unknown_command_is_no_command() -> None:
    data = encode_batch(BatchId(1, 2), 3, [(120, b"")])
    with pytest.raises(ValueError, match="120"):
        list(decode_commands(data))
