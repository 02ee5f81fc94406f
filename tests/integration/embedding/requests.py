"""Serialised requests, and the paths they go to."""

import time

from pykvd.pb import rpc_pb2 as rpc

PUT = "/etcdserverpb.KV/Put"
RANGE = "/etcdserverpb.KV/Range"
WATCH = "/etcdserverpb.Watch/Watch"
TIMEOUT_S = 60.0


def soon() -> float:
    """A deadline that is far enough for what works."""
    return time.monotonic() + TIMEOUT_S


def put(key: bytes = b"k", value: bytes = b"v") -> bytes:
    """A PutRequest."""
    return rpc.PutRequest(key=key, value=value).SerializeToString()


def watch(key: bytes = b"k", start: int = 0) -> bytes:
    """A WatchRequest that creates a watcher."""
    create = rpc.WatchCreateRequest(key=key, start_revision=start)
    return rpc.WatchRequest(create_request=create).SerializeToString()


def revision(reply: bytes | None) -> int:
    """The revision in the header of a PutResponse."""
    assert reply is not None
    return rpc.PutResponse.FromString(reply).header.revision
