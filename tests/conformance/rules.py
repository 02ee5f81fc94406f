"""Known differences between etcd 3.4.23, the reference at hand, and the 3.6 level of the API.

Each rule is narrow: it looks at one request, and rewrites what the reference answered to what 3.6
would have answered, or removes from both sides the one detail that cannot be compared. Sources are
the version notes of the API, named in each docstring.
"""

from dataclasses import replace

from pykvd.pb import auth_pb2, kv_pb2, rpc_pb2
from tests.conformance.play import Answer
from tests.conformance.streams import StreamReport
from tests.conformance.universe import BAD_TOKEN, NOBODY
from tests.harness import Failure

COMPACTED = "etcdserver: mvcc: required revision has been compacted"
RANGE_REFUSALS = (
    Failure("OUT_OF_RANGE", COMPACTED),
    Failure("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision"),
)
PUT_REFUSALS = (
    Failure("INVALID_ARGUMENT", "etcdserver: key not found"),
    Failure("NOT_FOUND", "etcdserver: requested lease not found"),
)
DENIED = Failure("PERMISSION_DENIED", "etcdserver: permission denied")
USER_EMPTY = Failure("INVALID_ARGUMENT", "etcdserver: user name is empty")
INVALID_TOKEN = Failure("UNAUTHENTICATED", "etcdserver: invalid auth token")
#: What a call by nobody, and one with a token that is none, must be answered.
WITHOUT_CREDENTIALS = {NOBODY: USER_EMPTY, BAD_TOKEN: INVALID_TOKEN}
UNMAPPED = {
    failure.text.replace("etcdserver:", "auth:"): failure
    for failure in (DENIED, USER_EMPTY, INVALID_TOKEN)
}
INVALID_SORT = Failure("INVALID_ARGUMENT", "etcdserver: invalid sort option")


def invalid_sort_enum(reference: Answer, ours: Answer) -> tuple[Answer, Answer]:
    """A Range with a sort number outside the enum: 3.4 and 3.5 ignore it, 3.6 refuses it."""
    request = reference.request
    if isinstance(request, rpc_pb2.RangeRequest) and request.key:
        known = rpc_pb2.RangeRequest.SortOrder.values()
        if request.sort_order not in known:
            return replace(reference, reply=INVALID_SORT), ours
    return reference, ours


def txn_check_order(reference: Answer, ours: Answer) -> tuple[Answer, Answer]:
    """A Txn that is refused for a put and for a range: 3.4 and 3.5 look at all puts first.

    3.6 looks at the operations in order, so that it may name a range's revision instead.
    """
    if (
        isinstance(reference.request, rpc_pb2.TxnRequest)
        and reference.reply in PUT_REFUSALS
        and ours.reply in RANGE_REFUSALS
    ):
        return replace(reference, reply=ours.reply), ours
    return reference, ours


def hash_revision(reference: Answer, ours: Answer) -> tuple[Answer, Answer]:
    """`HashKVResponse.hash_revision` exists since 3.6: it must be the revision hashed."""
    reply = ours.reply
    if not isinstance(reply, rpc_pb2.HashKVResponse):
        return reference, ours
    assert isinstance(ours.request, rpc_pb2.HashKVRequest)
    known = {0, ours.request.revision or reply.header.revision}
    if reply.hash_revision in known:
        reply.hash_revision = 0
    return reference, ours


def hash_at_compaction(reference: Answer, ours: Answer) -> tuple[Answer, Answer]:
    """HashKV at a compaction's revision: 3.6 returns the hash that the compaction took.

    3.4 keeps no such hashes: it refuses the revision, or hashes what is kept if it is the current.
    """
    request = reference.request
    if not isinstance(request, rpc_pb2.HashKVRequest):
        return reference, ours
    reply = ours.reply
    if not isinstance(reply, rpc_pb2.HashKVResponse):
        return reference, ours
    if isinstance(reference.reply, Failure):
        taken = reply.compact_revision < request.revision <= ours.compacted
        accepted = reference.reply == Failure("OUT_OF_RANGE", COMPACTED) and taken
        return (replace(reference, reply=reply) if accepted else reference), ours
    if request.revision != ours.compacted:
        return reference, ours
    assert isinstance(reference.reply, rpc_pb2.HashKVResponse)
    reference.reply.hash = reply.hash
    reference.reply.compact_revision = reply.compact_revision
    return reference, ours


def negative_start(reference: Answer, ours: Answer) -> tuple[Answer, Answer]:
    """A watch from a negative revision: refused since 3.4.38 and 3.6.6, accepted by 3.4.23."""
    request = reference.request
    if isinstance(request, rpc_pb2.WatchCreateRequest) and request.start_revision < 0:
        assert isinstance(reference.reply, rpc_pb2.WatchResponse)
        refused = rpc_pb2.WatchResponse(
            header=reference.reply.header,
            watch_id=-1,
            created=True,
            canceled=True,
            cancel_reason=COMPACTED,
        )
        return replace(reference, reply=refused), ours
    return reference, ours


