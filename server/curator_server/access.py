"""Who may call what, and from when on: the table from methods to scopes, and the interceptors that ask for a token and for time.

A method that is missing from the table is closed to everyone as long as tokens are asked for; a test proves that none is
missing. Health checks are open, because probes carry no tokens. A caller without a known token gets UNAUTHENTICATED, one
whose token lacks the scope PERMISSION_DENIED; neither reaches the handler, and no answer says what tokens there are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from curator_server.calls import StatusError, handler_kind, split_method
from curator_server.tokens import Scope, TokenFile

ANY = frozenset(Scope)
"""Every token will do."""
_SCORE, _JOBS, _ADMIN = frozenset({Scope.SCORE}), frozenset({Scope.JOBS}), frozenset({Scope.ADMIN})
OPEN_SERVICES = frozenset({"grpc.health.v1.Health"})
"""Services that ask for no token."""

SCOPES: dict[str, dict[str, frozenset[Scope]]] = {
    "curator.api.v1.ScoringService": {"ScoreBatch": _SCORE, "ScoreDocuments": _SCORE, "FilterDocuments": _SCORE},
    "curator.api.v1.CatalogService": {
        "GetServerInfo": ANY,
        "GetModel": ANY,
        "ListModels": ANY,
        "GetNeuronSet": ANY,
        "ListNeuronSets": ANY,
        "LoadModel": _ADMIN,
        "UnloadModel": _ADMIN,
        "DeleteNeuronSet": _ADMIN,
        "GetAtlas": ANY,
        "ListAtlases": ANY,
        "DeleteAtlas": _ADMIN,
        "GetReport": ANY,
        "ListReports": ANY,
    },
    "curator.api.v1.JobService": {
        "CreateJob": _JOBS,
        "GetJob": _JOBS,
        "ListJobs": _JOBS,
        "ListArtifacts": _JOBS,
        "CancelJob": _JOBS,
        "DeleteJob": _JOBS,
        "WatchJob": _JOBS,
        "DownloadArtifact": _JOBS,
    },
    "grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": ANY},
}
"""Service -> method -> the scopes of which a token needs one."""

_Details = grpc.HandlerCallDetails
_Continuation = Callable[[_Details], Awaitable[Any]]
_NO_TOKEN = "This server needs a bearer token; send authorization: Bearer ..."  # noqa: S105  a sentence
_STARTING = "The server is starting; try again shortly."
_WRONG_SCOPE = "The token does not allow this method; use one with the scope {}."


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls without a known bearer token of the right scope."""

    def __init__(self, tokens: TokenFile) -> None:
        self._tokens = tokens

    async def intercept_service(self, continuation: _Continuation, handler_call_details: _Details) -> Any:
        """Let the call through, or answer UNAUTHENTICATED or PERMISSION_DENIED in its place."""
        handler = await continuation(handler_call_details)
        service, method = split_method(handler_call_details.method)
        if handler is None or service in OPEN_SERVICES:
            return handler
        given = self._tokens.scopes_of(_bearer(handler_call_details))
        if given is None:
            return _refusing(handler, grpc.StatusCode.UNAUTHENTICATED, _NO_TOKEN)
        wanted = SCOPES.get(service, {}).get(method, frozenset())
        if not given & wanted:
            message = _WRONG_SCOPE.format(" or ".join(sorted(wanted)) or "of a later version")
            return _refusing(handler, grpc.StatusCode.PERMISSION_DENIED, message)
        return handler


class StartingInterceptor(grpc.aio.ServerInterceptor):
    """Answers UNAVAILABLE while the server starts, but for health, which says so.

    A call that came before the kept neuron sets are offered would be told that there are none, and a job would be begun twice.
    """

    def __init__(self) -> None:
        self.started = False

    async def intercept_service(self, continuation: _Continuation, handler_call_details: _Details) -> Any:
        """Let the call through once the server has started."""
        handler = await continuation(handler_call_details)
        service, _ = split_method(handler_call_details.method)
        if handler is None or self.started or service in OPEN_SERVICES:
            return handler
        return _refusing(handler, grpc.StatusCode.UNAVAILABLE, _STARTING)


def _bearer(details: _Details) -> bytes:
    """The token of a call, empty without one; the scheme's case does not matter (RFC 7235)."""
    for key, value in details.invocation_metadata or ():
        if key == "authorization":
            scheme, _, token = (value.decode(errors="replace") if isinstance(value, bytes) else value).partition(" ")
            return token.strip().encode() if scheme.lower() == "bearer" else b""
    return b""


def _refusing(handler: Any, code: grpc.StatusCode, message: str) -> Any:
    async def refuse(request: Any, context: grpc.aio.ServicerContext) -> None:
        raise StatusError(code, message)

    # Without a deserializer the request stays bytes: a stranger's message costs its size, not 52 times as much.
    return handler._replace(**{handler_kind(handler): refuse, "request_deserializer": None})
