"""Content fingerprints: SHA-256 over canonical bytes, so that equal things have equal names on every machine.

A fingerprint is 64 hex digits. JSON is made canonical (sorted keys, no spaces, UTF-8, no NaN) before hashing. Cost: one
pass over the bytes. It does not know what the bytes mean: callers decide what belongs to an identity.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

_BLOCK_BYTES = 1 << 20


def of_bytes(data: bytes) -> str:
    """Fingerprint of one byte string."""
    return hashlib.sha256(data).hexdigest()


def of_text(text: str) -> str:
    """Fingerprint of one text, encoded as UTF-8."""
    return of_bytes(text.encode("utf-8", "surrogatepass"))


def of_json(value: Any) -> str:
    """Fingerprint of a JSON value; raises ValueError for NaN or infinity, TypeError for what JSON cannot hold."""
    return of_text(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False))


def of_parts(parts: Iterable[str]) -> str:
    """Fingerprint of an ordered sequence of strings, each framed by its length so that boundaries count."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def of_file(path: Path) -> str:
    """Fingerprint of a file's bytes, read in blocks of 1 MiB."""
    with path.open("rb") as handle:
        return of_stream(handle)


def of_stream(stream: IO[bytes]) -> str:
    """Fingerprint of the bytes that are left in a stream, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    while block := stream.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def unit_interval(*parts: str) -> float:
    """A reproducible number in [0, 1) from strings; the basis of every hash split in the project."""
    return int(of_parts(parts)[:13], 16) / float(1 << 52)
