"""After the majority is lost for good: one member goes on alone (--force-new-cluster).

The log is given the removal of every other member as if a majority had agreed. Everything else in
it is kept, the entries that were not known to be committed too: the lost members may have
acknowledged them.
"""

from pykvd.cluster.membership import Action, Member, MemberChange
from pykvd.node.reconfigurer import as_conf_change
from pykvd.node.storage import Storage
from pykvd.raft import ConfChange, ConfChangeKind, EntryKind, HardState
from pykvd.wal import Entry
from pykvd.wal import HardState as HardStateRecord


def expel_others(storage: Storage) -> list[int]:
    """Make this member the only one; returns the ids of those removed, none if it was alone.

    To be called before a node starts on the storage. The other members' ids can never join again.
    Should power fail, any part of the records may be on the disk: all of them are needed for a
    change, and the next call completes them.
    """
    own = storage.identity.member_id
    others = [each for each in _member_ids(storage) if each != own]
    # Removals that the log holds already need the mark, if power failed before that was written.
    if not others and storage.conf_state.members() == (own,):
        return []
    replay, state = storage.replay, storage.hard_state
    term = max(state.term, replay.entries[-1].term if replay.entries else replay.snapshot.term)
    # First of all it has to be a voter: a learner may be the one that is left.
    changes = [_change(Action.PROMOTE, own), *(_change(Action.REMOVE, each) for each in others)]
    entries = [
        Entry(term, index, EntryKind.CONF_CHANGE, as_conf_change(change).encode())
        for index, change in enumerate(changes, replay.last_index + 1)
    ]
    mark = HardStateRecord(term, 0 if term > state.term else state.vote, entries[-1].index)
    records: list[Entry | HardStateRecord] = [*entries, mark]
    storage.wal.commit(records)
    for record in records:
        replay.feed(record)
    storage.hard_state = HardState(mark.term, mark.vote, mark.commit)
    return others


def _member_ids(storage: Storage) -> list[int]:
    """Members as of the last entry of the log, perhaps with some whose addition was refused."""
    members = set(storage.conf_state.members())
    for entry in storage.replay.entries:
        if entry.kind != EntryKind.CONF_CHANGE or not entry.data:
            continue
        for change in ConfChange.decode(entry.data).changes:
            if change.kind is ConfChangeKind.REMOVE:
                members.discard(change.node)
            else:
                members.add(change.node)
    return sorted(members)


def _change(action: Action, member_id: int) -> MemberChange:
    return MemberChange(action, Member(member_id, "", ()), origin=0, sequence=0)
