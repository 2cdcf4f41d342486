"""One OpenTelemetry span for each call, where ``opentelemetry-api`` is installed (extra ``otel``).

The caller's ``traceparent`` becomes the parent. Only the interface is used: which spans are sampled, and where they go, is up
to the provider that the operator starts the process with; without one the spans do nothing and cost about 10 us a call.
Names and attributes follow the semantic conventions for RPC. Micro-batches have no spans: they work for many calls at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import grpc

from curator_server.calls import Call, split_method

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

SpanEnd = Callable[[grpc.StatusCode], None]
"""Tells a span how its call ended."""
CallSpans = Callable[[Call, Any], AbstractContextManager[SpanEnd]]
"""Makes the span of a call from its metadata."""

_OUR_FAULT = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


def call_spans(provider: TracerProvider | None = None) -> CallSpans | None:
    """What makes the spans, of the process's provider unless one is given; None without opentelemetry-api."""
    try:
        from opentelemetry import context, propagate, trace
    except ImportError:
        return None
    tracer = trace.get_tracer("curator_server", tracer_provider=provider)

    @contextmanager
    def span_of(call: Call, metadata: Any) -> Iterator[SpanEnd]:
        sent = {key: value for key, value in metadata or () if isinstance(value, str)}
        service, method = split_method(call.method)
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method, "request_id": call.request_id}
        parent = propagate.extract(sent)
        span = tracer.start_span(f"{service}/{method}", parent, trace.SpanKind.SERVER, attributes)

        def ended(code: grpc.StatusCode) -> None:
            span.set_attribute("rpc.grpc.status_code", code.value[0])
            if code in _OUR_FAULT:
                span.set_status(trace.StatusCode.ERROR, code.name)

        # gRPC runs every call in a task of its own, so there is nothing to detach; and a stream that its client has left may be
        # closed by another task, where it could not be. No exception is recorded: an aborted call is none of ours, and one
        # that is ours has its traceback in the log.
        context.attach(trace.set_span_in_context(span, parent))
        try:
            yield ended
        finally:
            span.end()

    return span_of
