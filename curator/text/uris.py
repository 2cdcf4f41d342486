"""Source URIs: what they mean, and which query keys each kind takes; ``folders`` finds the files of a path, folder or glob.

    data/pool.jsonl.zst        a file (.jsonl, .ndjson, .json, each with .gz, .zst or .zstd or without; .parquet)
    file:///data/pool.parquet  the same, percent-decoded
    data/saved                 a folder written by ``save_to_disk``, or a folder of files as above (not its subfolders)
    data/**/*.jsonl.gz         a glob, sorted
    s3://bucket/pool-*.parquet any address that ``fsspec`` knows (s3, gs, az, hf, https, memory, ...): a file, folder or glob
    hf:<name>?config=&split=&revision=     a hub dataset, or hf:<folder>, streamed through ``datasets``; split: train
    env:<domain>?max_chars=&seed=          a domain of the embedded corpus
    -                          JSONL on standard input

All take ``?part=train|pool|test``, our split by hash of each document's source; ``?split=`` is the same, but where the data
has splits of its own, on the hub and in a saved DatasetDict, and names one of those (``located``). A ``?`` opens a query only
where ``key=value`` follows, so globs may use it. Addresses carry no secrets: a password or a signed query in one is refused,
because the address of every source is written into the records of a job; credentials come from the environment, as each
``fsspec`` package reads them. Costs nothing: it does not know whether anything is there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode

from curator.errors import ConfigError
from curator.text.extras import require
from curator.text.splits import Split

COMPRESSIONS = (".gz", ".zst", ".zstd")
JSONL_SUFFIXES = (
    *(f"{stem}{end}" for stem in (".jsonl", ".ndjson") for end in ("", *COMPRESSIONS)),
    *(
        f".json{end}" for end in ("", *COMPRESSIONS)
    ),  # one record a line where compressed; bare .json is looked at first
)
JSON_SUFFIX = ".json"
PARQUET_SUFFIXES = (".parquet",)
FILE_SUFFIXES = (*JSONL_SUFFIXES, *PARQUET_SUFFIXES)
_QUERY = re.compile(r"\?([a-z_]+=[^&?]*(?:&[a-z_]+=[^&?]*)*)\Z")
_ADDRESS = re.compile(r"\A([a-z][a-z0-9+._-]+)://")
_PASSWORD = re.compile(r"\A[^/]+//[^/]*:[^/@]*@")
_SIGNATURE = re.compile(r"\?[^/]*=")


class Scheme(StrEnum):
    """The kinds of source."""

    FILE = "file"
    REMOTE = "remote"
    HUB = "hf"
    EMBEDDED = "env"
    STDIN = "-"


_KEYS = {
    Scheme.FILE: {"part", "split"},
    Scheme.REMOTE: {"part", "split"},
    Scheme.HUB: {"config", "part", "revision", "split"},
    Scheme.EMBEDDED: {"max_chars", "part", "seed", "split"},
    Scheme.STDIN: {"part", "split"},
}


@dataclass(frozen=True, slots=True)
class SourceUri:
    """A parsed source URI: its kind, the path, address, name or domain, and the query."""

    scheme: Scheme
    location: str
    query: Mapping[str, str]

    @property
    def hash_split(self) -> Split | None:
        """The part of our own split that is asked for, by ``part`` or, where the data has no splits of its own, by ``split``.

        Raises ConfigError for another name, and where both are given and mean this.
        """
        keys = {"part"} if self.scheme is Scheme.HUB else {"part", "split"}
        asked = [self.query[key] for key in sorted(keys & set(self.query))]
        if len(asked) > 1:
            raise ConfigError(f"The source {self} has no splits of its own; give part= alone.")
        return None if not asked else self._part(asked[0])

    def _part(self, name: str) -> Split:
        try:
            return Split(name)
        except ValueError as error:
            known = ", ".join(Split)
            message = f"There is no split {name!r} of the source {self}; choose one of: {known}."
            raise ConfigError(message) from error

    def check_parts(self) -> None:
        """Raise ConfigError for a part or split that cannot be there, whatever is found when the source is opened."""
        may_be_saved = self.scheme in (Scheme.FILE, Scheme.REMOTE) and not has_suffix(self.location, FILE_SUFFIXES)
        if not may_be_saved:
            _ = self.hash_split
        elif "part" in self.query:
            self._part(self.query["part"])

    def integer(self, key: str, default: int) -> int:
        """A query value as a number of at least zero. Raises ConfigError for anything else."""
        value = self.query.get(key, str(default))
        if not value.isdecimal():
            raise ConfigError(
                f"{key}={value} in the source {self} is not a whole number; write for example {key}=1000."
            )
        return int(value)

    def at(self, location: str) -> str:
        """The URI of one file that this one stands for, with this one's query; any file name survives ``parse_uri``."""
        odd = self.scheme is Scheme.FILE and ("?" in location or location.startswith(("-", "hf:", "env:")))
        return str(replace(self, location=f"file://{quote(str(Path(location).absolute()))}" if odd else location))

    def without_split(self) -> SourceUri:
        """The same without ``split``, for a place that is the split itself."""
        return replace(self, query={key: value for key, value in self.query.items() if key != "split"})

    def __str__(self) -> str:
        query = f"?{urlencode(self.query)}" if self.query else ""
        return f"{f'{self.scheme}:' if self.scheme in (Scheme.HUB, Scheme.EMBEDDED) else ''}{self.location}{query}"


