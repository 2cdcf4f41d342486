"""Files behind ``fsspec`` addresses: s3://, gs://, az://, hf://, https://, memory:// and whatever else has a package.

``fsspec`` finds the package by the scheme, and the package finds its credentials in the usual environment. One listing answers
for all files of a folder or glob; asking whether a subfolder is one of ``save_to_disk`` costs two look-ups each. Files are
read through a buffer of 1 MiB above the package's own read-ahead; retries are the package's. Any failure becomes one
SourceError that names the file, without the queries of the addresses that a store may put into its messages.

It does not know how to write, lists nothing where a server has no listings (of https:// most have none), and needs servers
that answer requests for ranges, unless they say that they do not.
"""

from __future__ import annotations

import io
import re
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, cast

from curator.errors import ConfigError, CuratorError, MissingExtraError, SourceError, SourceNotFoundError
from curator.text.extras import require
from curator.text.folders import (
    ARROW_FOLDER_MARKS,
    HEAD_BYTES,
    is_beside,
    is_text_file,
    nothing_there,
    require_text_file,
    tell_passed_over,
)

_BUFFER_BYTES = 1 << 20
_GLOB = re.compile(r"[*?\[]")
_QUERY_OF_AN_ADDRESS = re.compile(r"(://[^\s?'\"]*)\?[^\s'\"]*")
_CHECKSUMS = (
    "ETag", "etag", "e_tag", "sha256", "md5Hash", "content_md5", "Content-MD5", "Digest", "md5", "checksum", "crc32c", "blob_id",
)  # fmt: skip
_TIMES = ("mtime", "LastModified", "last_modified", "Last-Modified", "updated", "modified", "created")


@dataclass(frozen=True, slots=True)
class RemotePlace:
    """A file or folder of a remote store; asked once what it is, by the package, which may remember a listing."""

    location: str
    filesystem: Any = field(compare=False, repr=False)
    path: str = field(repr=False)
    _details: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @classmethod
    def at(cls, location: str) -> RemotePlace:
        """The place at an address, unlooked at. Raises MissingExtraError when the scheme's package is not installed."""
        with _failures_at(location):
            filesystem, path = require("fsspec").core.url_to_fs(location)
            filesystem.invalidate_cache(path)  # what is asked now is answered as of now
        return cls(location, filesystem, path)

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.location.rstrip("/").rsplit("/", 1)[-1]

    @property
    def is_folder(self) -> bool:
        """Whether the store calls this a folder."""
        return self.details.get("type") == "directory"

    def open(self) -> IO[bytes]:
        """The file, for reading. Raises SourceNotFoundError or SourceError, and SourceError from reads that fail."""
        with _failures_at(self.location):
            file = self.filesystem.open(self.path, "rb")
        return cast("IO[bytes]", io.BufferedReader(_GuardedFile(file, self.location), _BUFFER_BYTES))

    def head(self) -> bytes:
        """The first bytes of the file. Raises as ``open`` does."""
        with self.open() as handle:
            return handle.read(HEAD_BYTES)

    def size(self) -> int | None:
        """Bytes of the file; None where the server does not say, or says that it gives no ranges."""
        return self.details.get("size") if self.details.get("partial", True) else None

    def version(self) -> str:
        """The store's checksum of the file, else its time, else nothing."""
        for key in (*_CHECKSUMS, *_TIMES):
            if value := self.details.get(key):
                return f"{key}={value}".replace('"', "")
        return ""

    def inside(self, name: str) -> RemotePlace:
        """The entry ``name`` of this folder."""
        folder, path = self.location.rstrip("/"), self.path.rstrip("/")
        return RemotePlace(f"{folder}/{name}", self.filesystem, f"{path}/{name}")

    def is_arrow_folder(self) -> bool:
        """Whether ``datasets`` wrote this folder with ``save_to_disk``."""
        with _failures_at(self.location):
            return any(
                all(self.filesystem.isfile(self.inside(name).path) for name in names) for names in ARROW_FOLDER_MARKS
            )

    @property
    def details(self) -> Mapping[str, Any]:
        """What the store says of the file, asked once. Raises SourceNotFoundError or SourceError."""
        if not self._details:
            with _failures_at(self.location):
                self._details.update(self.filesystem.info(self.path))
        return self._details

    def __str__(self) -> str:
        return self.location


def find_remote(location: str) -> list[RemotePlace]:
    """Files and Arrow folders at an address, in a folder or under a glob, sorted by path; never empty.

    Raises as ``places.find_places`` says.
    """
    place = RemotePlace.at(location)
    kind = _kind_of(place)
    if kind == "file":
        require_text_file(location, place.head)
        return [place]
    if kind == "directory" and place.is_arrow_folder():
        return [place]
    with _failures_at(location):
        if kind == "directory":
            listed = {entry["name"]: entry for entry in place.filesystem.ls(place.path, detail=True)}
        else:
            listed = place.filesystem.glob(place.path, detail=True) if _GLOB.search(place.path) else {}
    found, passed = _sorted_out(place, listed.values(), folders=kind == "directory")
    if not found:
        raise nothing_there(location, passed)
    tell_passed_over(location, passed)
    return sorted(found, key=lambda entry: entry.path.split("/"))


def _kind_of(place: RemotePlace) -> str | None:
    """``file``, ``directory``, or None where the address is no entry of the store (it may be a glob)."""
    try:
        return place.details.get("type")
    except SourceNotFoundError:
        return None


def _sorted_out(
    place: RemotePlace, listed: Iterable[Mapping[str, Any]], *, folders: bool
) -> tuple[list[RemotePlace], list[str]]:
    """Listed files and Arrow folders that are read, and the names of what is not, as ``folders`` sorts it out.

    What stands before the path in the address (scheme, host) stands before each.
    """
    address, path = place.location.rstrip("/"), place.path.rstrip("/")
    if not address.endswith(path):
        raise ConfigError(
            f"The folder {address} cannot be listed under this form of address; name its files one by one."
        )
    head = address.removesuffix(path)
    found: list[RemotePlace] = []
    passed: list[str] = []
    for entry in listed:
        one, is_folder = (
            RemotePlace(head + entry["name"], place.filesystem, entry["name"]),
            entry["type"] == "directory",
        )
        if one.name.startswith("."):
            continue
        if one.is_arrow_folder() if is_folder else is_text_file(one.name, one.head):
            found.append(one)
        elif is_folder:
            passed += [f"{one.name}/"] if folders else []
        elif not is_beside(one.name):
            passed.append(one.name)
    return found, passed


class _GuardedFile(io.RawIOBase):
    """A remote file whose failures are SourceErrors: packages raise whatever their transport does."""

    def __init__(self, file: Any, location: str) -> None:
        self._file = file
        self._location = location

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def readinto(self, buffer: Any) -> int:
        with _failures_at(self._location):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _failures_at(self._location):
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@contextmanager
def _failures_at(location: str) -> Generator[None, None, None]:
    try:
        yield
    except CuratorError:
        raise
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"There is nothing at {location}; check the address.") from error
    except ImportError as error:
        scheme = location.partition("://")[0]
        raise MissingExtraError(
            f"Sources at {scheme}:// need another package ({error}); install it with pip."
        ) from error
    except Exception as error:  # packages share no base class of their failures
        why = _QUERY_OF_AN_ADDRESS.sub(r"\1", (str(error).strip() or type(error).__name__).splitlines()[0])
        raise SourceError(f"{location} cannot be read ({why}); check the network and the credentials.") from error
