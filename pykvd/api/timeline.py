"""The Timeline service: when revisions were written, which the etcd API cannot tell."""

from pykvd.api.access import Access
from pykvd.api.decode import decode
from pykvd.errors import Failure
from pykvd.node.node import Node
from pykvd.pb import pykvd_pb2 as pb
from pykvd.transport import Call, UnaryHandler


class TimelineService:
    """RevisionAt, Times."""

    def __init__(self, node: Node, access: Access) -> None:
        self._node = node
        self._access = access
        self._store = node.store
        self._timeline = node.applier.timeline

    def unary(self) -> dict[str, UnaryHandler]:
        """The service's methods by path."""
        return {
            "/pykvdpb.Timeline/RevisionAt": self.revision_at,
            "/pykvdpb.Timeline/Times": self.times,
        }

    def revision_at(self, call: Call, payload: bytes) -> bytes | None:
        """Tell which revision was the newest at a time."""
        request = decode(pb.RevisionAtRequest, payload)
        self._access.require_user(call, "revision_at")
        if self._node.can_read:
            return self._revision_at(request)
        self._node.read_later(call, lambda: self._revision_at(request))
        return None

    def _revision_at(self, request: pb.RevisionAtRequest) -> bytes:
        revision = self._timeline.revision_at(max(0, request.time_ns), self._store.revision)
        if revision is None:
            raise Failure.COMPACTED.error()
        response = pb.RevisionAtResponse(
            revision=revision,
            time_ns=self._timeline.time_of(revision) or 0,
            compact_revision=self._store.compact_revision,
        )
        return self._node.header(self._store.revision) + response.SerializeToString()

    def times(self, call: Call, payload: bytes) -> bytes | None:
        """Tell when revisions were written."""
        request = decode(pb.TimesRequest, payload)
        self._access.require_user(call, "times")
        if self._node.can_read:
            return self._times(request)
        self._node.read_later(call, lambda: self._times(request))
        return None

    def _times(self, request: pb.TimesRequest) -> bytes:
        newest, time_of = self._store.revision, self._timeline.time_of
        times = [(time_of(each) or 0) if each <= newest else 0 for each in request.revisions]
        response = pb.TimesResponse(times_ns=times).SerializeToString()
        return self._node.header(newest) + response