def refused_watches(reference: StreamReport, ours: StreamReport) -> None:
    """What 3.4.23 delivered on watches that `negative_start` counts as refused."""
    for watch_id in reference.refused_later:
        reference.events.pop(watch_id, None)
    reference.cancellations = [
        response
        for response in reference.cancellations
        if response.watch_id not in reference.refused_later
    ]


def manual_progress(reference: StreamReport, ours: StreamReport) -> None:
    """Progress requests on streams that are not all synced: silent since 3.4.25 and 3.6.2.

    3.4.23 answers those too. Whatever it answered beyond what is due is left out, so that the
    other side is held to exactly what 3.6 answers.
    """
    left = list(reference.progress)
    if all(_take(left, revision) for revision in reference.progress_due):
        reference.progress = list(reference.progress_due)


def tombstone_at_compaction(reference: StreamReport, ours: StreamReport) -> None:
    """A delete exactly at the compacted revision: kept since 3.4.34 and 3.6, dropped by 3.4.23.

    Only a watch whose history starts at that revision can tell.
    """
    for report in (reference, ours):
        for watch_id, revision in report.from_compacted.items():
            events = report.events.get(watch_id, [])
            kept = [event for event in events if not _deleted_at(event, revision)]
            report.events.pop(watch_id, None)
            if kept:
                report.events[watch_id] = kept


def _deleted_at(event: kv_pb2.Event, revision: int) -> bool:
    return event.type == kv_pb2.Event.DELETE and event.kv.mod_revision == revision


def _take(values: list[int], value: int) -> bool:
    if value not in values:
        return False
    values.remove(value)
    return True


def unchecked_leases(reference: Answer, ours: Answer) -> tuple[Answer, Answer]:
    """Lease calls without credentials: refused since 3.5, looked at by nobody in 3.4.

    The token of a known user may have become none; 3.4 tells for calls that go through its log.
    """
    writes = (rpc_pb2.LeaseGrantRequest, rpc_pb2.LeaseRevokeRequest)
    reads = (rpc_pb2.LeaseLeasesRequest, rpc_pb2.LeaseTimeToLiveRequest)
    expected = WITHOUT_CREDENTIALS.get(ours.user)
    if isinstance(ours.request, reads) and ours.user != NOBODY:
        expected = INVALID_TOKEN
    if isinstance(ours.request, writes + reads) and ours.reply == expected:
        return replace(reference, reply=expected), ours
    return reference, ours


def keys_of_leases(reference: Answer, ours: Answer) -> tuple[Answer, Answer]:
    """Which leases exist and which keys hang on them: 3.4.23 tells, later releases need READ."""
    told = reference.reply
    tells = (isinstance(told, rpc_pb2.LeaseTimeToLiveResponse) and told.keys) or (
        isinstance(told, rpc_pb2.LeaseLeasesResponse) and told.leases
    )
    if tells and ours.reply == DENIED and ours.user != "root":
        return replace(reference, reply=DENIED), ours
    return reference, ours


def unmapped_auth_errors(reference: Answer, ours: Answer) -> tuple[Answer, Answer]:
    """Auth failures of maintenance calls: Unknown with a bare text up to 3.5, mapped since 3.6."""
    reply = reference.reply
    if isinstance(reply, Failure) and isinstance(ours.request, rpc_pb2.HashKVRequest):
        mapped = UNMAPPED.get(reply.text)
        if reply.code == "UNKNOWN" and mapped:
            return replace(reference, reply=mapped), ours
    return reference, ours


def root_role(reference: Answer, ours: Answer) -> tuple[Answer, Answer]:
    """RoleGet of `root`: its stored permissions up to 3.5, everything since 3.6."""
    request, reply = reference.request, reference.reply
    if (
        isinstance(request, rpc_pb2.AuthRoleGetRequest)
        and isinstance(reply, rpc_pb2.AuthRoleGetResponse)
        and request.role == "root"
    ):
        everything = rpc_pb2.AuthRoleGetResponse(header=reply.header)
        everything.perm.add(permType=auth_pb2.Permission.READWRITE, range_end=b"\x00")
        return replace(reference, reply=everything), ours
    return reference, ours


def watch_reasons(reference: Answer, ours: Answer) -> tuple[Answer, Answer]:
    """A watch without credentials: 3.4 calls every refusal a denied permission."""
    told, expected = reference.reply, WITHOUT_CREDENTIALS.get(ours.user)
    if (
        isinstance(told, rpc_pb2.WatchResponse)
        and told.cancel_reason == _go_text(DENIED)
        and expected is not None
    ):
        told.cancel_reason = _go_text(expected)
    return reference, ours


def _go_text(failure: Failure) -> str:
    code = failure.code.title().replace("_", "")
    return f"rpc error: code = {code} desc = {failure.text}"


ANSWER_RULES = (
    invalid_sort_enum,
    txn_check_order,
    hash_revision,
    hash_at_compaction,
    negative_start,
    unchecked_leases,
    keys_of_leases,
    unmapped_auth_errors,
    root_role,
    watch_reasons,
)
REPORT_RULES = (refused_watches, manual_progress, tombstone_at_compaction)
