"""Alarms and rights: which is told first."""

from collections.abc import Iterator

import pytest
from google.protobuf.message import Message

from pykvd.auth.identity import Identity
from pykvd.errors import Failure
from pykvd.node.commands import Command
from pykvd.pb import rpc_pb2 as rpc
from tests.unit.node.machine import Machine

ROOT, STRANGER = Identity("root", 1 << 40), Identity("stranger", 1 << 40)
PUT = rpc.PutRequest(key=b"k")
TXN = rpc.TxnRequest(success=[rpc.RequestOp(request_put=PUT)])
DELETE = rpc.DeleteRangeRequest(key=b"k")


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A state machine with auth on."""
    machine = Machine()
    machine.apply(Command.USER_ADD, rpc.AuthUserAddRequest(name="root"))
    grant = rpc.AuthUserGrantRoleRequest(user="root", role="root")
    machine.apply(Command.USER_GRANT_ROLE, grant)
    machine.apply(Command.AUTH_ENABLE, rpc.AuthEnableRequest())
    yield machine
    machine.close()


def raise_alarm(machine: Machine, kind: rpc.AlarmType) -> None:
    action = rpc.AlarmRequest.ACTIVATE
    machine.apply(Command.ALARM, rpc.AlarmRequest(action=action, alarm=kind), ROOT)


def told(machine: Machine, command: Command, request: Message, caller: Identity | None) -> bytes:
    return machine.apply(command, request, caller).partition(b": ")[2]


def test_without_an_alarm(machine: Machine) -> None:
    for command, request in (
        (Command.PUT, PUT),
        (Command.TXN, TXN),
        (Command.DELETE_RANGE, DELETE),
    ):
        assert told(machine, command, request, None) == Failure.USER_EMPTY.text.encode()
        denied = Failure.PERMISSION_DENIED.text.encode()
        assert told(machine, command, request, STRANGER) == denied


@pytest.mark.parametrize(
    ("kind", "failure"),
    [(rpc.NOSPACE, Failure.NO_SPACE), (rpc.CORRUPT, Failure.CORRUPT)],
)
def test_an_alarm_comes_before_rights(
    machine: Machine, kind: rpc.AlarmType, failure: Failure
) -> None:
    raise_alarm(machine, kind)
    for caller in (None, STRANGER, ROOT):
        assert told(machine, Command.PUT, PUT, caller) == failure.text.encode()
        assert told(machine, Command.TXN, TXN, caller) == failure.text.encode()


def test_users_are_managed_under_any_alarm(machine: Machine) -> None:
    for kind in (rpc.NOSPACE, rpc.CORRUPT):
        raise_alarm(machine, kind)
    add = rpc.AuthRoleAddRequest(name="r")
    assert told(machine, Command.ROLE_ADD, add, None) == Failure.USER_EMPTY.text.encode()
    assert told(machine, Command.ROLE_ADD, add, ROOT) == b""
    assert "r" in machine.applier.auth.roles
