"""The Election service (v3electionpb): the leader is the candidate whose key is the oldest."""

from collections.abc import Mapping
from contextlib import aclosing

from pykvd.api.calls import Caller
from pykvd.api.contest import Contest
from pykvd.api.decode import decode
from pykvd.api.local import LocalClient
from pykvd.api.tasks import CallTasks
from pykvd.errors import Code, RpcError
from pykvd.pb import rpc_pb2 as rpc
from pykvd.pb import v3election_pb2 as electionpb
from pykvd.transport import (
    AsyncStream,
    Call,
    StreamHandler,
    UnaryHandler,
    async_stream,
)

NO_LEADER = "election: no leader"
NOT_LEADER = "election: not leader"
LEADER_MISSING = '"leader" field must be provided'


class ElectionService:
    """Campaign, Proclaim, Leader, Observe, Resign.

    The tables hold the services that it is a layer over.
    """

    def __init__(
        self, calls: Mapping[str, UnaryHandler], streams: Mapping[str, StreamHandler]
    ) -> None:
        self._calls = calls
        self._streams = streams
        self._tasks = CallTasks()

    def unary(self) -> dict[str, UnaryHandler]:
        """The service's unary methods by path."""
        return {
            "/v3electionpb.Election/Campaign": self.campaign,
            "/v3electionpb.Election/Proclaim": self.proclaim,
            "/v3electionpb.Election/Leader": self.leader,
            "/v3electionpb.Election/Resign": self.resign,
        }

    def streams(self) -> dict[str, StreamHandler]:
        """The service's streaming methods by path."""
        return {"/v3electionpb.Election/Observe": async_stream(self.observe)}

    def campaign(self, call: Call, payload: bytes) -> None:
        """Answer once elected; a call that is given up leaves no candidate behind."""
        request = decode(electionpb.CampaignRequest, payload)
        self._tasks.run_while_wanted(call, self._campaign(call, request))

    async def _campaign(self, call: Call, request: electionpb.CampaignRequest) -> None:
        contest = self._contest(call, request.name)
        lease = await contest.own_lease(request.lease)
        candidate = await contest.enter(lease, request.value)
        if candidate.value != request.value:
            await _proclaim(contest, candidate.key, candidate.revision, lease, request.value)
        if await contest.win(candidate) is None:
            raise RpcError(Code.UNKNOWN, NOT_LEADER)
        leader = electionpb.LeaderKey(
            name=request.name, key=candidate.key, rev=candidate.revision, lease=lease
        )
        answer = electionpb.CampaignResponse(header=candidate.header, leader=leader)
        call.reply(answer.SerializeToString())

    def proclaim(self, call: Call, payload: bytes) -> None:
        """Change the value of a leader."""
        request = decode(electionpb.ProclaimRequest, payload)
        leader = _leader_of(request)

        async def proclaim() -> None:
            contest = self._contest(call, leader.name)
            lease = await contest.own_lease(leader.lease)
            header = await _proclaim(contest, leader.key, leader.rev, lease, request.value)
            call.reply(electionpb.ProclaimResponse(header=header).SerializeToString())

        self._tasks.run(call, proclaim())

    def resign(self, call: Call, payload: bytes) -> None:
        """Delete a leader's key; it is no error if somebody else leads by now."""
        leader = _leader_of(decode(electionpb.ResignRequest, payload))

        async def resign() -> None:
            header = await self._contest(call, leader.name).leave(leader.key, leader.rev)
            call.reply(electionpb.ResignResponse(header=header).SerializeToString())

        self._tasks.run(call, resign())

    def leader(self, call: Call, payload: bytes) -> None:
        """Tell the leader."""
        request = decode(electionpb.LeaderRequest, payload)

        async def tell() -> None:
            found = await self._contest(call, request.name).holder()
            if not found.kvs:
                raise RpcError(Code.UNKNOWN, NO_LEADER)
            answer = electionpb.LeaderResponse(header=found.header, kv=found.kvs[0])
            call.reply(answer.SerializeToString())

        self._tasks.run(call, tell())

    async def observe(self, stream: AsyncStream) -> None:
        """Send the leader, each of its proclamations, and whoever follows it."""
        request = decode(electionpb.LeaderRequest, await stream.recv() or b"")
        stream.send_headers()
        async with aclosing(self._contest(stream, request.name).holders()) as holders:
            async for header, leader in holders:
                answer = electionpb.LeaderResponse(header=header, kv=leader)
                await stream.send(answer.SerializeToString())

    def _contest(self, caller: Caller, name: bytes) -> Contest:
        return Contest(LocalClient(self._calls, self._streams, caller), name)


def _leader_of(
    request: electionpb.ProclaimRequest | electionpb.ResignRequest,
) -> electionpb.LeaderKey:
    if not request.HasField("leader"):
        raise RpcError(Code.UNKNOWN, LEADER_MISSING)
    return request.leader


async def _proclaim(
    contest: Contest, key: bytes, revision: int, lease: int, value: bytes
) -> rpc.ResponseHeader:
    header = await contest.write(key, revision, lease, value)
    if header is None:
        raise RpcError(Code.UNKNOWN, NOT_LEADER)
    return header
