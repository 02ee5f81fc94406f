"""What a node is told when it is made."""

from typing import NamedTuple


class NodeConfig(NamedTuple):
    """Settings of a node, in seconds and bytes."""

    name: str
    client_urls: tuple[str, ...]
    heartbeat_interval: float
    election_timeout: float
    pre_vote: bool
    max_request_bytes: int
    snapshot_count: int
    batch_interval: float
    batch_limit: int
    snapshot_catchup: int
    compaction_batch: int
    compaction_pause: float
    max_learners: int
    strict_reconfig: bool
    #: What takes longer is logged: one apply, and a request from its arrival to its answer.
    slow_apply: float = 0.1
    slow_request: float = 0.3

    @property
    def request_timeout(self) -> float:
        """How long a proposal may take, whatever the client's deadline (etcd's rule)."""
        return 5.0 + 2 * self.election_timeout

    @property
    def min_lease_ttl(self) -> int:
        """The shortest TTL granted: one and a half election timeouts, in whole seconds."""
        return -(-3 * round(self.election_timeout * 1000) // 2000)
