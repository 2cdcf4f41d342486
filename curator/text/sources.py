"""Text in: open any source URI as a stream of documents and rejections.

A source that is missing or misspelt as a whole raises when it is opened; a bad record inside it is rejected alone, with its
place and a reason, and the rest goes on. What each URI means is in ``uris``, what each format does in ``formats``, how a row
becomes a document in ``rows``; ``pieces`` cuts sources into parts that can be read apart. Nothing is read ahead beyond one
block or one batch, so memory does not grow with the source (the embedded corpus, 12 million characters a domain at most by
default, is the exception). Sources are read in order, in one thread.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from curator.errors import ConfigError
from curator.records import Document, Rejection
from curator.text.environment import environment_domains, harvest
from curator.text.formats import Record, read_file, read_jsonl
from curator.text.hub import open_hub
from curator.text.located import Located, locate
from curator.text.rows import SourceOptions
from curator.text.splits import Split, SplitReader
from curator.text.tally import SourceTally, tally
from curator.text.uris import Scheme, SourceUri, parse_uri

__all__ = ["Record", "SourceOptions", "SourceTally", "open_source", "open_sources", "tally"]

_DEFAULT_OPTIONS = SourceOptions()
_DEFAULT_EMBEDDED_CHARS = 12_000_000
_log = logging.getLogger(__name__)


def open_source(uri: str, options: SourceOptions = _DEFAULT_OPTIONS) -> Iterator[Document | Rejection]:
    """Open one source and stream its records in order.

    Raises at once, before the first record: ConfigError for a URI, suffix or domain that is not known, SourceNotFoundError
    when nothing is there, MissingExtraError when the format or the store needs a package that is not installed, SourceError
    when a store does not answer. While streaming, SourceError when the source as a whole fails (a lost connection, a file that
    may not be read).
    """
    parsed = parse_uri(uri)
    if parsed.scheme in (Scheme.FILE, Scheme.REMOTE):
        return _read_files(locate(parsed), options)
    return only_records_of(_OPENERS[parsed.scheme](parsed, options), parsed.hash_split)


def open_sources(uris: Iterable[str], options: SourceOptions = _DEFAULT_OPTIONS) -> Iterator[Document | Rejection]:
    """Several sources one after the other. All are checked before the first record of the first."""
    opened = [open_source(uri, options) for uri in uris]
    return (record for records in opened for record in records)


def only_records_of(
    records: Iterator[Record], split: Split | None, found: SplitReader | None = None
) -> Iterator[Record]:
    """Documents of one split, or all; a rejected record belongs to no split and is reported under each."""
    return records if split is None else _only_records_of(records, split, found or SplitReader())


def _only_records_of(records: Iterator[Record], split: Split, found: SplitReader) -> Iterator[Record]:
    for record in records:
        if isinstance(record, Rejection) or found(record) is split:
            yield record


def _read_files(files: list[Located], options: SourceOptions) -> Iterator[Record]:
    found = SplitReader()
    for place, _, part in files:
        _log.debug("reading a source file", extra={"path": str(place)})
        yield from only_records_of(read_file(place, options), part, found)


def _open_stdin(_: SourceUri, options: SourceOptions) -> Iterator[Record]:
    return read_jsonl(sys.stdin.buffer, "-", options)


def _open_embedded(uri: SourceUri, options: SourceOptions) -> Iterator[Record]:
    if uri.location not in environment_domains():
        known = ", ".join(environment_domains())
        raise ConfigError(f"There is no embedded domain {uri.location!r}; choose one of: {known}.")
    max_chars, seed = uri.integer("max_chars", _DEFAULT_EMBEDDED_CHARS), uri.integer("seed", 0)
    return _harvested(uri.location, max_chars, seed, options)


def _harvested(domain: str, max_chars: int, seed: int, options: SourceOptions) -> Iterator[Record]:
    for document in harvest(domain, max_chars=max_chars, seed=seed):
        yield document if options.domain is None else replace(document, domain=options.domain)


_OPENERS: dict[Scheme, Callable[[SourceUri, SourceOptions], Iterator[Record]]] = {
    Scheme.HUB: open_hub,
    Scheme.EMBEDDED: _open_embedded,
    Scheme.STDIN: _open_stdin,
}
