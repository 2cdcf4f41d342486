"""What wraps every call: it gets a request id, its errors become statuses, its outcome is counted, timed and logged.

A CuratorError becomes the status of the one table in ``curator.api.status``; anything else becomes "internal error" with the
request id, under which the log has the traceback. The id is echoed in the trailing metadata and, of failed calls, in the
``google.rpc.RequestInfo`` detail. A status that may be retried says when: RetryInfo for our clients, ``grpc-retry-pushback-ms``
for gRPC's own retries; after UNAVAILABLE each caller is told another time, for they all come back. A message is cut where it
repeats too much of what the caller sent: of headers above 8 KiB nothing would be read. Successful unary calls are logged at
DEBUG, since a client can make thousands a second; all else at INFO.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from inspect import isasyncgenfunction
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from prometheus_client import Counter

from curator.api.status import DETAILS_KEY, DOMAIN, PUSHBACK_KEY, RULES, retry_delay_s, shortened, status_from_error
from curator.errors import ConfigError, CuratorError
from curator_server.calls import CURRENT, REQUEST_ID_KEY, Call, StatusError, handler_kind
from curator_server.metrics import ServerMetrics
from curator_server.tracing import CallSpans, SpanEnd

logger = logging.getLogger(__name__)

_Details = grpc.HandlerCallDetails
_Continuation = Callable[[_Details], Awaitable[Any]]
_Behaviour = Callable[..., Any]
Rescues = Mapping[str, Callable[[bytes], Any]]
"""Method -> what still makes a request of bytes that its deserializer refuses; raises DecodeError when nothing does."""
_MESSAGE_CHARS, _MESSAGE_BYTES = (
    512,
    1024,
)  # a header spells each byte beyond ASCII with three, and the details repeat it
_COME_BACK_MS = (100, 500)
_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE.value[0]
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class CallInterceptor(grpc.aio.ServerInterceptor):
    """The outermost interceptor; what others refuse is counted and logged here too."""

    def __init__(self, metrics: ServerMetrics, spans: CallSpans | None = None, rescues: Rescues | None = None) -> None:
        self._metrics = metrics
        self._spans = spans
        self._rescues = rescues or {}

    async def intercept_service(self, continuation: _Continuation, handler_call_details: _Details) -> Any:
        """Wrap the handler of the call, whatever its kind; a method that nobody offers stays gRPC's affair."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        call = Call.from_metadata(handler_call_details.method, handler_call_details.invocation_metadata)
        kind = handler_kind(handler)
        behaviour: _Behaviour = getattr(handler, kind)
        wrap = self._generating if isasyncgenfunction(behaviour) else self._awaiting
        rescue = self._rescues.get(call.method)
        reading = _reading(handler.request_deserializer, rescue, returns=not handler.request_streaming)
        received, sent = self._metrics.messages(call, kind)
        return handler._replace(
            **{kind: wrap(behaviour, call, kind)},
            request_deserializer=_counting(reading, received),
            response_serializer=_counting(handler.response_serializer, sent),
        )

    def _awaiting(self, behaviour: _Behaviour, call: Call, kind: str) -> _Behaviour:
        async def guarded(request: Any, context: grpc.aio.ServicerContext) -> Any:
            with self._observed(call, kind, context):
                try:
                    if isinstance(request, ConfigError):
                        raise request
                    return await behaviour(request, context)
                except grpc.aio.AbortError:
                    raise
                except Exception as error:  # noqa: BLE001  the edge of the process: logged and answered in _abort
                    await _abort(context, error, call)

        return guarded

    def _generating(self, behaviour: _Behaviour, call: Call, kind: str) -> _Behaviour:
        async def guarded(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            with self._observed(call, kind, context):
                try:
                    if isinstance(request, ConfigError):
                        raise request
                    async for response in behaviour(request, context):
                        yield response
                except grpc.aio.AbortError:
                    raise
                except Exception as error:  # noqa: BLE001
                    await _abort(context, error, call)

        return guarded

    @contextmanager
    def _observed(self, call: Call, kind: str, context: grpc.aio.ServicerContext) -> Iterator[None]:
        """The call as the current one, in its span, then its outcome."""
        with ExitStack() as stack:
            ended = (
                None if self._spans is None else stack.enter_context(self._spans(call, context.invocation_metadata()))
            )
            with self._timed(call, kind, context, ended):
                yield

    @contextmanager
    def _timed(self, call: Call, kind: str, context: grpc.aio.ServicerContext, ended: SpanEnd | None) -> Iterator[None]:
        CURRENT.set(call)  # gRPC runs every call in a task of its own, so there is nothing to restore
        context.set_trailing_metadata(((REQUEST_ID_KEY, call.request_id),))
        self._metrics.started(call, kind)
        began, code = time.perf_counter(), grpc.StatusCode.OK
        try:
            yield
        except grpc.aio.AbortError:
            code = _code_of(context)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            late = context.time_remaining()
            expired = late is not None and late <= 0
            code = grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED
            raise
        finally:
            seconds = time.perf_counter() - began
            self._metrics.handled(call, kind, code, seconds)
            if ended is not None:
                ended(code)
            _log_outcome(call, kind, code, seconds, context)


def _status_of(error: Exception, call: Call) -> status_pb2.Status:
    """The status that an exception becomes; one that clients must not read goes to the log."""
    if isinstance(error, StatusError):
        status = status_pb2.Status(code=error.code.value[0], message=str(error))
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.code.name, domain=DOMAIN))
        return status
    if not isinstance(error, CuratorError) or not RULES[error.code].public:
        logger.error("call failed", exc_info=error, extra=call.log_fields)
    return status_from_error(error, request_id=call.request_id)


