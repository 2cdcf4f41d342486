"""What wraps every call: errors become statuses, tokens are checked, outcomes are counted.

A CuratorError becomes the status of the one table in ``curator.api.status``; anything else becomes "internal error" with a
request id, and the log has the traceback under the same id. Health checks are exempt from tokens, because probes carry none.
"""

from __future__ import annotations

import hmac
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from curator.api.status import DETAILS_KEY, RULES, status_from_error
from curator.errors import CuratorError

logger = logging.getLogger(__name__)

_Details = grpc.HandlerCallDetails
_Continuation = Callable[[_Details], Awaitable[Any]]
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_OPEN_PREFIX = "/grpc.health.v1.Health/"


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Turns exceptions of handlers into statuses with details."""

    async def intercept_service(self, continuation: _Continuation, handler_call_details: _Details) -> Any:
        """Wrap the handler of the call, whatever its kind."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        if handler.request_streaming and handler.response_streaming:
            return handler._replace(stream_stream=_guarded(handler.stream_stream, method))
        if not handler.request_streaming and not handler.response_streaming:
            return handler._replace(unary_unary=_guarded(handler.unary_unary, method))
        return handler


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls without a known bearer token, comparing in constant time."""

    def __init__(self, tokens: frozenset[bytes]) -> None:
        self._tokens = tokens

    async def intercept_service(self, continuation: _Continuation, handler_call_details: _Details) -> Any:
        """Let the call through, or answer UNAUTHENTICATED in its place."""
        handler = await continuation(handler_call_details)
        if (
            handler is None
            or handler_call_details.method.startswith(_OPEN_PREFIX)
            or self._allows(handler_call_details)
        ):
            return handler
        kind = f"{'stream' if handler.request_streaming else 'unary'}_{'stream' if handler.response_streaming else 'unary'}"
        return handler._replace(**{kind: _deny})

    def _allows(self, details: _Details) -> bool:
        metadata = dict(details.invocation_metadata or ())
        given = str(metadata.get("authorization", "")).removeprefix("Bearer ").encode()
        return any([hmac.compare_digest(given, token) for token in self._tokens])  # noqa: C419  no early exit on purpose


async def _deny(request: Any, context: grpc.aio.ServicerContext) -> None:
    await context.abort(
        grpc.StatusCode.UNAUTHENTICATED, "This server needs a bearer token; send authorization: Bearer ..."
    )


def _guarded(behaviour: Callable[..., Any], method: str) -> Callable[..., Awaitable[Any]]:
    async def guarded(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await behaviour(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001  the edge of the process: logged and answered in _abort
            await _abort(context, error, method)

    return guarded


async def _abort(context: grpc.aio.ServicerContext, error: Exception, method: str) -> None:
    request_id = uuid.uuid4().hex
    if not isinstance(error, CuratorError) or not RULES[error.code].public:
        logger.error("call failed", exc_info=error, extra={"method": method, "request_id": request_id})
    status = status_from_error(error, request_id=request_id)
    details = ((DETAILS_KEY, status.SerializeToString()),)
    await context.abort(_CODES[status.code], status.message, trailing_metadata=details)
