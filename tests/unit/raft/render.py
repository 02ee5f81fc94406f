"""How scenarios print the values of the Raft core: one line each, term before index (`2/7`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.raft import (
    ConfChange,
    ConfChangeKind,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    Ready,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_APPENDS = (MessageKind.APPEND, MessageKind.PROPOSE)
_AFTER = (MessageKind.APPEND, MessageKind.COMMIT, MessageKind.VOTE, MessageKind.PRE_VOTE)


def entry(value: Entry) -> str:
    position = f"{value.term}/{value.index}" if value.index else "-"
    if value.kind is EntryKind.NORMAL:
        return f"{position} {value.data.decode()}" if value.data else position
    change = ConfChange.decode(value.data)
    signs = {
        ConfChangeKind.ADD_VOTER: "v",
        ConfChangeKind.ADD_LEARNER: "l",
        ConfChangeKind.REMOVE: "r",
        ConfChangeKind.UPDATE: "u",
    }
    changes = [f"{signs[single.kind]}{single.node}" for single in change.changes]
    return f"{position} conf({' '.join(changes)})"


def entries(values: Sequence[Entry]) -> str:
    return "[" + ", ".join(map(entry, values)) + "]"


def message(value: Message) -> str:
    kind = value.kind
    parts = [f"{value.sender}->{value.to} {kind.name}"]
    if value.term:
        parts.append(f"term={value.term}")
    if kind in _AFTER:
        parts.append(f"after={value.log_term}/{value.index}")
    elif value.index:
        parts.append(f"index={value.index}")
    if value.commit:
        parts.append(f"commit={value.commit}")
    if value.entries:
        parts.append(entries(value.entries))
    if value.snapshot is not None:
        snapshot = value.snapshot
        parts.append(f"snapshot={snapshot.term}/{snapshot.index} {snapshot.conf_state}")
    if value.reject:
        parts.append("reject")
        if value.hint or kind is MessageKind.APPEND_RESPONSE:
            parts.append(f"hint={value.log_term}/{value.hint}")
    if value.context:
        text = value.context
        parts.append("transfer" if text == b"transfer" else f"round={text[-1]}")
    return " ".join(parts)


def ready(node: int, value: Ready, *, with_messages: bool) -> Iterator[str]:
    """What a Ready asks for, if anything."""
    lines = []
    if value.soft_state is not None:
        lines.append(f"is {value.soft_state.role.name}, leader={value.soft_state.leader or 'none'}")
    if value.hard_state is not None:
        hard = value.hard_state
        lines.append(f"save term={hard.term} vote={hard.vote or 'none'} commit={hard.commit}")
    if value.snapshot is not None:
        lines.append(f"install snapshot {value.snapshot.term}/{value.snapshot.index}")
    if value.entries:
        lines.append(f"write {entries(value.entries)}")
    if value.committed_entries:
        lines.append(f"apply {entries(value.committed_entries)}")
    lines += [f"read {read.context.decode()} at {read.index}" for read in value.read_states]
    if with_messages:
        lines += [f"send {message(m)}" for m in value.messages]
        lines += [f"send when persisted {message(m)}" for m in value.persisted_messages]
    yield from (f"{node}: {line}" for line in lines)


def status(value: Status) -> Iterator[str]:
    """One line for the member, one for each follower that it leads."""
    persisted = f" persisted={value.persisted}" if value.persisted != value.last_index else ""
    yield (
        f"{value.id}: {value.role.name} term={value.term} vote={value.vote or 'none'} "
        f"leader={value.leader or 'none'} commit={value.commit} applied={value.applied} "
        f"log={value.first_index}..{value.last_index}{persisted} {value.conf_state}"
    )
    for node, progress in value.progress.items():
        if node == value.id:
            continue
        line = f"   {node} {progress.state.name} match={progress.match} next={progress.next}"
        if progress.pending_snapshot:
            line += f" snapshot={progress.pending_snapshot}"
        if progress.inflight:
            line += f" inflight={progress.inflight}"
        if progress.is_learner:
            line += " learner"
        yield line