def _reading(deserializer: _Behaviour | None, rescue: _Behaviour | None, *, returns: bool) -> _Behaviour | None:
    """A deserializer that makes bytes which are no message our error.

    A stream's messages are read inside its handler, where raising is right. A unary request is read before, where gRPC would
    send the exception to the client as it is; there the error takes the request's place and is raised by the handler.
    """
    if deserializer is None:
        return None

    def read(data: bytes) -> Any:
        try:
            return _parsed(data, deserializer, rescue)
        except DecodeError as error:
            refusal = ConfigError("The request is not a message of this method; update the client or the server.")
            if returns:
                return refusal
            raise refusal from error

    return read


def _counting(convert: _Behaviour | None, counted: Counter) -> _Behaviour | None:
    """A (de)serializer that counts its messages; where there is none, messages stay bytes and are not counted."""
    if convert is None:
        return None

    def counting(message: Any) -> Any:
        counted.inc()
        return convert(message)

    return counting


def _parsed(data: bytes, deserializer: _Behaviour, rescue: _Behaviour | None) -> Any:
    try:
        return deserializer(data)
    except DecodeError:
        if rescue is None:
            raise
    return rescue(data)


def _code_of(context: Any) -> grpc.StatusCode:
    code = context.code()
    return code if isinstance(code, grpc.StatusCode) else _CODES.get(code, grpc.StatusCode.UNKNOWN)


def _log_outcome(call: Call, kind: str, code: grpc.StatusCode, seconds: float, context: Any) -> None:
    quiet = code is grpc.StatusCode.OK and kind == "unary_unary"
    level = logging.DEBUG if quiet else logging.INFO
    if logger.isEnabledFor(level):
        told = {**call.log_fields, "code": code.name, "seconds": round(seconds, 6), "peer": context.peer()}
        logger.log(level, "call ended", extra=told)


def _cut(message: str) -> str:
    short = shortened(message, _MESSAGE_CHARS)
    return short if len(short.encode()) <= _MESSAGE_BYTES else shortened(message, _MESSAGE_BYTES // 4)


async def _abort(context: grpc.aio.ServicerContext, error: Exception, call: Call) -> None:
    status = _status_of(error, call)
    status.message = _cut(status.message)
    if status.code == _UNAVAILABLE:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(random.randint(*_COME_BACK_MS))  # noqa: S311  no secret, only spread
        status.details.add().Pack(retry)
    status.details.add().Pack(error_details_pb2.RequestInfo(request_id=call.request_id))
    trailing: list[tuple[str, str | bytes]] = [
        (REQUEST_ID_KEY, call.request_id),
        (DETAILS_KEY, status.SerializeToString()),
    ]
    delay = retry_delay_s(status)
    if delay is not None:
        trailing.append((PUSHBACK_KEY, str(round(delay * 1000))))
    await context.abort(_CODES[status.code], status.message, trailing_metadata=tuple(trailing))
