"""One bidirectional Watch stream, read by a thread of its own."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import grpc

from pykvd.pb import kv_pb2, rpc_pb2
from tests.harness.rpc import Client, Failure, Metadata

TIMEOUT = 60.0
#: The watch id of refusals and of answers to progress requests.
NO_WATCH = -1


class WatchStream:
    """Sends watch requests and keeps every response, in order of arrival.

    `pause()` stops reading (a slow reader: the transport's flow control does the rest) until
    `resume()`. `failure` is the stream's final status once it has ended. Every wait fails
    after `timeout` seconds.
    """

    def __init__(self, client: Client, metadata: Metadata = (), timeout: float = TIMEOUT) -> None:
        self.responses: list[rpc_pb2.WatchResponse] = []
        self.failure: Failure | None = None
        self._timeout = timeout
        self._news = threading.Condition()
        self._reading = threading.Event()
        self._reading.set()
        self._requests: queue.SimpleQueue[rpc_pb2.WatchRequest | None] = queue.SimpleQueue()
        call = client.channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=rpc_pb2.WatchRequest.SerializeToString,
            response_deserializer=rpc_pb2.WatchResponse.FromString,
        )
        self._call: Any = call(self._outgoing(), metadata=metadata)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def send(self, request: rpc_pb2.WatchRequest) -> None:
        """Send any watch request."""
        self._requests.put(request)

    def create(self, request: rpc_pb2.WatchCreateRequest) -> rpc_pb2.WatchResponse:
        """Send a create request and wait for the answer to it (accepted or refused)."""
        with self._news:
            before = self._created()
        self.send(rpc_pb2.WatchRequest(create_request=request))
        self.wait(lambda: self._created() > before, "a watch to be created")
        return [response for response in self.responses if response.created][before]

    def cancel(self, watch_id: int) -> None:
        """Send a cancel request; the answer is left to `wait`."""
        request = rpc_pb2.WatchCancelRequest(watch_id=watch_id)
        self.send(rpc_pb2.WatchRequest(cancel_request=request))

    def ask_progress(self) -> None:
        """Send a progress request; the answer is left to `wait`."""
        self.send(rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()))

    def half_close(self) -> None:
        """End the request side only."""
        self._requests.put(None)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until `condition()` holds, looked at after every response and at the end."""
        deadline = time.monotonic() + self._timeout
        with self._news:
            while not condition():
                left = deadline - time.monotonic()
                if left <= 0 or not self._news.wait(left):
                    raise AssertionError(f"waited {self._timeout} s for {what}; {self.failure=}")

    def events(self, watch_id: int) -> list[kv_pb2.Event]:
        """Every event of one watch id so far, across its responses."""
        with self._news:
            return [
                event
                for response in self.responses
                if response.watch_id == watch_id
                for event in response.events
            ]

    def canceled(self, watch_id: int) -> rpc_pb2.WatchResponse | None:
        """The response that ended one watch id, if it has come."""
        for response in self.responses:
            if response.canceled and response.watch_id == watch_id:
                return response
        return None

    def progress(self) -> list[rpc_pb2.WatchResponse]:
        """The answers to progress requests so far."""
        return [response for response in self.responses if is_progress(response)]

    def pause(self) -> None:
        """Stop taking responses off the connection."""
        self._reading.clear()

    def resume(self) -> None:
        """Take responses again."""
        self._reading.set()

    def close(self) -> None:
        """Cancel the RPC and wait for its reader."""
        self._reading.set()
        self._call.cancel()
        self._requests.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _created(self) -> int:
        return sum(response.created for response in self.responses)

    def _outgoing(self) -> Iterator[rpc_pb2.WatchRequest]:
        while (request := self._requests.get()) is not None:
            yield request

    def _read(self) -> None:
        failure = Failure("OK", "")
        try:
            for response in self._call:
                with self._news:
                    self.responses.append(response)
                    self._news.notify_all()
                self._reading.wait()
        except grpc.RpcError as error:
            failure = Failure.of(error)
        with self._news:
            self.failure = failure
            self._news.notify_all()


def is_progress(response: rpc_pb2.WatchResponse) -> bool:
    """Whether a response answers a progress request of its stream."""
    return (
        response.watch_id == NO_WATCH
        and not response.created
        and not response.canceled
        and not response.events
    )
