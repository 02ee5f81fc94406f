"""OpenTelemetry traces of unary calls, sent to a collector. The extra `tracing` has the packages.

A call is traced when its client says so (a sampled `traceparent`, W3C Trace Context), and of the
others as many in a million as `--distributed-tracing-sampling-rate` says. A call that is not costs
a look at its metadata; without `--enable-distributed-tracing` nothing of this is imported.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pykvd.config import ConfigError
from pykvd.errors import Code, RpcError
from pykvd.version import VERSION

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

    from pykvd.config import Config
    from pykvd.transport import Call, UnaryHandler

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
    """Wraps handlers of unary calls so that sampled calls leave a span."""

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

    def _traced(self, path: str, handler: UnaryHandler) -> UnaryHandler:
        def traced(call: Call, payload: bytes) -> bytes | None:
            parent = call.metadata.get(TRACE_PARENT)
            if parent is None:
                sampled = self._share > 0 and self._random() < self._share
            else:
                sampled = isinstance(parent, str) and parent[-1:] in "13579bdf"
            if not sampled:
                return handler(call, payload)
            return _run(handler, TracedCall(call, self._start(path, call)), payload)

        return traced

    def _start(self, path: str, call: Call) -> Span:
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
    try:
        reply = handler(call, payload)
    except RpcError as error:
        call.end(error.code)
        raise
    except Exception:
        call.end(Code.UNKNOWN)
        raise
    if reply is not None:
        call.end(Code.OK)
    return reply


class TracedCall:
    """A call whose end is the end of its span (see `transport.service.Call`)."""

    def __init__(self, call: Call, span: Span) -> None:
        self._call = call
        self._span = span
        self._on_done: Callable[[], None] | None = None
        call.on_done = self._abandoned

    @property
    def on_done(self) -> Callable[[], None] | None:
        """As `Call.on_done`."""
        return self._on_done

    @on_done.setter
    def on_done(self, callback: Callable[[], None] | None) -> None:
        self._on_done = callback

    @property
    def metadata(self) -> Mapping[str, str | bytes]:
        """As `Call.metadata`."""
        return self._call.metadata

    @property
    def deadline(self) -> float | None:
        """As `Call.deadline`."""
        return self._call.deadline

    @property
    def peer(self) -> str:
        """As `Call.peer`."""
        return self._call.peer

    @property
    def common_name(self) -> str:
        """As `Call.common_name`."""
        return self._call.common_name

    @property
    def done(self) -> bool:
        """As `Call.done`."""
        return self._call.done

    def reply(self, message: bytes) -> None:
        """As `Call.reply`."""
        self.end(Code.OK)
        self._call.reply(message)

    def fail(self, code: int, message: str) -> None:
        """As `Call.fail`."""
        self.end(code)
        self._call.fail(code, message)

    def end(self, code: int) -> None:
        """End the span with a status; once."""
        if self._span.is_recording():
            self._span.set_attribute("rpc.grpc.status_code", int(code))
            self._span.end()

    def _abandoned(self) -> None:
        self.end(Code.CANCELLED)
        if self._on_done:
            self._on_done()
