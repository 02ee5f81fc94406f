"""Play an episode against one server and keep what it answered."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from google.protobuf.message import Message

from pykvd.pb import rpc_pb2
from tests.conformance.revisions import Clock, resolve
from tests.conformance.steps import (
    Call,
    Cancel,
    Create,
    KeepAlive,
    LogIn,
    Progress,
    Reset,
    Settle,
    Step,
    WatchAs,
)
from tests.conformance.streams import StreamPlayer, StreamReport
from tests.conformance.universe import BAD_TOKEN, EVERYTHING, LEASES, NOBODY
from tests.harness import Client, Failure, WatchStream, methods
from tests.harness.rpc import Metadata

ANCHOR = b"anchor"
NO_ANSWER = "NO_ANSWER"


@dataclass
class Answer:
    """The outcome of one step: the request as sent, by whom, and a reply, failure or reports.

    `compacted` is the last compacted revision known before the step.
    """

    request: Message | None = None
    reply: Message | Failure | None = None
    replies: list[Message] = field(default_factory=list)
    reports: dict[int, StreamReport] = field(default_factory=dict)
    compacted: int = -1
    user: str = ""


class Player:
    """One server's side of an episode; `close` ends its streams.

    `patience` is how many seconds a watch stream may take to answer.
    """

    def __init__(self, client: Client, patience: float) -> None:
        self.client = client
        self.patience = patience
        self.clock = Clock()
        self.streams: dict[int, StreamPlayer] = {}
        #: Tokens by user; that of BAD_TOKEN is none of the server's.
        self.auth_on = False
        self.tokens = {BAD_TOKEN: "AAAAAAAAAAAAAAAA.1"}

    def play(self, steps: Sequence[Step]) -> list[Answer]:
        """The answers to all steps, in order."""
        return [self.step(step) for step in steps]

    def step(self, step: Step) -> Answer:
        """Send one step. What does not come in time is an answer too: `NO_ANSWER`."""
        try:
            return self._send(step)
        except AssertionError as error:
            return Answer(reply=Failure(NO_ANSWER, str(error)))

    def _send(self, step: Step) -> Answer:
        match step:
            case Call(method=method, request=request, user=user):
                sent = resolve(request, self.clock)
                reply = self.client.attempt(method, sent, self._metadata(user))
                answer = Answer(sent, reply, compacted=self.clock.compacted, user=self._name(user))
                self._advance(sent, reply)
                return answer
            case LogIn(user=user, password=password):
                return Answer(reply=self._log_in(user, password), user=user)
            case WatchAs(user=user, request=request):
                sent = resolve(request, self.clock)
                return Answer(sent, self._watch_once(user, sent), user=self._name(user))
            case KeepAlive(ids=ids):
                requests = [rpc_pb2.LeaseKeepAliveRequest(ID=lease) for lease in ids]
                return Answer(replies=list(self.client.keep_alive(requests)))
            case Create(stream=stream, request=request):
                sent = resolve(request, self.clock)
                return Answer(sent, self._stream(stream).create(sent, self.clock))
            case Cancel(stream=stream, watch_id=watch_id):
                return Answer(reply=self._stream(stream).cancel(watch_id))
            case Progress(stream=stream):
                self._stream(stream).ask_progress(self.clock)
                return Answer()
            case Settle():
                return self._settle()
            case Reset():
                self._reset()
                return Answer()

    def close(self) -> None:
        """End all watch streams."""
        for stream in self.streams.values():
            stream.close()
        self.streams.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _metadata(self, user: str) -> Metadata:
        """None while auth is off: 3.4 judges tokens even then, later releases ignore them."""
        token = self.tokens.get(user)
        return (("token", token),) if token and self.auth_on else ()

    def _name(self, user: str) -> str:
        return user if user in self.tokens else NOBODY

    def _log_in(self, user: str, password: str) -> Message | Failure:
        request = rpc_pb2.AuthenticateRequest(name=user, password=password)
        reply = self.client.attempt(methods.AUTHENTICATE, request)
        if not isinstance(reply, Failure):
            self.tokens[user] = reply.token
            reply.token = ""
        return reply

    def _watch_once(self, user: str, request: rpc_pb2.WatchCreateRequest) -> Message:
        with WatchStream(self.client, self._metadata(user), self.patience) as stream:
            return stream.create(request)

    def _stream(self, number: int) -> StreamPlayer:
        if number not in self.streams:
            self.streams[number] = StreamPlayer(self.client, self.patience)
        return self.streams[number]

    def _advance(self, request: Message, reply: Message | Failure) -> None:
        header = getattr(reply, "header", None)
        if header is None:
            return
        if isinstance(reply, rpc_pb2.AuthEnableResponse | rpc_pb2.AuthDisableResponse):
            self.auth_on = isinstance(reply, rpc_pb2.AuthEnableResponse)
        self.clock.revision = max(self.clock.revision, header.revision)
        if isinstance(request, rpc_pb2.CompactionRequest):
            self.clock.compacted = request.revision

    def _settle(self) -> Answer:
        keys = sorted({key for stream in self.streams.values() for key in stream.marker_keys()})
        if keys:
            put_revision = self._write([_put(key) for key in keys])
            delete_revision = self._write([_delete(key) for key in keys])
            for stream in self.streams.values():
                stream.wait_for_markers(put_revision, delete_revision)
        return Answer(reports={number: s.report() for number, s in self.streams.items()})

    def _write(self, operations: list[rpc_pb2.RequestOp]) -> int:
        reply = self.client.call(methods.TXN, rpc_pb2.TxnRequest(success=operations))
        self.clock.revision = reply.header.revision
        return reply.header.revision

    def _reset(self) -> None:
        self.close()
        for lease in LEASES:
            self.client.attempt(methods.REVOKE, rpc_pb2.LeaseRevokeRequest(ID=lease))
        everything = rpc_pb2.DeleteRangeRequest(key=EVERYTHING, range_end=EVERYTHING)
        self.client.call(methods.DELETE, everything)
        revision = self.client.call(methods.PUT, rpc_pb2.PutRequest(key=ANCHOR)).header.revision
        compaction = rpc_pb2.CompactionRequest(revision=revision, physical=True)
        self.client.call(methods.COMPACT, compaction)
        self.clock = Clock(revision, revision)


def _put(key: bytes) -> rpc_pb2.RequestOp:
    return rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=b"marker"))


def _delete(key: bytes) -> rpc_pb2.RequestOp:
    return rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=key))
