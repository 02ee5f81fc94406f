"""A watch stream that keeps what it is sent."""

from pykvd.pb.rpc_pb2 import WatchResponse
from pykvd.watch.watcher import Watcher


class RecordingSession:
    """Implements `watcher.Session`; `congested` is the test's to set."""

    def __init__(self) -> None:
        self.congested = False
        self.responses: list[WatchResponse] = []
        self.sizes: list[int] = []
        self.ended: dict[int, int] = {}

    def send_shared(self, framed: bytes) -> None:
        """Parse one response behind its gRPC prefix."""
        assert not self.congested, "sent to a session that asked to wait"
        assert framed[0] == 0
        assert int.from_bytes(framed[1:5], "big") == len(framed) - 5
        response = WatchResponse.FromString(framed[5:])
        assert response.watch_id not in self.ended, "sent after the end"
        self.responses.append(response)
        self.sizes.append(len(framed) - 5)

    def compacted(self, watcher: Watcher, compact_revision: int) -> None:
        """As the Watch service does, end the watcher."""
        assert watcher.id not in self.ended
        watcher.active = False
        self.ended[watcher.id] = compact_revision