def parse_uri(uri: str) -> SourceUri:
    """Read a source URI.

    Raises ConfigError for an unknown scheme, an unknown query key, an empty place or an address with a secret in it, and
    MissingExtraError for a remote address where ``fsspec`` is not installed.
    """
    match = _QUERY.search(uri)
    query = dict(parse_qsl(match[1], keep_blank_values=True)) if match else {}
    place = uri[: match.start()] if match else uri
    scheme, location = _scheme_and_location(place)
    if not location:
        raise ConfigError(f"The source {uri!r} names nothing; write a path, hf:<name>, env:<domain> or -.")
    if scheme is Scheme.REMOTE:
        _refuse_secrets(location, query)
    if unknown := sorted(set(query) - _KEYS[scheme]):
        known = ", ".join(sorted(_KEYS[scheme]))
        raise ConfigError(f"The source {uri!r} has the unknown option {unknown[0]!r}; it takes: {known}.")
    parsed = SourceUri(scheme, location, {key: value for key, value in query.items() if value})
    parsed.check_parts()
    return parsed


def has_suffix(name: str, suffixes: str | tuple[str, ...]) -> bool:
    """Whether a file's name ends so, in capitals too."""
    return name.lower().endswith(suffixes)


def anchored(uri: str, folder: Path) -> str:
    """The URI with a relative path taken from ``folder``; hub names (not ``hf:./x``), ``env:`` and ``-`` stay as they are."""
    parsed = parse_uri(uri)
    if _is_local(parsed):
        return str(replace(parsed, location=str(folder / Path(parsed.location).expanduser())))
    return uri


def absolute(uri: str) -> str:
    """The URI with a relative path taken from the working folder; every other one as it is, to the letter."""
    parsed = parse_uri(uri)
    if not _is_local(parsed) or Path(parsed.location).expanduser().is_absolute():
        return uri
    return parsed.at(str(Path.cwd() / parsed.location))


def canonical(uri: str) -> str:
    """One spelling of all that lead to the same files of this machine: absolute, links followed; other URIs as they are."""
    parsed = parse_uri(uri)
    return parsed.at(os.path.realpath(Path(parsed.location).expanduser())) if _is_local(parsed) else uri


def _is_local(uri: SourceUri) -> bool:
    return uri.scheme is Scheme.FILE or (uri.scheme is Scheme.HUB and uri.location.startswith(("./", "../")))


def _scheme_and_location(place: str) -> tuple[Scheme, str]:
    if place == "-":
        return Scheme.STDIN, place
    if place.startswith("file://"):
        return Scheme.FILE, unquote(place.removeprefix("file://").removeprefix("localhost"))
    if address := _ADDRESS.match(place):
        fsspec = require("fsspec")
        if address[1] not in {*fsspec.available_protocols(), *fsspec.registry}:
            known = "a path, file://, s3://, gs://, az://, https://, hf:<name>, env:<domain> or -"
            raise ConfigError(f"Sources at {address[0]} are not read; use {known}.")
        return (Scheme.REMOTE, place) if place != address[0] else (Scheme.REMOTE, "")
    for scheme in (Scheme.HUB, Scheme.EMBEDDED):
        if place.startswith(f"{scheme}:"):
            return scheme, place.removeprefix(f"{scheme}:")
    return Scheme.FILE, place


def _refuse_secrets(address: str, query: Mapping[str, str]) -> None:
    """Signed links and passwords would end up in ledgers and reports; the message repeats neither."""
    shown = f"{address.partition('://')[0]}://"
    if _PASSWORD.match(address) or _SIGNATURE.search(address) or set(query) - _KEYS[Scheme.REMOTE]:
        raise ConfigError(
            f"A {shown} source carries a password or a query, which would be written into reports; name the plain address "
            "and give credentials by the environment."
        )
    if "::" in address:
        raise ConfigError(f"Chained addresses like {shown}...:: are not read; unpack the archive and name its files.")
