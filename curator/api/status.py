"""One table between ``curator.errors`` and gRPC: code -> status, whether the message is public, and the way back.

Every status that the server sends on purpose carries ``google.rpc.ErrorInfo`` with the error's code as reason and
``rosetta-curator`` as domain; OVERLOADED also carries ``google.rpc.RetryInfo``, and only a RESOURCE_EXHAUSTED with RetryInfo
may be retried. ``grpc-retry-pushback-ms``, as proxies send it, counts as RetryInfo; a negative one forbids the retry (gRFC A6).
The message of a non-public code never leaves the process: the client reads "internal error" and a request id that the
operator finds in the log. The client rebuilds the same exception class from the reason; a status without a reason (written
by gRPC itself or by a proxy) is mapped by its status code alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from curator import errors
from curator.records import Rejection, RejectReason

DOMAIN = "rosetta-curator"
DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
DEFAULT_RETRY_DELAY_S = 0.25
SHOWN_CHARS = 80
"""As much of what a caller sent is shown in an error: a status travels in headers, which gRPC ends calls for above 8 KiB."""
_LONGEST_PUSHBACK_S = 3600.0


@dataclass(frozen=True, slots=True)
class StatusRule:
    """What the wire says for one error code."""

    status: grpc.StatusCode
    public: bool = True


RULES: dict[str, StatusRule] = {
    "INTERNAL": StatusRule(grpc.StatusCode.INTERNAL, public=False),
    "CONFIG_INVALID": StatusRule(grpc.StatusCode.INVALID_ARGUMENT),
    "EXTRA_MISSING": StatusRule(grpc.StatusCode.UNIMPLEMENTED),
    "SOURCE_UNREADABLE": StatusRule(grpc.StatusCode.FAILED_PRECONDITION),
    "SOURCE_NOT_FOUND": StatusRule(grpc.StatusCode.NOT_FOUND),
    "DOCUMENT_INVALID": StatusRule(grpc.StatusCode.INVALID_ARGUMENT),
    "LIMIT_EXCEEDED": StatusRule(grpc.StatusCode.RESOURCE_EXHAUSTED),
    "MODEL_UNUSABLE": StatusRule(grpc.StatusCode.FAILED_PRECONDITION),
    "MODEL_NOT_FOUND": StatusRule(grpc.StatusCode.NOT_FOUND),
    "ARCHITECTURE_UNKNOWN": StatusRule(grpc.StatusCode.FAILED_PRECONDITION),
    "ARTIFACT_CORRUPT": StatusRule(grpc.StatusCode.DATA_LOSS),
    "ARTIFACT_NOT_FOUND": StatusRule(grpc.StatusCode.NOT_FOUND),
    "FINGERPRINT_MISMATCH": StatusRule(grpc.StatusCode.FAILED_PRECONDITION),
    "STORAGE_FULL": StatusRule(grpc.StatusCode.INTERNAL),
    "DATA_INSUFFICIENT": StatusRule(grpc.StatusCode.FAILED_PRECONDITION),
    "OVERLOADED": StatusRule(grpc.StatusCode.RESOURCE_EXHAUSTED),
    "SERVER_UNREACHABLE": StatusRule(grpc.StatusCode.UNAVAILABLE),
    "JOB_CONFLICT": StatusRule(grpc.StatusCode.FAILED_PRECONDITION),
    "JOB_NOT_FOUND": StatusRule(grpc.StatusCode.NOT_FOUND),
    "ALREADY_EXISTS": StatusRule(grpc.StatusCode.ALREADY_EXISTS),
    "CANCELLED": StatusRule(grpc.StatusCode.CANCELLED),
}

_WITHOUT_REASON: dict[grpc.StatusCode, tuple[type[errors.CuratorError], str]] = {
    grpc.StatusCode.UNAVAILABLE: (
        errors.UnreachableError,
        "The server cannot be reached; check the address and retry.",
    ),
    grpc.StatusCode.DEADLINE_EXCEEDED: (errors.UnreachableError, "The server did not answer in time; retry."),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (errors.LimitError, "The message is over a size limit; send smaller batches."),
    grpc.StatusCode.INVALID_ARGUMENT: (errors.ConfigError, "The server refused the request; check its fields."),
    grpc.StatusCode.UNAUTHENTICATED: (
        errors.ConfigError,
        "The server needs a valid bearer token; give one (--token-file, or token= in Python).",
    ),
    grpc.StatusCode.PERMISSION_DENIED: (errors.ConfigError, "The token does not allow this; use another token."),
    grpc.StatusCode.UNIMPLEMENTED: (
        errors.ConfigError,
        "The server does not offer this method; start it with --jobs FOLDER if it is about jobs, else update it.",
    ),
    grpc.StatusCode.NOT_FOUND: (errors.ArtifactNotFoundError, "The server does not have this resource."),
    grpc.StatusCode.ALREADY_EXISTS: (errors.AlreadyExistsError, "The name is taken; choose another one."),
    grpc.StatusCode.FAILED_PRECONDITION: (
        errors.FingerprintError,
        "The server is not in the state that was asked for.",
    ),
    grpc.StatusCode.CANCELLED: (errors.CancelledJobError, "The call was cancelled."),
}

_REASON_STATUS: dict[RejectReason, grpc.StatusCode] = {
    RejectReason.SCORING_FAILED: grpc.StatusCode.INTERNAL,
    RejectReason.RECORD_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
}

PLACE_CHARS = 256
"""As much of a document's place: a batch of long ids would come back as an answer that is too large to be received."""


