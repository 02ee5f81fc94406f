"""alarm: list and disarm alarms."""

import click

from pykvctl.errors import BadArgumentsError
from pykvctl.options.command import Group
from pykvctl.session import Session
from pykvd.methods import ALARM
from pykvd.pb import rpc_pb2 as rpc

alarm = Group("alarm", short_help="Alarm related commands")


@alarm.subcommand("list", usage="list", short_help="Lists all alarms")
@click.pass_obj
def list_alarms(session: Session, args: list[str]) -> None:
    """Print the active alarms."""
    if args:
        raise BadArgumentsError("alarm list command accepts no arguments")
    client = session.client

    session.printer.alarm(client.unary(ALARM, rpc.AlarmRequest(), session.timeout_s))


@alarm.subcommand("disarm", usage="disarm", short_help="Disarms all alarms")
@click.pass_obj
def disarm(session: Session, args: list[str]) -> None:
    """Disarm the active alarms one by one and print them together."""
    if args:
        raise BadArgumentsError("alarm disarm command accepts no arguments")
    client = session.client

    active = client.unary(ALARM, rpc.AlarmRequest(), session.timeout_s)
    disarmed = rpc.AlarmResponse()
    for member in active.alarms:
        request = rpc.AlarmRequest(
            action=rpc.AlarmRequest.DEACTIVATE, memberID=member.memberID, alarm=member.alarm
        )
        answer = client.unary(ALARM, request, session.timeout_s)
        disarmed.header.CopyFrom(answer.header)
        disarmed.alarms.extend(answer.alarms)
    session.printer.alarm(disarmed)
