"""What travels with a call beside its message: the token, the caller's own metadata, a request id, the place in a trace.

Each call gets a fresh ``x-request-id``, under which the server's log has it; an error that reaches the caller has it as a
note. Where the process uses OpenTelemetry (its interface has been imported by someone else; it is never imported for this),
the current context travels as ``traceparent``, by the propagators that the process has chosen.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable

from curator.errors import CuratorError

Metadata = tuple[tuple[str, str], ...]
MetadataSource = Metadata | Callable[[], Metadata]
"""Pairs, or a function that is asked for them at each call."""
REQUEST_ID = "x-request-id"


def call_metadata(token: str, given: MetadataSource) -> Metadata:
    """The metadata of one call; what the caller gave comes before what is made here."""
    pairs = {"authorization": f"Bearer {token}"} if token else {}
    own = tuple((key.lower(), value) for key, value in (given() if callable(given) else given))
    pairs.update(_trace())
    pairs[REQUEST_ID] = uuid.uuid4().hex
    named = {key for key, _ in own}
    return (*own, *((key, value) for key, value in pairs.items() if key not in named))


def noted(error: CuratorError, metadata: Metadata) -> CuratorError:
    """The error with a note of the request id."""
    error.add_note(f"The server's log has this call under {REQUEST_ID} {dict(metadata)[REQUEST_ID]}.")
    return error


def _trace() -> dict[str, str]:
    if "opentelemetry" not in sys.modules:
        return {}
    from opentelemetry import propagate

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return {key.lower(): value for key, value in carrier.items()}
