"""The Cluster service."""

from pykvd.api.decode import decode
from pykvd.cluster.membership import Member
from pykvd.node.node import Node
from pykvd.pb import rpc_pb2 as rpc
from pykvd.transport import Call, UnaryHandler


class ClusterService:
    """MemberList."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def unary(self) -> dict[str, UnaryHandler]:
        """The service's unary methods by path."""
        return {"/etcdserverpb.Cluster/MemberList": self.member_list}

    def member_list(self, call: Call, payload: bytes) -> bytes | None:
        """List the members by id; the header carries no revision, as etcd's."""
        request = decode(rpc.MemberListRequest, payload)
        if request.linearizable and not self._node.can_read:
            self._node.read_later(call, self._list)
            return None
        return self._list()

    def _list(self) -> bytes:
        members = self._node.applier.membership.in_order()
        response = rpc.MemberListResponse(members=[_message(member) for member in members])
        return self._node.header(0) + response.SerializeToString()


def _message(member: Member) -> rpc.Member:
    return rpc.Member(
        ID=member.id,
        name=member.name,
        peerURLs=member.peer_urls,
        clientURLs=member.client_urls,
        isLearner=member.is_learner,
    )
