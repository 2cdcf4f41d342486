"""What is known about the call that is being handled: its request id, its trace, its method; and how the log learns of it.

The caller may name a call with ``x-request-id`` metadata (128 letters, digits and ``._:-`` at most; anything else is replaced,
because ids stand in logs) and place it in a trace with ``traceparent`` (W3C Trace Context). Both hold for every line that is
logged on behalf of the call, in tasks and threads that it starts too; the engine's thread works for many calls and names them
itself. The call is kept in a context variable: one for each task, never shared.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import grpc

REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True, slots=True)
class Call:
    """One call: ``method`` is ``/service/name``; the trace is empty where the caller sent none."""

    method: str
    request_id: str
    trace_id: str = ""
    parent_span_id: str = ""

    @classmethod
    def from_metadata(cls, method: str, metadata: Any) -> Call:
        """The call that metadata describes, with a fresh request id where they name none."""
        found = {key: value for key, value in metadata or () if isinstance(value, str)}
        given = found.get(REQUEST_ID_KEY, "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        return cls(method, request_id, *parse_traceparent(found.get("traceparent", "")))

    @property
    def service(self) -> str:
        """Full name of the service."""
        return split_method(self.method)[0]

    @property
    def log_fields(self) -> dict[str, str]:
        """What every log line of the call carries."""
        fields = {"method": self.method, "request_id": self.request_id}
        if self.trace_id:
            fields |= {"trace_id": self.trace_id, "parent_span_id": self.parent_span_id}
        return fields

    @property
    def carried(self) -> dict[str, str]:
        """What work that outlives the call is told of it: ``request_id`` and, in a trace, ``traceparent``."""
        carried = {"request_id": self.request_id}
        if self.trace_id:
            carried["traceparent"] = f"00-{self.trace_id}-{self.parent_span_id}-01"
        return carried


class StatusError(Exception):
    """An answer that is a gRPC status and no error of the library: who may call, and what is not offered here."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


CURRENT: ContextVar[Call | None] = ContextVar("curator_server_call", default=None)
"""The call that this task works for."""


def request_id() -> str:
    """Request id of the current call; empty outside calls."""
    call = CURRENT.get()
    return "" if call is None else call.request_id


def split_method(method: str) -> tuple[str, str]:
    """Full name of the service and name of the method in ``/service/name``."""
    service, _, name = method.lstrip("/").partition("/")
    return service, name


def parse_traceparent(header: str) -> tuple[str, str]:
    """Trace id and parent span id of a ``traceparent``; two empty strings when it is absent or not valid.

    https://www.w3.org/TR/trace-context/: version ff and ids of zeros are invalid, and later versions may be longer.
    """
    found = _TRACEPARENT.fullmatch(header)
    if found is None:
        return "", ""
    version, trace_id, span_id, _, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return "", ""
    return trace_id, span_id


class CallFields(logging.Filter):
    """Adds the fields of the current call to log records; what a record says of itself stays."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True: nothing is dropped."""
        call = CURRENT.get()
        for name, value in ({} if call is None else call.log_fields).items():
            if name not in record.__dict__:
                setattr(record, name, value)
        return True


@contextmanager
def call_fields_in_logs() -> Iterator[None]:
    """For the length of the block, every line that the process's log handlers write names its call."""
    added = CallFields()
    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(added)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(added)


def handler_kind(handler: Any) -> str:
    """Name of the field of a ``grpc.RpcMethodHandler`` that holds its behaviour; also the kind of the method."""
    return f"{'stream' if handler.request_streaming else 'unary'}_{'stream' if handler.response_streaming else 'unary'}"
