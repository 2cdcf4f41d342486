"""Arrays in one safetensors file, written and read through memory maps, so that no artifact needs to fit in memory.

The safetensors library writes a file from arrays that are all in memory; here the header is written first, the disk space is
reserved, and the arrays are filled in place, in any order. A disk that is too small is therefore an error before the work
begins, and never a bus error in the middle. Files are ordinary safetensors: any reader of the format opens them.
Cost: nothing beyond the bytes. It does not know what the arrays mean, and it does not check content: callers keep hashes.

Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from curator.errors import ArtifactError
from curator.files import storage_errors

Specs = Mapping[str, tuple[Any, tuple[int, ...]]]
_NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
_DTYPES = {name: np.dtype(dtype) for dtype, name in _NAMES.items()}
_MAX_HEADER = 100 << 20
_ALIGNMENT = 64


def total_bytes(specs: Specs) -> int:
    """Bytes of the arrays of a file."""
    return sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in specs.values())


def create_tensors(path: Path, specs: Specs, metadata: Mapping[str, str] | None = None) -> dict[str, np.ndarray]:
    """A new file with room for the arrays, all zero, and writable views of them.

    Raises StorageError when the disk has no room.
    """
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    by_alignment = sorted(specs.items(), key=lambda item: -np.dtype(item[1][0]).itemsize)
    for name, (dtype, shape) in by_alignment:
        size = np.dtype(dtype).itemsize * math.prod(shape)
        entries[name] = {"dtype": _NAMES[np.dtype(dtype).name], "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-(8 + len(header)) % _ALIGNMENT)
    start = 8 + len(header)
    with storage_errors(path), path.open("wb") as handle:
        handle.write(len(header).to_bytes(8, "little") + header)
        handle.flush()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle.fileno(), 0, start + at)
        else:
            handle.truncate(start + at)  # macOS reserves nothing
    return _views(path, entries, start, "r+")


def open_tensors(path: Path, *, writable: bool = False) -> dict[str, np.ndarray]:
    """Views of a file's arrays. Raises ArtifactError when it is absent, cut short or no safetensors file."""
    entries, start = _header(path)
    return _views(path, entries, start, "r+" if writable else "r")


def read_metadata(path: Path) -> dict[str, str]:
    """The strings that were stored beside the arrays. Raises as ``open_tensors``."""
    return _header(path)[0].get("__metadata__", {})


def flush(arrays: Mapping[str, np.ndarray]) -> None:
    """Hand what was written to the disk."""
    for array in arrays.values():
        if isinstance(array, np.memmap):
            array.flush()


def _header(path: Path) -> tuple[dict[str, Any], int]:
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            entries: dict[str, Any] = json.loads(handle.read(length) if 0 < length <= _MAX_HEADER else b"")
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
        if path.stat().st_size != 8 + length + max(ends, default=0):
            raise ValueError("cut short")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path} is no complete safetensors file; make it again.") from error
    return entries, 8 + length


def _views(path: Path, entries: Mapping[str, Any], start: int, mode: Any) -> dict[str, np.ndarray]:
    views: dict[str, np.ndarray] = {}
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        dtype, shape = _DTYPES.get(entry["dtype"]), tuple(entry["shape"])
        if dtype is None or entry["data_offsets"][1] - entry["data_offsets"][0] != dtype.itemsize * math.prod(shape):
            raise ArtifactError(f"The array {name!r} in {path} is of another kind than this version writes.")
        if math.prod(shape):
            views[name] = np.memmap(path, dtype, mode, start + entry["data_offsets"][0], shape)
        else:
            views[name] = np.zeros(shape, dtype)
    return views
