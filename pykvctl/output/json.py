"""JSON output: messages field by field as Go encodes them, and etcdctl's hand-made shapes.

Fields keep the order of the message definition, zero values are left out, bytes are base64, numbers
are numbers even beyond 53 bits.
"""

import json
from binascii import b2a_base64
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pykvctl.gotext.durations import format_duration
from pykvctl.output.printer import EndpointHash, EndpointHealth, EndpointStatus, Printer

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from pykvctl.watcher import WatchUpdate
    from pykvd.pb import rpc_pb2 as rpc
    from pykvd.restore import SnapshotHash, SnapshotStatus

Json = dict[str, Any]

# Go escapes what could end a script element, and the two separators that JavaScript refuses.
_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def dumps(value: object) -> str:
    """One line of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)


def to_json(message: "Message") -> Json:
    """A message as nested dictionaries, zero values left out."""
    result: Json = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence:
            if not message.HasField(field.name):
                continue
            value = _scalar(field, getattr(message, field.name))
        else:
            value = getattr(message, field.name)
            if not value:
                continue
            if field.is_repeated:
                value = [_scalar(field, item) for item in value]
            else:
                value = _scalar(field, value)
        if field.containing_oneof is not None:
            # Go wraps the member of a union in a struct named after the union.
            result[field.containing_oneof.name.title()] = {field.name: value}
        else:
            result[field.name] = value
    return result


def _scalar(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return to_json(value)
    if isinstance(value, bytes):
        return base64(value)
    return value


def base64(data: bytes) -> str:
    """Standard base64 with padding."""
    return b2a_base64(data, newline=False).decode()


class JsonPrinter(Printer):
    """One line per answer."""

    def _print(self, value: object) -> None:
        self.streams.line(dumps(value))

    def message(self, message: "Message") -> None:
        """Any answer."""
        self._print(to_json(message))

    def watch(self, update: "WatchUpdate") -> None:
        """Capitalised keys, zero values kept at the top."""
        response = update.response
        self._print(
            {
                "Header": to_json(response.header),
                "Events": [to_json(event) for event in response.events],
                "CompactRevision": response.compact_revision,
                "Canceled": response.canceled,
                "Created": False,
            }
        )

    def lease_grant(self, answer: "rpc.LeaseGrantResponse") -> None:
        """The header's fields, then the lease, zero values kept."""
        lease = {"ID": answer.ID, "TTL": answer.TTL, "Error": answer.error}
        self._print(to_json(answer.header) | lease)

    def lease_keep_alive(self, answer: "rpc.LeaseKeepAliveResponse") -> None:
        """The header's fields, then the lease."""
        self._print(to_json(answer.header) | {"ID": answer.ID, "TTL": answer.TTL})

    def lease_time_to_live(self, answer: "rpc.LeaseTimeToLiveResponse", *, keys: bool) -> None:  # noqa: ARG002
        """The header's fields, then the lease with lower-case keys."""
        lease = {
            "id": answer.ID,
            "ttl": answer.TTL,
            "granted-ttl": answer.grantedTTL,
            "keys": [base64(key) for key in answer.keys] or None,
        }
        self._print(to_json(answer.header) | lease)

    def lease_list(self, answer: "rpc.LeaseLeasesResponse") -> None:
        """The header's fields, then the IDs."""
        leases = {"leases": [{"id": lease.ID} for lease in answer.leases]}
        self._print(to_json(answer.header) | leases)

    def member_list(self, answer: "rpc.MemberListResponse") -> None:
        """With `--hex` the identifiers are hexadecimal strings and the shape differs."""
        if not self.hex:
            self.message(answer)
            return
        header = to_json(answer.header)
        header |= {name: f"{header.get(name, 0):x}" for name in ("cluster_id", "member_id")}
        members = [
            {
                "ID": f"{member.ID:x}",
                "name": member.name,
                "peerURLs": list(member.peerURLs),
                "clientURLs": list(member.clientURLs) or None,
            }
            for member in answer.members
        ]
        self._print({"header": header, "members": members})

    def endpoint_health(self, items: Sequence[EndpointHealth]) -> None:
        """A list."""
        self._print([_health(item) for item in items])

    def endpoint_status(self, items: Sequence[EndpointStatus]) -> None:
        """A list; `null` if no endpoint answered."""
        self._print(
            [{"Endpoint": item.endpoint, "Status": to_json(item.status)} for item in items] or None
        )

    def endpoint_hash(self, items: Sequence[EndpointHash]) -> None:
        """A list."""
        self._print([{"Endpoint": item.endpoint, "HashKV": to_json(item.answer)} for item in items])

    def snapshot_status(self, status: "SnapshotStatus") -> None:
        """Zero values kept."""
        self._print(
            {
                "hash": status.hash,
                "revision": status.revision,
                "totalKey": status.total_keys,
                "totalSize": status.total_size,
                "version": status.version,
            }
        )

    def snapshot_hash(self, answer: "SnapshotHash") -> None:
        """Zero values kept."""
        self._print(
            {
                "hash": answer.hash,
                "hashRevision": answer.revision,
                "compactRevision": answer.compact_revision,
            }
        )

    def report(self, lines: Iterable[str], value: object) -> None:  # noqa: ARG002
        """The value, on one line."""
        self._print(value)


def _health(item: EndpointHealth) -> Json:
    took = format_duration(item.took)
    result: Json = {"endpoint": item.endpoint, "health": item.healthy, "took": took}
    return result | ({"error": item.error} if item.error else {})
