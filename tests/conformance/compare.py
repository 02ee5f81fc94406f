"""Field-by-field comparison of two servers' answers to one step.

Left out are what identifies a server (ids and terms in headers) and what the API leaves open: the
order of equal sort targets, the order of lease ids and of a lease's keys, a second of lease time.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from google.protobuf.message import Message

from pykvd.pb import kv_pb2, rpc_pb2
from tests.conformance.play import Answer
from tests.conformance.rules import ANSWER_RULES, REPORT_RULES, manual_progress
from tests.conformance.steps import text
from tests.conformance.streams import StreamReport

SORT_FIELDS = {
    rpc_pb2.RangeRequest.VERSION: "version",
    rpc_pb2.RangeRequest.CREATE: "create_revision",
    rpc_pb2.RangeRequest.MOD: "mod_revision",
    rpc_pb2.RangeRequest.VALUE: "value",
}
#: Seconds. A busy machine may lie between the two servers; the shortest lease that lives has 60.
TTL_TOLERANCE = 20


def difference(reference: Answer, ours: Answer, same_release: bool = False) -> str | None:
    """None when the answers agree, else both sides, ready to print.

    `same_release` leaves the rules about differences between releases out.
    """
    if not same_release:
        for rule in ANSWER_RULES:
            reference, ours = rule(reference, ours)
    if (found := _reply_difference(reference, ours)) is not None:
        return found
    for one, other in zip(reference.replies, ours.replies, strict=False):
        if _plain(one) != _plain(other):
            return _both(one, other)
    if len(reference.replies) != len(ours.replies):
        return f"{len(reference.replies)} replies\n--- ours ---\n{len(ours.replies)} replies"
    return _reports_difference(reference, ours, same_release)


def _reply_difference(reference: Answer, ours: Answer) -> str | None:
    one, other = reference.reply, ours.reply
    if isinstance(one, Message) and isinstance(other, Message):
        assert reference.request is None or ours.request is not None
        one, other = _canonical(reference.request, one), _canonical(ours.request, other)
        _align_ttl(one, other)
    return None if one == other else _both(one, other)


def _canonical(request: Message | None, reply: Message) -> Message:
    copy = _plain(reply)
    if isinstance(copy, rpc_pb2.RangeResponse):
        assert isinstance(request, rpc_pb2.RangeRequest)
        _order_ties(request, copy)
    elif isinstance(copy, rpc_pb2.TxnResponse):
        assert isinstance(request, rpc_pb2.TxnRequest)
        for inner, answer in _ranges(request, copy):
            _order_ties(inner, answer)
    elif isinstance(copy, rpc_pb2.LeaseLeasesResponse):
        leases = sorted(copy.leases, key=lambda lease: lease.ID)
        del copy.leases[:]
        copy.leases.extend(leases)
    elif isinstance(copy, rpc_pb2.LeaseTimeToLiveResponse):
        copy.keys[:] = sorted(copy.keys)
    return copy


def _plain(reply: Message) -> Message:
    """A copy without the fields that name the server."""
    copy = type(reply)()
    copy.CopyFrom(reply)
    header = getattr(copy, "header", None)
    if header is not None:
        for field in ("cluster_id", "member_id", "raft_term"):
            header.ClearField(field)
    return copy


def _ranges(
    request: rpc_pb2.TxnRequest, reply: rpc_pb2.TxnResponse
) -> Iterator[tuple[rpc_pb2.RangeRequest, rpc_pb2.RangeResponse]]:
    """Every Range that a transaction ran, with its answer."""
    branch = request.success if reply.succeeded else request.failure
    for op, answer in zip(branch, reply.responses, strict=True):
        if op.HasField("request_range"):
            yield op.request_range, answer.response_range
        elif op.HasField("request_txn"):
            yield from _ranges(op.request_txn, answer.response_txn)


def _order_ties(request: rpc_pb2.RangeRequest, reply: rpc_pb2.RangeResponse) -> None:
    """Sort equal targets by key; of a group that a limit may have cut, keep the targets only."""
    field = SORT_FIELDS.get(request.sort_target)
    if field is None or not reply.kvs:
        return
    hidden = field == "value" and request.keys_only
    groups = [
        sorted(group, key=lambda kv: kv.key)
        for _, group in groupby(reply.kvs, key=lambda kv: None if hidden else getattr(kv, field))
    ]
    if reply.more:
        groups[-1] = [_target_only(kv, field) for kv in groups[-1]]
    del reply.kvs[:]
    for group in groups:
        reply.kvs.extend(group)


def _target_only(kv: kv_pb2.KeyValue, field: str) -> kv_pb2.KeyValue:
    bare = kv_pb2.KeyValue()
    setattr(bare, field, getattr(kv, field))
    return bare


def _align_ttl(one: Message, other: Message) -> None:
    """The two servers are asked a moment apart: seconds left may differ by a little."""
    if isinstance(one, rpc_pb2.LeaseTimeToLiveResponse) and isinstance(
        other, rpc_pb2.LeaseTimeToLiveResponse
    ):
        alive = min(one.TTL, other.TTL) > 0
        if alive and abs(one.TTL - other.TTL) <= TTL_TOLERANCE:
            other.TTL = one.TTL


def _reports_difference(reference: Answer, ours: Answer, same_release: bool) -> str | None:
    for number, one in reference.reports.items():
        other = ours.reports[number]
        if same_release:
            manual_progress(other, one)
        for rule in (manual_progress,) if same_release else REPORT_RULES:
            rule(one, other)
        if (found := _report_difference(one, other)) is not None:
            return f"stream {number}: {found}"
    return None


def _report_difference(one: StreamReport, other: StreamReport) -> str | None:
    for watch_id in sorted(one.events.keys() | other.events.keys()):
        expected, got = one.events.get(watch_id, []), other.events.get(watch_id, [])
        if expected != got:
            common = min(len(expected), len(got))
            at = next((i for i in range(common) if expected[i] != got[i]), common)
            return f"watch {watch_id}, event {at} and later:\n" + _both(
                _lines(expected[at : at + 5]), _lines(got[at : at + 5])
            )
    if one.progress != other.progress:
        return f"progress answers at revisions\n{_both(one.progress, other.progress)}"
    expected_ends = [_plain(response) for response in one.cancellations]
    ends = [_plain(response) for response in other.cancellations]
    if expected_ends != ends:
        return f"cancellations\n{_both(_lines(expected_ends), _lines(ends))}"
    return None


def _lines(messages: Sequence[Message]) -> str:
    return "\n".join(text(message) for message in messages) or "(nothing)"


def _both(reference: object, ours: object) -> str:
    return f"--- reference ---\n{_show(reference)}\n--- ours ---\n{_show(ours)}"


def _show(value: object) -> str:
    return text(value) or "(empty message)" if isinstance(value, Message) else str(value)