def shortened(text: str, limit: int = SHOWN_CHARS) -> str:
    """The text, or its beginning and an ellipsis, together ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def status_from_error(
    error: BaseException, *, request_id: str = "", retry_delay_s: float = DEFAULT_RETRY_DELAY_S
) -> status_pb2.Status:
    """The status for any exception; one that is not a CuratorError, or not public, becomes "internal error"."""
    code = error.code if isinstance(error, errors.CuratorError) else "INTERNAL"
    rule = RULES[code]
    message = str(error) if rule.public else f"internal error, request {request_id}" if request_id else "internal error"
    status = status_pb2.Status(code=rule.status.value[0], message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=code, domain=DOMAIN))
    if code == "OVERLOADED":
        _add_retry_info(status, retry_delay_s)
    return status


def error_from_status(status: status_pb2.Status) -> errors.CuratorError:
    """The exception that a status stands for: by reason where there is one of ours, else by status code."""
    reason = _reason_of(status)
    for cls in errors.all_error_classes():
        if cls.code == reason:
            return cls(status.message)
    code = next((code for code in grpc.StatusCode if code.value[0] == status.code), grpc.StatusCode.UNKNOWN)
    cls, advice = _WITHOUT_REASON.get(code, (errors.CuratorError, "The call failed."))
    if (
        cls is errors.UnreachableError and _retry_info(status) is not None
    ):  # somebody is there, and says when to come back
        cls, advice = errors.OverloadedError, "The server cannot take this now; retry."
    return cls(f"{advice} ({code.name}: {status.message})")


def status_from_call(call: grpc.RpcError | grpc.Call) -> status_pb2.Status:
    """The full status of a failed call, from its trailing metadata or else from its code and details."""
    pairs: Any = call.trailing_metadata() or ()  # type: ignore[union-attr]
    trailing = {key: value for key, value in pairs}  # noqa: C416  dict() fails on the metadata of grpc.aio
    if DETAILS_KEY in trailing:
        details = trailing[DETAILS_KEY]
        status = status_pb2.Status.FromString(details if isinstance(details, bytes) else details.encode())
    else:
        status = status_pb2.Status(code=call.code().value[0], message=call.details() or "")  # type: ignore[union-attr]
    if PUSHBACK_KEY in trailing and _retry_info(status) is None:
        _add_retry_info(status, _pushback_s(trailing[PUSHBACK_KEY]))
    return status


def retry_delay_s(status: status_pb2.Status) -> float | None:
    """Seconds to wait before trying again, 0.0 for UNAVAILABLE without advice, None when a retry is not allowed."""
    advised = _retry_info(status)
    if advised is not None:
        return advised if advised >= 0 else None
    return 0.0 if status.code == grpc.StatusCode.UNAVAILABLE.value[0] else None


def status_from_rejection(rejection: Rejection) -> status_pb2.Status:
    """The status of one failed document; the reject reason in upper case is the ErrorInfo reason, a long place is cut."""
    code = _REASON_STATUS.get(rejection.reason, grpc.StatusCode.INVALID_ARGUMENT)
    status = status_pb2.Status(code=code.value[0], message=rejection.detail)
    place = shortened(rejection.place, PLACE_CHARS)
    info = error_details_pb2.ErrorInfo(reason=rejection.reason.name, domain=DOMAIN, metadata={"place": place})
    status.details.add().Pack(info)
    return status


def rejection_from_status(status: status_pb2.Status) -> Rejection:
    """The rejection that a document's status stands for; an unknown reason becomes SCORING_FAILED."""
    info = _error_info(status)
    try:
        reason = RejectReason[info.reason]
    except KeyError:
        reason = RejectReason.SCORING_FAILED
    return Rejection(info.metadata.get("place", ""), reason, status.message)


def _retry_info(status: status_pb2.Status) -> float | None:
    retry = error_details_pb2.RetryInfo()
    found = any(detail.Unpack(retry) for detail in status.details)
    return retry.retry_delay.ToTimedelta().total_seconds() if found else None


def _add_retry_info(status: status_pb2.Status, seconds: float) -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromTimedelta(timedelta(seconds=seconds))
    status.details.add().Pack(retry)


def _pushback_s(value: str | bytes) -> float:
    """Seconds of a pushback, an hour at most; a negative one, or what is no number, forbids the retry."""
    try:
        return min(max(int(value) / 1000, -1.0), _LONGEST_PUSHBACK_S)
    except ValueError:
        return -1.0


def _error_info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            return info
    return error_details_pb2.ErrorInfo()


def _reason_of(status: status_pb2.Status) -> str:
    return _error_info(status).reason
