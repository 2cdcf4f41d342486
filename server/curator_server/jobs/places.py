"""Where jobs may read, write, and which models they may load: every name that a caller sends passes here.

A path is refused when it holds ``..``, and when what it stands for, with all links resolved, is not below a root; each file of a
folder or glob is looked at, and everything in a folder of ``save_to_disk``. A path that is not absolute is taken from the roots,
in their order. Whether a forbidden path exists is not told: the answer is the same. Checked when a job is created and again each
time it starts, because files may change in between. It does not protect a root from those who may write in it while a job reads.

Workers find a root under its last part (``corpora/pool.jsonl``), for they work among links to the roots: so what they write of
their sources, and what callers download of it, tells nothing of the server's other folders.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import chain, count
from pathlib import Path, PurePosixPath

from curator.errors import ConfigError, SourceNotFoundError
from curator.orders import INPUTS
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
        self.roots = _link_names(settings.source_roots)
        """The source roots by the names under which workers find them."""

    def sources(self, uris: Iterable[str]) -> tuple[str, ...]:
        """The URIs as a worker finds them. Raises ConfigError for what is not allowed, SourceNotFoundError for what is absent."""
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

    def model(self, name: str, revision: str = "") -> str:
        """The name of a model that may be loaded at a revision. Raises ConfigError for any other.

        Revisions below ``refs/`` hold what anybody has proposed, so a pattern must name them: ``owner/name@refs/pr/3``.
        """
        safe = name and ".." not in re.split(r"[/:\\]", name) and "\0" not in name
        if not safe or not any(_fits(name, revision, pattern) for pattern in self._settings.models):
            at = f" at {revision!r}" if revision else ""
            raise ConfigError(f"The model {name!r}{at} is not among those that this server loads; ask its operator.")
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
        for name, root in self.roots.items():
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
            return _below(parsed, Path(name), root, place)
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
    """Whether a file, or everything in a folder however deep, is below a root with all links resolved."""
    todo, seen = [file], set[Path]()
    while todo:
        found = todo.pop().resolve()
        if not found.is_relative_to(root):
            return False
        if found.is_dir() and found not in seen:  # links may lead in circles
            seen.add(found)
            todo.extend(found.iterdir())
    return True


def _link_names(roots: Sequence[Path]) -> dict[str, Path]:
    """A name for each root: its last part, with a number where another one has it; ``inputs`` is for documents sent along."""
    names: dict[str, Path] = {}
    for root in roots:
        plain = re.sub(r"[^\w.-]", "-", root.name).lstrip("-.") or "root"
        free = (
            name
            for name in chain([plain], (f"{plain}-{number}" for number in count(2)))
            if name not in {INPUTS, *names}
        )
        names[next(free)] = root
    return names


def _below(parsed: SourceUri, name: Path, root: Path, place: Path) -> str:
    """The URI of a place below a root by the root's name, or by its path where no URI could say the name."""
    if not place.is_relative_to(root):  # named through a link that leads here
        fixed = _fixed_part(place)
        place = fixed.resolve() / place.relative_to(fixed)
    named = replace(parsed, location=str(name / place.relative_to(root)))
    with suppress(ConfigError):  # a name that reads as a query
        if parse_uri(str(named)) == named:
            return str(named)
    return parsed.at(str(place))


def _fits(name: str, revision: str, pattern: str) -> bool:
    wanted, at, pinned = ("", "", "") if Path(pattern).is_absolute() else pattern.partition("@")
    if at:
        return fnmatchcase(name, wanted) and fnmatchcase(revision or "main", pinned)
    return fnmatchcase(name, pattern) and not revision.lower().lstrip("/").startswith("refs/")
