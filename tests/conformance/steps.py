"""The steps of a conformance episode, and how they read when one has to be looked at."""

import re
from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import Message

from pykvd.pb import rpc_pb2
from tests.conformance.revisions import revision_text
from tests.harness.methods import Method


@dataclass(frozen=True)
class Call:
    """One unary request; with a user's name, under the token of that user's last login."""

    method: Method[Any, Any]
    request: Message
    user: str = ""

    def __str__(self) -> str:
        who = f"{self.user}: " if self.user else ""
        return f"{who}{self.method.name} {{{text(self.request)}}}"


@dataclass(frozen=True)
class LogIn:
    """Authenticate; the token replaces the user's one, and is not compared."""

    user: str
    password: str

    def __str__(self) -> str:
        return f"log in {self.user}:{self.password}"


@dataclass(frozen=True)
class WatchAs:
    """Create a watch on a stream of its own, under a user's token, and look at the answer."""

    user: str
    request: rpc_pb2.WatchCreateRequest

    def __str__(self) -> str:
        return f"{self.user}: watch {{{text(self.request)}}}"


@dataclass(frozen=True)
class KeepAlive:
    """One LeaseKeepAlive stream that renews these leases in turn."""

    ids: tuple[int, ...]

    def __str__(self) -> str:
        return f"LeaseKeepAlive {self.ids}"


@dataclass(frozen=True)
class Create:
    """Create a watch on stream number `stream` and wait for the answer."""

    stream: int
    request: rpc_pb2.WatchCreateRequest

    def __str__(self) -> str:
        return f"stream {self.stream}: create {{{text(self.request)}}}"


@dataclass(frozen=True)
class Cancel:
    """Cancel a watch id, known or not; waits for the answer where there must be one."""

    stream: int
    watch_id: int

    def __str__(self) -> str:
        return f"stream {self.stream}: cancel {self.watch_id}"


@dataclass(frozen=True)
class Progress:
    """Send a progress request."""

    stream: int

    def __str__(self) -> str:
        return f"stream {self.stream}: progress request"


@dataclass(frozen=True)
class Settle:
    """Write markers that every open watch must see, wait for them, and report all streams."""

    def __str__(self) -> str:
        return "settle all watches"


@dataclass(frozen=True)
class Reset:
    """Close streams, delete keys and leases, leave one anchor key and compact."""

    def __str__(self) -> str:
        return "reset"


Step = Call | LogIn | WatchAs | KeepAlive | Create | Cancel | Progress | Settle | Reset


def text(message: Message) -> str:
    """A message on one line, relative revisions by name."""
    line = text_format.MessageToString(message, as_one_line=True, print_unknown_fields=True)
    return re.sub(r"\b\d{16,}\b", lambda number: revision_text(int(number[0])), line)
