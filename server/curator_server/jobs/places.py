"""Where jobs may read, write, and which models they may load: every name that a caller sends passes here.

A path is refused when it holds ``..``, and when what it stands for, with all links resolved, is not below a root; each file of a
folder or glob is looked at. A path that is not absolute is taken from the roots, in their order. Whether a forbidden path
exists is not told: the answer is the same. Checked when a job is created and again each time it starts, because files may
change in between. It does not protect a root from those who may write in it while a job reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from curator.errors import ConfigError, SourceNotFoundError
from curator.text.places import find_places
from curator.text.uris import Scheme, SourceUri, parse_uri
from curator_server.jobs.settings import JobSettings

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_LOCAL_SCHEMES = frozenset(
    {"file", "local", "memory", "data", "dir", "reference", "simplecache", "filecache", "blockcache"}
)
_NAME = r"[^\s/'\",;:)(]+"
_PATH = re.compile(rf"(?<![\w/:.])~?(?:/+{_NAME}(?: {_NAME}){{0,4}}(?=/))*/+{_NAME}/?")
"""An absolute path; up to four spaces belong to a folder's name where a slash follows."""
_MARKS = re.compile(r"[*?\[]")


class Places:
    """The rules of one server."""

    def __init__(self, settings: JobSettings) -> None:
        self._settings = settings

    def sources(self, uris: Iterable[str]) -> tuple[str, ...]:
        """The URIs with absolute paths. Raises ConfigError for what is not allowed, SourceNotFoundError for what is absent."""
        found = tuple(self._source(uri) for uri in uris)
        if not found:
            raise ConfigError("A source needs at least one URI; name a file, folder, glob or address.")
        return found

    def output(self, uri: str) -> Path:
        """The folder for an output. Raises ConfigError unless it is a new or existing folder below an output root."""
        path = _plain_path(parse_uri(uri), uri)
        if _MARKS.search(str(path)):
            raise ConfigError(f"The output {uri!r} is a pattern; name one folder.")
        for root in self._settings.output_roots:
            place = (root / path).resolve()
            if place != root and place.is_relative_to(root):
                return place
        raise ConfigError(f"The output {uri!r} is not below a folder that this server writes to; name one that is.")

    def model(self, name: str) -> str:
        """The name of a model that may be loaded. Raises ConfigError for any other."""
        safe = name and ".." not in re.split(r"[/:\\]", name) and "\0" not in name
        if not safe or not any(fnmatchcase(name, pattern) for pattern in self._settings.models):
            raise ConfigError(f"The model {name!r} is not among those that this server loads; ask its operator.")
        return name

    def _source(self, uri: str) -> str:
        parsed = parse_uri(uri)
        if parsed.scheme is Scheme.STDIN:
            raise ConfigError("A job has no standard input; send documents, or name a source.")
        if parsed.scheme is Scheme.FILE:
            return self._file(parsed, uri)
        scheme = parsed.location.partition(":")[0] if parsed.scheme is Scheme.REMOTE else str(parsed.scheme)
        if scheme not in self._settings.schemes or scheme in _LOCAL_SCHEMES:
            raise ConfigError(f"Sources of the kind {scheme!r} are not read by this server; ask its operator.")
        if parsed.scheme is Scheme.HUB and not _HUB_NAME.fullmatch(parsed.location):
            raise ConfigError(f"{parsed.location!r} is not the name of a data set on the hub; write owner/name.")
        return uri

    def _file(self, parsed: SourceUri, uri: str) -> str:
        path = _plain_path(parsed, uri)
        refusal = ConfigError(f"The source {uri!r} is not below a folder that this server reads; name one that is.")
        missing = False
        for root in self._settings.source_roots:
            place = root / path
            if not _fixed_part(place).resolve().is_relative_to(root):
                continue
            try:
                files = [Path(str(found)) for found in find_places(SourceUri(Scheme.FILE, str(place), {}))]
            except SourceNotFoundError:
                missing = True
                continue
            if not all(_stays_below(root, file) for file in files):
                raise refusal
            return parsed.at(str(place))
        if missing:
            raise SourceNotFoundError(f"There is no readable text at {uri!r}; check the path, or quote the glob.")
        raise refusal


def public_message(message: str) -> str:
    """A message without the server's folders: of every absolute path only the last part is left."""
    return _PATH.sub(lambda found: PurePosixPath(found.group()).name, message)


def _plain_path(parsed: SourceUri, uri: str) -> Path:
    if parsed.scheme is not Scheme.FILE:
        raise ConfigError(f"{uri!r} is not a path; name a folder below one of the server's roots.")
    if parsed.location.startswith("~") or "\0" in parsed.location or ".." in PurePosixPath(parsed.location).parts:
        raise ConfigError(f"The path {uri!r} may not hold '..' or begin with '~'; write it out.")
    return Path(parsed.location)


def _fixed_part(place: Path) -> Path:
    """The path up to the first part with a mark of a glob."""
    parts: list[str] = []
    for part in place.parts:
        if _MARKS.search(part):
            break
        parts.append(part)
    return Path(*parts)


def _stays_below(root: Path, file: Path) -> bool:
    if not file.resolve().is_relative_to(root):
        return False
    return not file.is_dir() or _all_below(root, list(file.iterdir()))


def _all_below(root: Path, entries: Sequence[Path]) -> bool:
    return all(entry.resolve().is_relative_to(root) for entry in entries)
