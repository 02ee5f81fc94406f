"""Arguments of the KV calls and of watches to messages; what is wrong with them raises here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pykvd.client import arguments
from pykvd.pb import rpc_pb2 as rpc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pykvd.client.arguments import Data, HasId

SortBy = Literal["key", "version", "create_revision", "mod_revision", "value"]
Skip = Literal["put", "delete"]

_TARGETS: Final = {
    "key": rpc.RangeRequest.KEY,
    "version": rpc.RangeRequest.VERSION,
    "create_revision": rpc.RangeRequest.CREATE,
    "mod_revision": rpc.RangeRequest.MOD,
    "value": rpc.RangeRequest.VALUE,
}
_FILTERS: Final = {
    "put": rpc.WatchCreateRequest.NOPUT,
    "delete": rpc.WatchCreateRequest.NODELETE,
}
TO_THE_END: Final = b"\0"
"""The `range_end` that stands for all keys from the first one on."""


def prefix_end(prefix: bytes) -> bytes:
    """The first key that is above all keys with this prefix; `TO_THE_END` if there is none."""
    trimmed = prefix.rstrip(b"\xff")
    if not trimmed:
        return TO_THE_END
    return trimmed[:-1] + bytes((trimmed[-1] + 1,))


def span(key: Data, end: Data | None, *, prefix: bool) -> tuple[bytes, bytes]:
    """`key` and `range_end` of one key, of the keys from `key` up to `end`, or with a prefix.

    An empty `key` stands for the beginning, an empty `end` for the end of all keys.
    """
    first = arguments.data("key", key)
    if arguments.flag("prefix", prefix):
        if end is not None:
            raise ValueError("end: not together with prefix")
        return (first, prefix_end(first)) if first else (TO_THE_END, TO_THE_END)
    if end is None:
        return arguments.key("key", first), b""
    return first or b"\0", arguments.data("end", end) or TO_THE_END


def range_request(
    key: Data,
    end: Data | None = None,
    *,
    prefix: bool = False,
    limit: int = 0,
    revision: int = 0,
    sort_by: SortBy | None = None,
    descending: bool = False,
    serializable: bool = False,
    keys_only: bool = False,
    count_only: bool = False,
    min_mod_revision: int = 0,
    max_mod_revision: int = 0,
    min_create_revision: int = 0,
    max_create_revision: int = 0,
) -> rpc.RangeRequest:
    """A range; see `Client.range` for the arguments."""
    first, range_end = span(key, end, prefix=prefix)
    request = rpc.RangeRequest(
        key=first,
        range_end=range_end,
        limit=arguments.integer("limit", limit),
        revision=arguments.integer("revision", revision),
        serializable=arguments.flag("serializable", serializable),
        keys_only=arguments.flag("keys_only", keys_only),
        count_only=arguments.flag("count_only", count_only),
        min_mod_revision=arguments.integer("min_mod_revision", min_mod_revision),
        max_mod_revision=arguments.integer("max_mod_revision", max_mod_revision),
        min_create_revision=arguments.integer("min_create_revision", min_create_revision),
        max_create_revision=arguments.integer("max_create_revision", max_create_revision),
    )
    if arguments.flag("descending", descending) or sort_by is not None:
        by = "key" if sort_by is None else arguments.choice("sort_by", sort_by, _TARGETS)
        request.sort_target = _TARGETS[by]
        order = rpc.RangeRequest.DESCEND if descending else rpc.RangeRequest.ASCEND
        request.sort_order = order
    return request


def put_request(
    key: Data,
    value: Data,
    *,
    lease: HasId | int | None = None,
    prev_kv: bool = False,
    ignore_value: bool = False,
    ignore_lease: bool = False,
) -> rpc.PutRequest:
    """A put; see `Client.put` for the arguments."""
    request = rpc.PutRequest(
        key=arguments.key("key", key),
        value=arguments.data("value", value),
        lease=arguments.lease(lease),
        prev_kv=arguments.flag("prev_kv", prev_kv),
        ignore_value=arguments.flag("ignore_value", ignore_value),
        ignore_lease=arguments.flag("ignore_lease", ignore_lease),
    )
    if ignore_value and request.value:
        raise ValueError("value: must be empty with ignore_value")
    if ignore_lease and request.lease:
        raise ValueError("lease: must not be given with ignore_lease")
    return request


def delete_request(
    key: Data, end: Data | None = None, *, prefix: bool = False, prev_kv: bool = False
) -> rpc.DeleteRangeRequest:
    """A deletion; see `Client.delete` for the arguments."""
    first, range_end = span(key, end, prefix=prefix)
    return rpc.DeleteRangeRequest(
        key=first, range_end=range_end, prev_kv=arguments.flag("prev_kv", prev_kv)
    )


def watch_request(
    key: Data,
    end: Data | None = None,
    *,
    prefix: bool = False,
    start_revision: int = 0,
    prev_kv: bool = False,
    progress: bool = False,
    skip: Skip | Iterable[Skip] = (),
) -> rpc.WatchCreateRequest:
    """A watch; see `Client.watch` for the arguments."""
    first, range_end = span(key, end, prefix=prefix)
    names: list[Skip] = [skip] if isinstance(skip, str) else arguments.several("skip", skip)
    return rpc.WatchCreateRequest(
        key=first,
        range_end=range_end,
        start_revision=arguments.integer("start_revision", start_revision),
        prev_kv=arguments.flag("prev_kv", prev_kv),
        progress_notify=arguments.flag("progress", progress),
        filters=[_FILTERS[arguments.choice("skip", name, _FILTERS)] for name in names],
    )
