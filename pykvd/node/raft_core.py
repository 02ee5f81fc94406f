"""The Raft core of a node: made of what the disk holds, with a place for its log lines."""

import random

from pykvd.logs import get_logger
from pykvd.node.config import NodeConfig
from pykvd.node.storage import Storage
from pykvd.raft import Entry, EntryKind, RaftConfig, RawNode


def make_raft(config: NodeConfig, storage: Storage) -> RawNode:
    """The core that goes on where the log ends."""
    entries = [
        Entry(entry.term, entry.index, EntryKind(entry.kind), entry.data)
        for entry in storage.replay.entries
    ]
    ticks = max(2, round(config.election_timeout / config.heartbeat_interval))
    mark = storage.replay.snapshot
    return RawNode(
        RaftConfig(id=storage.identity.member_id, election_ticks=ticks, pre_vote=config.pre_vote),
        hard_state=storage.hard_state,
        conf_state=storage.conf_state,
        snapshot_id=(mark.index, mark.term),
        entries=entries,
        applied=storage.applied[0],
        rng=random.Random(),
        logger=_RaftLog(),
    )


class _RaftLog:
    """Raft's log lines under `pykvd.raft`."""

    _log = get_logger("raft")

    def debug(self, msg: str, /, *args: object) -> None:
        """Frequent steps."""
        self._log.debug(msg % args if args else msg)

    def info(self, msg: str, /, *args: object) -> None:
        """Changes of role, term, leader, membership."""
        self._log.info(msg % args if args else msg)

    def warning(self, msg: str, /, *args: object) -> None:
        """Refusals and lost peers."""
        self._log.warn(msg % args if args else msg)
