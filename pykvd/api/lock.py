"""The Lock service (v3lockpb): a lock is held by the oldest key below its name."""

from collections.abc import Mapping

from pykvd.api.contest import Contest
from pykvd.api.decode import decode
from pykvd.api.local import DELETE_RANGE, LocalClient
from pykvd.api.tasks import CallTasks
from pykvd.errors import Code, RpcError
from pykvd.pb import rpc_pb2 as rpc
from pykvd.pb import v3lock_pb2 as lockpb
from pykvd.transport import Call, StreamHandler, UnaryHandler

SESSION_EXPIRED = "mutex: session is expired"


class LockService:
    """Lock, Unlock. The tables hold the services that it is a layer over."""

    def __init__(
        self, calls: Mapping[str, UnaryHandler], streams: Mapping[str, StreamHandler]
    ) -> None:
        self._calls = calls
        self._streams = streams
        self._tasks = CallTasks()

    def unary(self) -> dict[str, UnaryHandler]:
        """The service's unary methods by path."""
        return {"/v3lockpb.Lock/Lock": self.lock, "/v3lockpb.Lock/Unlock": self.unlock}

    def lock(self, call: Call, payload: bytes) -> None:
        """Answer once the lock is held; a call that is given up leaves no key behind."""
        request = decode(lockpb.LockRequest, payload)
        self._tasks.run_while_wanted(call, self._lock(call, request))

    async def _lock(self, call: Call, request: lockpb.LockRequest) -> None:
        contest = Contest(self._client(call), request.name)
        lease = await contest.own_lease(request.lease)
        contender = await contest.enter(lease)
        header = await contest.win(contender)
        if header is None:
            raise RpcError(Code.UNKNOWN, SESSION_EXPIRED)
        answer = lockpb.LockResponse(header=header, key=contender.key)
        call.reply(answer.SerializeToString())

    def unlock(self, call: Call, payload: bytes) -> None:
        """Delete the key, whoever made it."""
        request = decode(lockpb.UnlockRequest, payload)

        async def unlock() -> None:
            delete = rpc.DeleteRangeRequest(key=request.key)
            deleted = await self._client(call).call(DELETE_RANGE, delete, rpc.DeleteRangeResponse)
            call.reply(lockpb.UnlockResponse(header=deleted.header).SerializeToString())

        self._tasks.run(call, unlock())

    def _client(self, call: Call) -> LocalClient:
        return LocalClient(self._calls, self._streams, call)
