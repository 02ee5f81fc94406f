"""The Cluster service."""

import asyncio
import time
from collections.abc import Iterable

from pykvd.api.access import Access
from pykvd.api.decode import decode
from pykvd.api.tasks import CallTasks
from pykvd.cluster.membership import Action, Member, member_id
from pykvd.config.urls import parse_urls
from pykvd.errors import Failure
from pykvd.node.node import Node
from pykvd.pb import rpc_pb2 as rpc
from pykvd.transport import Call, UnaryHandler

#: A member counts as connected when it has been so for this long (etcd's figure, seconds).
CONNECTED_FOR = 5.0
#: A learner may vote when it has this share of the leader's log (etcd's figure).
READY_SHARE = 0.9
#: The question that a member asks the leader: may this learner be promoted?
PROMOTE = "promote"


class ClusterService:
    """MemberAdd, MemberRemove, MemberUpdate, MemberPromote, MemberList."""

    def __init__(self, node: Node, access: Access) -> None:
        self._node = node
        self._access = access
        self._membership = node.membership
        self._strict = node.config.strict_reconfig
        self._tasks = CallTasks()
        node.answers[PROMOTE] = self._answer_promote

    def unary(self) -> dict[str, UnaryHandler]:
        """The service's unary methods by path."""
        return {
            "/etcdserverpb.Cluster/MemberAdd": self.member_add,
            "/etcdserverpb.Cluster/MemberRemove": self.member_remove,
            "/etcdserverpb.Cluster/MemberUpdate": self.member_update,
            "/etcdserverpb.Cluster/MemberPromote": self.member_promote,
            "/etcdserverpb.Cluster/MemberList": self.member_list,
        }

    def member_add(self, call: Call, payload: bytes) -> None:
        """Add a voter or a learner; a new voter must not endanger the majority."""
        request = decode(rpc.MemberAddRequest, payload)
        urls = _checked_urls(request.peerURLs)
        self._access.require_admin(call, "member_add")
        identity = member_id(urls, str(int(time.time())))
        member = Member(identity, "", urls, is_learner=request.isLearner)
        if self._strict and not request.isLearner:
            if not self._membership.can_add_voter():
                raise Failure.NOT_ENOUGH_STARTED.error()
            if not self._enough_connected():
                raise Failure.UNHEALTHY.error()

        async def add() -> None:
            await self._node.change_member(Action.ADD, member)
            response = rpc.MemberAddResponse(member=_message(member), members=self._messages())
            call.reply(self._node.header(0) + response.SerializeToString())

        self._tasks.run(call, add())

    def _enough_connected(self) -> bool:
        voters = self._membership.voters
        if len(voters) == 1:
            return True
        return self._connected(voters) >= (len(voters) + 1) // 2 + 1

    def _connected(self, members: Iterable[Member]) -> int:
        return sum(self._is_connected(member.id, CONNECTED_FOR) for member in members)

    def _is_connected(self, identity: int, seconds: float) -> bool:
        if identity == self._node.member_id:
            return True
        network = self._node.network
        since = network.connected_since(identity) if network else None
        return since is not None and asyncio.get_running_loop().time() - since >= seconds

    def member_remove(self, call: Call, payload: bytes) -> None:
        """Remove a member; those left must be able to go on."""
        identity = decode(rpc.MemberRemoveRequest, payload).ID
        self._access.require_admin(call, "member_remove")
        if self._strict:
            self._check_removal(identity)
        member = Member(identity, "", ())

        async def remove() -> None:
            await self._node.change_member(Action.REMOVE, member)
            response = rpc.MemberRemoveResponse(members=self._messages())
            call.reply(self._node.header(0) + response.SerializeToString())

        self._tasks.run(call, remove())

    def _check_removal(self, identity: int) -> None:
        member = self._membership.members.get(identity)
        if member is None or member.is_learner:
            return
        if not self._membership.can_remove(identity):
            raise Failure.NOT_ENOUGH_STARTED.error()
        if not self._is_connected(identity, 0.0):
            return
        voters = self._membership.voters
        if self._connected(voters) - 1 < 1 + (len(voters) - 1) // 2:
            raise Failure.UNHEALTHY.error()

    def member_update(self, call: Call, payload: bytes) -> None:
        """Give a member new peer URLs."""
        request = decode(rpc.MemberUpdateRequest, payload)
        self._access.require_admin(call, "member_update")
        member = Member(request.ID, "", tuple(sorted(request.peerURLs)))

        async def update() -> None:
            await self._node.change_member(Action.UPDATE, member)
            response = rpc.MemberUpdateResponse(members=self._messages())
            call.reply(self._node.header(0) + response.SerializeToString())

        self._tasks.run(call, update())

    def member_promote(self, call: Call, payload: bytes) -> None:
        """Make a learner a voter once it has caught up; the leader knows whether it has."""
        self._access.require_admin(call, "member_promote")

        async def promote() -> None:
            if self._node.is_leader:
                await self._answer_promote(payload)
            else:
                await self._node.ask_leader(PROMOTE, payload)
                # Answered by the leader; this member has to have applied it too.
                await self._node.read_barrier()
            response = rpc.MemberPromoteResponse(members=self._messages())
            call.reply(self._node.header(0) + response.SerializeToString())

        self._tasks.run(call, promote())

    async def _answer_promote(self, payload: bytes) -> bytes:
        identity = decode(rpc.MemberPromoteRequest, payload).ID
        status = self._node.raft.status()
        member = self._membership.members.get(identity)
        if member is not None and member.is_learner:
            progress = status.progress.get(identity)
            if progress is None or progress.match < READY_SHARE * status.last_index:
                raise Failure.LEARNER_NOT_READY.error()
            if self._strict and not self._membership.can_promote():
                raise Failure.NOT_ENOUGH_STARTED.error()
        await self._node.change_member(Action.PROMOTE, Member(identity, "", ()))
        return b""

    def member_list(self, call: Call, payload: bytes) -> bytes | None:
        """List the members by id; the header carries no revision, as etcd's."""
        request = decode(rpc.MemberListRequest, payload)
        self._access.require_user(call, "member_list")
        if request.linearizable and not self._node.can_read:
            self._node.read_later(call, self._list)
            return None
        return self._list()

    def _list(self) -> bytes:
        response = rpc.MemberListResponse(members=self._messages())
        return self._node.header(0) + response.SerializeToString()

    def _messages(self) -> list[rpc.Member]:
        return [_message(member) for member in self._membership.in_order()]


def _checked_urls(urls: Iterable[str]) -> tuple[str, ...]:
    """Peer URLs in order; raises when there is none, or one that is not an address."""
    try:
        parsed = parse_urls(",".join(urls))
    except ValueError:
        raise Failure.BAD_MEMBER_URLS.error() from None
    if not parsed:
        raise Failure.BAD_MEMBER_URLS.error()
    return tuple(sorted(str(url) for url in parsed))


def _message(member: Member) -> rpc.Member:
    return rpc.Member(
        ID=member.id,
        name=member.name,
        peerURLs=member.peer_urls,
        clientURLs=member.client_urls,
        isLearner=member.is_learner,
    )
