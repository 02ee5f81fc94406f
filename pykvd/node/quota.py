"""The space quota: refuses what would grow the store beyond it and raises the NOSPACE alarm."""

from pykvd.errors import Failure
from pykvd.logs import get_logger
from pykvd.node.commands import Command
from pykvd.node.node import Node
from pykvd.node.responder import NOBODY
from pykvd.pb import rpc_pb2 as rpc

_log = get_logger("quota")


#: etcd's default, and the most that it recommends.
DEFAULT_BYTES = 2 << 30
RECOMMENDED_BYTES = 8 << 30


def _report(limit: int) -> None:
    """Say at the start how much the store may hold."""
    if limit <= 0:
        _log.info("disabled backend quota", quota_size_bytes=limit)
    elif limit > RECOMMENDED_BYTES:
        _log.warn(
            "quota exceeds the maximum value",
            quota_size_bytes=limit,
            quota_maximum_size_bytes=RECOMMENDED_BYTES,
        )
    else:
        usual = " with default value" if limit == DEFAULT_BYTES else ""
        _log.info(f"enabled backend quota{usual}", quota_size_bytes=limit)


class Quota:
    """`limit` bytes of the store's file; 0 or less means none."""

    def __init__(self, node: Node, limit: int) -> None:
        self._node = node
        self._backend = node.store.backend
        self.limit = limit
        _report(limit)

    def check(self, cost: int) -> None:
        """Raise NO_SPACE if a request of this cost does not fit; cost 0 always does."""
        if not cost or self.limit <= 0 or self._backend.size + cost < self.limit:
            return
        self._raise_alarm()
        raise Failure.NO_SPACE.error()

    def _raise_alarm(self) -> None:
        member = self._node.member_id
        if (member, rpc.NOSPACE) in self._node.applier.alarms:
            return
        request = rpc.AlarmRequest(
            memberID=member, action=rpc.AlarmRequest.ACTIVATE, alarm=rpc.NOSPACE
        )
        _log.warn(
            "database space exceeded: compact, defragment, then disarm the alarm",
            size=self._backend.size,
            quota=self.limit,
        )
        self._node.propose(Command.ALARM, request.SerializeToString(), request, NOBODY)
