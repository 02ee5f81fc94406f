"""When revisions were written: pykvd records it, and etcd's API has no word for it."""

import re
from datetime import UTC, datetime

from pykvctl.client import Client
from pykvctl.errors import BadArgumentsError, CommandError, RequestError
from pykvctl.gotext.durations import parse_duration
from pykvctl.gotext.quoting import quote
from pykvd.methods import Method
from pykvd.pb import pykvd_pb2 as pb

REVISION_AT = Method(
    "/pykvdpb.Timeline/RevisionAt", pb.RevisionAtRequest, pb.RevisionAtResponse, repeatable=True
)
TIMES = Method("/pykvdpb.Timeline/Times", pb.TimesRequest, pb.TimesResponse, repeatable=True)

#: Revisions asked for at once.
BATCH = 10_000

_COMPACTED = "etcdserver: mvcc: required revision has been compacted"
_DAYS = re.compile(r"(\d+)d(.*)", re.DOTALL)
_NS = 1_000_000_000
_DAY_NS = 24 * 3600 * _NS


def parse_time(text: str, now_ns: int) -> int:
    """Nanoseconds since the epoch of a time or an age; raises BadArgumentsError.

    `10m`, `2d` or `1d12h` ago; `2026-01-01`, `2026-01-01T10:00`, in the local time zone unless one
    is given (`2026-01-01T10:00Z`).
    """
    days = _DAYS.fullmatch(text)
    age = int(days[1]) * _DAY_NS if days else 0
    rest = days[2] if days else text
    try:
        return now_ns - age - (parse_duration(rest) if rest or not days else 0)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadArgumentsError(
            f"bad time {quote(text)}, expecting an age as 10m or 2d, or a time as 2026-01-01T10:00"
        ) from None
    return int(moment.timestamp()) * _NS + moment.microsecond * 1000


def format_time(time_ns: int) -> str:
    """A time in UTC, to the second."""
    return datetime.fromtimestamp(time_ns // _NS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def revision_at(client: Client, text: str, now_ns: int, timeout_s: float | None) -> int:
    """The newest revision at the time that `text` tells; raises CommandError."""
    time_ns = parse_time(text, now_ns)
    if time_ns > now_ns:
        raise BadArgumentsError(f"{quote(text)} is in the future")
    request = pb.RevisionAtRequest(time_ns=time_ns)
    try:
        answer = client.unary(REVISION_AT, request, timeout_s, quiet=True)
    except RequestError as error:
        if error.code == "Unimplemented":
            raise CommandError(
                "this server cannot tell the revision of a time, only pykvd can; use --rev"
            ) from None
        if error.details == _COMPACTED:
            raise CommandError(
                f"nothing is known of {format_time(time_ns)} any more: compaction has taken it"
            ) from None
        told = str(error)
        raise CommandError(told if told == error.details else f"{told} ({error.details})") from None
    if answer.revision < answer.compact_revision:
        raise CommandError(
            f"the state at {format_time(time_ns)} (revision {answer.revision}) is compacted; "
            f"the oldest that can be read is revision {answer.compact_revision}"
        )
    return answer.revision


def times_of(client: Client, revisions: list[int], timeout_s: float | None) -> dict[int, int]:
    """When revisions were written, in nanoseconds since the epoch; unknown ones are left out."""
    times: dict[int, int] = {}
    for start in range(0, len(revisions), BATCH):
        batch = revisions[start : start + BATCH]
        try:
            answer = client.unary(TIMES, pb.TimesRequest(revisions=batch), timeout_s, quiet=True)
        except RequestError as error:
            if error.code == "Unimplemented":
                return {}
            raise
        known = zip(batch, answer.times_ns, strict=True)
        times |= {revision: time_ns for revision, time_ns in known if time_ns}
    return times
