"""Where text lies: one file or one Arrow folder, on this disk or behind an ``fsspec`` address, under one small interface.

A ``Place`` has a name, opens for reading, tells its size, and tells by which words a change of its content would show. Local
files go straight to the operating system; remote ones are in ``remote``. A place is cheap: nothing is opened before it is
asked for. It does not know formats.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from curator.errors import SourceError, SourceNotFoundError
from curator.text.folders import find_files
from curator.text.remote import RemotePlace, find_remote
from curator.text.uris import Scheme, SourceUri


class Place(Protocol):
    """One file or Arrow folder. ``str(place)`` is how rejections and errors name it."""

    @property
    def location(self) -> str:
        """The path or address, from which ``place_at`` leads here again."""
        ...

    @property
    def name(self) -> str:
        """The last part of the path, which tells the format."""
        ...

    @property
    def is_folder(self) -> bool:
        """Whether this is a folder; the only folders that are places are those of ``save_to_disk``."""
        ...

    def open(self) -> IO[bytes]:
        """The file, for reading. Raises SourceError when it cannot be opened, and from reads that fail."""
        ...

    def size(self) -> int | None:
        """Bytes of the file; None where a server does not say, or gives no ranges, so that it is read whole."""
        ...

    def version(self) -> str | None:
        """What a remote store says of a file's content (a checksum, or its time); None for local files: read them."""
        ...

    def inside(self, name: str) -> Place:
        """The entry ``name`` of this folder."""
        ...


@dataclass(frozen=True, slots=True)
class LocalPlace:
    """A file or folder on this machine."""

    path: Path

    @property
    def location(self) -> str:
        """The path as it was given."""
        return str(self.path)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def is_folder(self) -> bool:
        """Whether the path is a folder."""
        return self.path.is_dir()

    def open(self) -> IO[bytes]:
        """The file, for reading. Raises SourceNotFoundError or SourceError."""
        try:
            return self.path.open("rb")
        except FileNotFoundError as error:
            raise SourceNotFoundError(f"There is no file {self.path}; check the path.") from error
        except OSError as error:
            raise SourceError(f"{self.path} cannot be opened ({error.strerror}); check its permissions.") from error

    def size(self) -> int:
        """Bytes of the file. Raises SourceNotFoundError when it is gone."""
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise SourceNotFoundError(f"There is no file {self.path}; check the path.") from error

    def version(self) -> None:
        """Nothing: a local file's time changes with every copy, its content tells."""

    def inside(self, name: str) -> LocalPlace:
        """The entry ``name`` of this folder."""
        return LocalPlace(self.path / name)

    def __str__(self) -> str:
        return str(self.path)


def find_places(uri: SourceUri) -> list[Place]:
    """Files and Arrow folders that a path, folder, glob or address stands for, sorted; never empty.

    Raises SourceNotFoundError when nothing is there, ConfigError when a single file has a suffix that is not read,
    MissingExtraError when the package behind a scheme is not installed, SourceError when the store does not answer.
    """
    if uri.scheme is Scheme.REMOTE:
        return list(find_remote(uri.location))
    return [LocalPlace(path) for path in find_files(uri.location)]


def place_at(uri: SourceUri) -> Place:
    """The one place that a URI names, without looking whether it is there; remote details are asked for anew."""
    if uri.scheme is Scheme.REMOTE:
        return RemotePlace.at(uri.location)
    return LocalPlace(Path(uri.location).expanduser())


def changed(place: Place) -> SourceError:
    """What to raise where a file is not what it was when it was cut."""
    return SourceError(f"{place} has changed since the job began; start a new job, or put the old file back.")
