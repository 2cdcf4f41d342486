"""Files that appear whole or not at all: write to a temporary name beside the target, flush to disk, rename.

A reader never sees half a file, and a process killed at any moment leaves only ``*.partial-*`` names. Each write has a name of
its own, so that writers on any number of machines never share one; whoever is last gives the target its content. What was
left is removed by those who hold a folder alone: a filter that is prepared or finished, an atlas that goes on, a client that
begins. Elsewhere it stays, is never read, and may be deleted. Folders become artifacts by the same rule: data first, manifest
last, then one rename. Works on file systems with renames, shared ones too; it does not know remote stores.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from curator.errors import ArtifactError, ArtifactNotFoundError, ConfigError, StorageError

LOCK = ".lock"
"""Name of the file by which ``exclusive`` holds a folder."""
_PARTIAL = ".partial-"
_ADDRESS = re.compile(r"\A([a-z][a-z0-9+.-]+):/")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PLACE = {
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EROFS: "the disk is mounted read-only",
    errno.ENOTDIR: "a part of its path is a file",
    errno.EISDIR: "a folder has its name",
    errno.ENAMETOOLONG: "its name is too long",
}


def partial_name(target: Path) -> Path:
    """A new temporary name beside ``target``, to be written and then renamed; no other call gives it, on any machine.

    Process ids are equal across machines and containers, so 64 random bits follow; the id is there for who looks into the folder.
    """
    return target.with_name(f"{target.name}{_PARTIAL}{os.getpid()}-{secrets.token_hex(8)}")


def is_partial(path: Path) -> bool:
    """Whether a killed process left this half-written, or one is at work on it."""
    return _PARTIAL in path.name


def local_path(target: Path) -> Path:
    """The absolute path of what is to be written. Raises ConfigError for an address such as ``s3://bucket/out``.

    ``Path`` would make a folder called ``s3:`` of it; to be seen only before the path is absolute.
    """
    if found := _ADDRESS.match(os.fspath(target)):
        raise ConfigError(
            f"Output cannot be written to {found[1]}:// addresses; name a folder on a disk or a mounted volume, and copy it "
            "to the store when it is finished."
        )
    return target.absolute()


@contextmanager
def storage_errors(target: Path) -> Generator[None, None, None]:
    """Turn what the system says of a place into a sentence that names it.

    Raises StorageError where the disk is full, ConfigError where the place may not be written, and what ``local_path`` does.
    """
    local_path(target)
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        if number in _NO_ROOM:
            raise StorageError(
                f"{target} cannot be written ({os.strerror(number)}); free space there or name another folder."
            ) from error
        if number not in _NO_PLACE and not _is_file_in_the_way(error):
            raise
        hint = _NO_PLACE.get(number, _NO_PLACE[errno.ENOTDIR])
        raise ConfigError(
            f"{target} may not be written ({os.strerror(number)}): {hint}, or name another folder."
        ) from error


def _is_file_in_the_way(error: OSError) -> bool:
    """Whether a folder was to be made where a file is."""
    return error.errno == errno.EEXIST and isinstance(error.filename, str) and Path(error.filename).is_file()


def require_free(folder: Path, wanted: int, purpose: str) -> None:
    """Raise StorageError unless the disk that holds ``folder`` has so many bytes to spare."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise StorageError(
            f"{purpose} needs {wanted / 1e9:.1f} GB on the disk of {folder}, where {free / 1e9:.1f} GB are free; "
            "free some space or name another folder."
        )


@contextmanager
def exclusive(folder: Path, purpose: str) -> Generator[None, None, None]:
    """Hold a folder alone while the block lasts; the hold ends with the process, however it ends.

    Raises ConfigError when another process holds it, alone or with others.
    """
    with _held(folder, purpose, alone=True):
        yield


@contextmanager
def shared(folder: Path, purpose: str) -> Generator[None, None, None]:
    """Hold a folder together with others who hold it this way, so that nobody gets it alone meanwhile.

    Raises ConfigError when another process holds it alone.
    """
    with _held(folder, purpose, alone=False):
        yield


@contextmanager
def _held(folder: Path, purpose: str, *, alone: bool) -> Generator[None, None, None]:
    import fcntl  # absent on Windows, where only the client runs

    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / LOCK).open("w")
    with handle:
        try:
            fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"Another process is at work on {purpose}; wait for it or stop it.") from error
        yield


@contextmanager
def atomic_file(target: Path) -> Generator[IO[bytes], None, None]:
    """Open a binary file that takes the name ``target`` only when the block ends without an error."""
    temporary = partial_name(target)
    try:
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            temporary.replace(target)
            sync_folder(target.parent)
    finally:
        with suppress(OSError):  # gone by its new name, or never made, for a reason that is told
            temporary.unlink()


@contextmanager
def atomic_folder(target: Path) -> Generator[Path, None, None]:
    """Yield a temporary folder that takes the name ``target`` (replacing an old one) only when the block succeeds."""
    temporary = partial_name(target)
    try:
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            yield temporary
            if target.exists():
                old = partial_name(target)
                target.rename(old)
                temporary.rename(target)
                shutil.rmtree(old)
            else:
                temporary.rename(target)
            sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Flush a folder's directory entries, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(target: Path, value: Any) -> None:
    """Write a JSON value atomically, two-space indented, keys in the order given, NaN refused."""
    with atomic_file(target) as handle:
        handle.write((json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path, *, max_bytes: int = 256 << 20) -> Any:
    """Read a JSON file. Raises ArtifactNotFoundError when absent, ArtifactError when damaged or over ``max_bytes``."""
    try:
        if path.stat().st_size > max_bytes:
            raise ArtifactError(f"{path} is larger than {max_bytes} bytes; it is not one of our manifests.")
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtifactNotFoundError(f"There is no file {path}; check the path.") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError(
            f"{path} is not valid JSON; check the path, and build it again if it was written by this software."
        ) from error


def remove_partials(folder: Path) -> int:
    """Delete what killed processes left half-written in ``folder``; returns how many entries went."""
    removed = 0
    for entry in folder.glob(f"*{_PARTIAL}*"):
        shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
        removed += 1
    return removed


def inside(root: Path, name: str) -> Path:
    """``root / name`` resolved, refused with ConfigError when it would leave ``root`` (``..``, absolute paths, links)."""
    resolved_root = root.resolve()
    candidate = (resolved_root / name).resolve()
    if not candidate.is_relative_to(resolved_root):
        raise ConfigError(f"The name {name!r} leaves the folder {root}; use a plain relative name.")
    return candidate


def curator_home() -> Path:
    """The folder for artifacts: ``$CURATOR_HOME``, else ``~/.cache/curator``."""
    configured = os.environ.get("CURATOR_HOME")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "curator"
