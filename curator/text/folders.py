"""Which files a path, folder or glob of this machine stands for, and what is said of those that are passed over.

Suffixes are compared without case. A ``.json`` file is read where it begins with a record in one line. A folder stands for its
own files and for the Arrow folders in it, not for its subfolders: these may hold what was rejected, or scores; a glob with ``**``
names them. Hidden files, files that are still being written and what describes a corpus (README.md, LICENSE, manifest.json, ...)
are passed over without a word, everything else in one warning that counts it. Costs one listing, and one read of each ``.json``.
"""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

from curator.errors import ConfigError, SourceError, SourceNotFoundError
from curator.files import is_partial
from curator.text.uris import FILE_SUFFIXES, JSON_SUFFIX, JSONL_SUFFIXES, has_suffix

ARROW_FOLDER_MARKS = (("state.json", "dataset_info.json"), ("dataset_dict.json",))
WHAT_IS_READ = ".jsonl, .jsonl.gz and .jsonl.zst (.ndjson and .json alike, where each line is a record), and .parquet"
HEAD_BYTES = 1 << 20
_FILTER_OUTPUT_MARKS = ("manifest.json", "decisions.parquet")
_REJECTIONS = ("unreadable.jsonl", "refused.jsonl")
"""Beside a manifest: what a client's filter could not read or send."""
_BESIDE_TEXT = ("readme", "license", "manifest.json", "dataset_info", "dataset_dict.json", "state.json", "checksum")
_SHOWN = 3
_SHOWN_CHARACTERS = 80
_log = logging.getLogger(__name__)


def find_files(location: str) -> list[Path]:
    """Files and Arrow folders that a path, folder or glob stands for, sorted; never empty.

    Raises SourceNotFoundError when nothing is there, ConfigError when a single file is none that is read or the folder is the
    output of a filter, SourceError when it may not be looked at.
    """
    try:
        return _found(Path(location).expanduser(), location)
    except OSError as error:
        start = location[:_SHOWN_CHARACTERS]
        shown = start if start == location else f"{start}..."
        if error.errno == errno.ENAMETOOLONG:
            raise SourceNotFoundError(
                f"There is nothing at {shown}, a name that is too long; check the path."
            ) from error
        raise SourceError(
            f"{shown} cannot be looked at ({error.strerror}); check the path and its permissions."
        ) from error


def is_arrow_folder(path: Path) -> bool:
    """Whether ``datasets`` wrote this folder with ``save_to_disk``."""
    return path.is_dir() and any(all((path / name).is_file() for name in names) for names in ARROW_FOLDER_MARKS)


def is_text_file(name: str, head: Callable[[], bytes]) -> bool:
    """Whether a file of this name is read; ``head`` gives its first bytes, and is asked for where the name does not tell."""
    return has_suffix(name, FILE_SUFFIXES) and (not has_suffix(name, JSON_SUFFIX) or _begins_with_a_record(head()))


def is_beside(name: str) -> bool:
    """Whether a file is hidden, still being written, or describes a corpus."""
    return name.startswith(".") or is_partial(Path(name)) or name.lower().startswith(_BESIDE_TEXT)


def require_text_file(name: str, head: Callable[[], bytes]) -> None:
    """Raise ConfigError for a file that was named by itself and is not read."""
    if not has_suffix(name, FILE_SUFFIXES):
        raise ConfigError(f"{name} has a suffix that is not read; read are {WHAT_IS_READ}.")
    if not is_text_file(name, head):
        stem = name.rpartition(".")[0]
        raise ConfigError(
            f"{name} does not hold one record a line; convert it, as by: jq -c '.[]' {name} > {stem}.jsonl"
        )


def nothing_there(location: str, passed: Sequence[str]) -> SourceNotFoundError:
    """The error for a place without anything that is read; ``passed`` names what is there, folders with a slash at the end."""
    place = "address" if "://" in location else "path"
    if not passed:
        return SourceNotFoundError(f"There is no readable text at {location}; check the {place}, or quote the glob.")
    folders = any(name.endswith("/") for name in passed)
    suffixes = sorted({Path(name).suffix or name for name in passed if not name.endswith("/")})
    seen = ", ".join([*islice(suffixes, 2 * _SHOWN), *(["folders"] if folders else [])])
    deeper = f"; what lies in the folders is named by a glob, '{location.rstrip('/')}/**/*.jsonl'" if folders else ""
    return SourceNotFoundError(
        f"There is no readable text at {location}, only {seen}; check the {place}: read are {WHAT_IS_READ}{deeper}."
    )


def tell_passed_over(location: str, passed: Sequence[str]) -> None:
    """Say in one warning what of a folder or glob is not read."""
    if passed:
        shown = ", ".join(sorted(passed)[:_SHOWN])
        more = f" and {len(passed) - _SHOWN} more" if len(passed) > _SHOWN else ""
        _log.warning(
            "%s: %d files or folders that are not read are passed over: %s%s", location, len(passed), shown, more
        )


def _found(path: Path, location: str) -> list[Path]:
    if path.is_file():
        require_text_file(str(path), lambda: _head(path))
        return [path]
    if is_arrow_folder(path):
        return [path]
    is_folder = path.is_dir()
    if is_folder and all((path / name).is_file() for name in _FILTER_OUTPUT_MARKS):
        raise ConfigError(f"{location} is the output of a filter; name the documents that it kept: {path / 'kept'}")
    paths = list(path.iterdir()) if is_folder else _globbed(path)
    if is_folder and (path / _FILTER_OUTPUT_MARKS[0]).is_file():
        paths = [inner for inner in paths if inner.name not in _REJECTIONS]
    found, passed = _sorted_out(paths, folders=is_folder)
    if not found:
        raise nothing_there(location, passed)
    found = _once(path, found)
    tell_passed_over(location, passed)
    return found


def _once(folder: Path, found: list[Path]) -> list[Path]:
    """The shards of a filter's output in one of its formats: each holds the same documents."""
    if not all((folder.parent / name).is_file() for name in _FILTER_OUTPUT_MARKS):
        return found
    return [path for path in found if has_suffix(path.name, JSONL_SUFFIXES)] or found


def _sorted_out(paths: Iterable[Path], *, folders: bool) -> tuple[list[Path], list[str]]:
    """What is read of some entries, and the names of what is not: files, and folders where these count."""
    found: list[Path] = []
    passed: list[str] = []
    for path in sorted(path for path in paths if not path.name.startswith(".")):
        if is_arrow_folder(path) or (path.is_file() and is_text_file(path.name, lambda path=path: _head(path))):
            found.append(path)
        elif path.is_dir():
            passed += [f"{path.name}/"] if folders else []
        elif not is_beside(path.name):
            passed.append(path.name)
    return found, passed


def _globbed(path: Path) -> list[Path]:
    pattern = path.relative_to(path.anchor) if path.is_absolute() else path
    if not any(mark in str(pattern) for mark in "*?["):
        return []
    return list(Path(path.anchor or ".").glob(str(pattern)))


def _head(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(HEAD_BYTES)


def _begins_with_a_record(head: bytes) -> bool:
    line, end, _ = head.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")
    if not end and len(head) == HEAD_BYTES:  # a long first line
        return line.startswith(b"{")
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
