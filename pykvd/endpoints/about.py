"""`/version`, `/metrics`, `/debug/vars` and the description of the gateway."""

from __future__ import annotations

import gc
import gzip
import json
import resource
import sys
import threading
from functools import cache
from typing import TYPE_CHECKING, Final

from pykvd.gateway.openapi import document
from pykvd.http import Exchange, Handler, Response
from pykvd.http.message import JSON, Headers, method_not_allowed
from pykvd.metrics import CONTENT_TYPE
from pykvd.version import API_VERSION, STORAGE_VERSION, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykvd.node.node import Node

_CLUSTER_VERSION: Final = API_VERSION.rpartition(".")[0] + ".0"
_GZIP_LEVEL: Final = 1
_STATES: Final = {
    "FOLLOWER": "StateFollower",
    "CANDIDATE": "StateCandidate",
    "PRE_CANDIDATE": "StatePreCandidate",
    "LEADER": "StateLeader",
}


def get_only(answer: Callable[[Exchange], Response]) -> Handler:
    """A handler that answers GET at once and refuses every other method."""

    def handle(exchange: Exchange) -> None:
        if exchange.head.method == "GET":
            exchange.respond(answer(exchange))
        else:
            exchange.respond(method_not_allowed("GET"))

    return handle


def version(_exchange: Exchange) -> Response:
    """The versions that clients know from etcd, and our own."""
    versions = {
        "etcdserver": API_VERSION,
        "etcdcluster": _CLUSTER_VERSION,
        "storage": STORAGE_VERSION,
        "pykvd": VERSION,
    }
    return _json(versions)


def metrics(render: Callable[[], bytes]) -> Handler:
    """All metrics, compressed for those who can read it; any method will do, as in etcd."""

    def handle(exchange: Exchange) -> None:
        body = render()
        headers: Headers = (("Content-Type", CONTENT_TYPE), ("Vary", "Accept-Encoding"))
        if _takes_gzip(exchange.head.headers.get("accept-encoding", "")):
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
            headers += (("Content-Encoding", "gzip"),)
        exchange.respond(Response(200, headers, body))

    return handle


def _takes_gzip(accept: str) -> bool:
    for item in accept.lower().split(","):
        coding, _, parameters = item.partition(";")
        if coding.strip() == "gzip":
            return parameters.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def variables(node: Node) -> Callable[[Exchange], Response]:
    """What Go programs publish with expvar: one member a line, in alphabetical order.

    `memstats` has the names of Go's that mean something here.
    """

    def answer(_exchange: Exchange) -> Response:
        values = {
            "cmdline": sys.orig_argv,
            "file_descriptor_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "memstats": _memory(),
            "raft.status": _raft_status(node),
        }
        lines = ",\n".join(f'"{name}": {json.dumps(value)}' for name, value in values.items())
        headers = (("Content-Type", "application/json; charset=utf-8"),)
        return Response(200, headers, f"{{\n{lines}\n}}\n".encode())

    return answer


def _memory() -> dict[str, int]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "HeapObjects": sys.getallocatedblocks(),
        "MaxResidentKilobytes": usage.ru_maxrss,
        "NumGC": sum(generation["collections"] for generation in gc.get_stats()),
        "NumThread": threading.active_count(),
    }


def _raft_status(node: Node) -> dict[str, object]:
    status = node.raft.status()
    return {
        "id": f"{status.id:x}",
        "term": status.term,
        "vote": f"{status.vote:x}",
        "commit": status.commit,
        "lead": f"{status.leader:x}",
        "raftState": _STATES[status.role.name],
        "applied": status.applied,
        "progress": {
            f"{member:x}": {
                "match": progress.match,
                "next": progress.next,
                "state": f"State{progress.state.name.capitalize()}",
            }
            for member, progress in status.progress.items()
        },
        "leadtransferee": f"{status.transferee:x}",
    }


def openapi(_exchange: Exchange) -> Response:
    """The OpenAPI description of the gateway."""
    return Response(200, (("Content-Type", JSON),), _openapi_text())


@cache
def _openapi_text() -> bytes:
    return document().encode()


def _json(value: object) -> Response:
    body = json.dumps(value, separators=(",", ":")).encode()
    return Response(200, (("Content-Type", JSON),), body)
