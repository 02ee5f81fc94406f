"""OpenTelemetry traces of calls, sent to a collector. The extra `tracing` has the packages.

A call is traced when its client says so (a sampled `traceparent`, W3C Trace Context), and of the
others as many in a million as `--distributed-tracing-sampling-rate` says. A call that is not costs
a look at its metadata; without `--enable-distributed-tracing` nothing of this is imported.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pykvd.config import ConfigError
from pykvd.errors import Code, RpcError
from pykvd.version import VERSION

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

    from pykvd.config import Config
    from pykvd.transport import Call, Stream, StreamHandler, StreamReceiver, UnaryHandler

#: How a client says that it traces this call; the last digit of the flags is the decision.
TRACE_PARENT = "traceparent"
MILLION = 1_000_000
#: How long a collector may take to accept spans, repeats included, in seconds.
EXPORT_TIMEOUT_S = 1.0
#: How long the end of a server waits for its last spans: those under way, and the rest.
LAST_SPANS_S = 3 * EXPORT_TIMEOUT_S


def make_provider(config: Config) -> TracerProvider:
    """What gathers spans and sends them. Raises ConfigError where the packages are missing."""
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "--enable-distributed-tracing needs packages that are not installed: "
            "pip install 'pykvd[tracing]'"
        ) from error
    attributes = {
        "service.name": config.distributed_tracing_service_name,
        "service.instance.id": config.distributed_tracing_instance_id,
        "service.version": VERSION,
    }
    resource = Resource({name: value for name, value in attributes.items() if value})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(
        endpoint=config.distributed_tracing_address, insecure=True, timeout=EXPORT_TIMEOUT_S
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


class CallTracer:
    """Wraps handlers so that sampled calls leave a span, of a stream one for its whole life."""

    def __init__(self, provider: TracerProvider, rate: int, rng: random.Random) -> None:
        """`rate` calls in a million are traced beside those whose clients ask for it."""
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        self._provider = provider
        self._tracer = provider.get_tracer("pykvd", VERSION)
        self._propagator = TraceContextTextMapPropagator()
        self._share = rate / MILLION
        self._random = rng.random

    def unary(self, handlers: Mapping[str, UnaryHandler]) -> dict[str, UnaryHandler]:
        """The handlers, traced."""
        return {path: self._traced(path, handler) for path, handler in handlers.items()}

    def streams(self, handlers: Mapping[str, StreamHandler]) -> dict[str, StreamHandler]:
        """The handlers, traced."""
        return {path: self._traced_stream(path, handler) for path, handler in handlers.items()}

    def _traced(self, path: str, handler: UnaryHandler) -> UnaryHandler:
        def traced(call: Call, payload: bytes) -> bytes | None:
            if not self._samples(call):
                return handler(call, payload)
            return _run(handler, TracedCall(call, self._start(path, call)), payload)

        return traced

    def _traced_stream(self, path: str, handler: StreamHandler) -> StreamHandler:
        def traced(stream: Stream) -> StreamReceiver:
            if not self._samples(stream):
                return handler(stream)
            return _run_stream(handler, TracedStream(stream, self._start(path, stream)))

        return traced

    def _samples(self, call: Call | Stream) -> bool:
        parent = call.metadata.get(TRACE_PARENT)
        if parent is None:
            return self._share > 0 and self._random() < self._share
        return isinstance(parent, str) and parent[-1:] in "13579bdf"

    def _start(self, path: str, call: Call | Stream) -> Span:
        service, _, method = path[1:].partition("/")
        carrier = {name: value for name, value in call.metadata.items() if isinstance(value, str)}
        return self._tracer.start_span(
            path[1:],
            context=self._propagator.extract(carrier),
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
        )

    def close(self) -> None:
        """Send what is left, if the collector takes it soon."""
        sending = threading.Thread(
            target=self._provider.shutdown, name="pykvd-last-spans", daemon=True
        )
        sending.start()
        sending.join(LAST_SPANS_S)


def _run(handler: UnaryHandler, call: TracedCall, payload: bytes) -> bytes | None:
    with _failing(call):
        reply = handler(call, payload)
    if reply is not None:
        call.end(Code.OK)
    return reply


def _run_stream(handler: StreamHandler, stream: TracedStream) -> StreamReceiver:
    with _failing(stream):
        return _TracedReceiver(handler(stream), stream)


@contextmanager
def _failing(call: _Traced) -> Iterator[None]:
    """What the service raises is the call's end."""
    try:
        yield
    except RpcError as error:
        call.end(error.code)
        raise
    except Exception:
        call.end(Code.UNKNOWN)
        raise


class _Traced:
    """A call whose end is the end of its span."""

    def __init__(self, call: Call | Stream, span: Span) -> None:
        self._context = call
        self._span = span

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """As `Call.metadata`."""
        return self._context.metadata

    @property
    def deadline(self) -> float | None:
        """As `Call.deadline`."""
        return self._context.deadline

    @property
    def peer(self) -> str:
        """As `Call.peer`."""
        return self._context.peer

    @property
    def common_name(self) -> str:
        """As `Call.common_name`."""
        return self._context.common_name

    @property
    def done(self) -> bool:
        """As `Call.done`."""
        return self._context.done

    def end(self, code: int) -> None:
        """End the span with a status; once."""
        if self._span.is_recording():
            self._span.set_attribute("rpc.grpc.status_code", int(code))
            self._span.end()

    def abandoned(self) -> None:
        """End the span of a call that neither side ended, or the client did."""
        late = self.deadline is not None and self.deadline <= asyncio.get_running_loop().time()
        self.end(Code.DEADLINE_EXCEEDED if late else Code.CANCELLED)


class TracedCall(_Traced):
    """A unary call (see `transport.service.Call`)."""

    def __init__(self, call: Call, span: Span) -> None:
        super().__init__(call, span)
        self._call = call
        self.on_done: Callable[[], None] | None = None
        call.on_done = self._gone

    def reply(self, message: bytes) -> None:
        """As `Call.reply`."""
        self.end(Code.OK)
        self._call.reply(message)

    def fail(self, code: int, message: str) -> None:
        """As `Call.fail`."""
        self.end(code)
        self._call.fail(code, message)

    def _gone(self) -> None:
        self.abandoned()
        if self.on_done:
            self.on_done()


class TracedStream(_Traced):
    """A streaming call (see `transport.service.Stream`); its messages pass as if untraced."""

    def __init__(self, stream: Stream, span: Span) -> None:
        super().__init__(stream, span)
        self._stream = stream
        self.send_headers = stream.send_headers
        self.send = stream.send
        self.send_shared = stream.send_shared
        self.pause_reading = stream.pause_reading
        self.resume_reading = stream.resume_reading

    @property
    def buffered(self) -> int:
        """As `Stream.buffered`."""
        return self._stream.buffered

    @property
    def congested(self) -> bool:
        """As `Stream.congested`."""
        return self._stream.congested

    def finish(self, code: int = 0, message: str = "") -> None:
        """As `Stream.finish`."""
        self.end(code)
        self._stream.finish(code, message)


class _TracedReceiver:
    """Ends the span of a stream that ends without `finish` (see `StreamReceiver`)."""

    def __init__(self, receiver: StreamReceiver, stream: TracedStream) -> None:
        self._receiver = receiver
        self._stream = stream
        self.writable = receiver.writable

    def message_received(self, message: bytes) -> None:
        with _failing(self._stream):
            self._receiver.message_received(message)

    def half_closed(self) -> None:
        with _failing(self._stream):
            self._receiver.half_closed()

    def closed(self) -> None:
        self._stream.abandoned()
        self._receiver.closed()
