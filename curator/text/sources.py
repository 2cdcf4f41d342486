"""Text in: open any source URI as a stream of documents and rejections.

A source that is missing or misspelt as a whole raises when it is opened; a bad record inside it is rejected alone, with its
place and a reason, and the rest goes on. What each URI means is in ``uris``, what each format does in ``formats``, how a row
becomes a document in ``rows``. Nothing is read ahead beyond one block or one batch, so memory does not grow with the source
(the embedded corpus, 12 million characters a domain at most by default, is the exception). Sources are read in order, in one
thread. It does not know how to resume in the middle of a file.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from curator.errors import ConfigError, SourceError, SourceNotFoundError
from curator.records import Document, Rejection
from curator.text.environment import environment_domains, harvest
from curator.text.formats import Record, read_file, read_jsonl, require
from curator.text.rows import SourceOptions, document_from_row
from curator.text.splits import Split, split_of
from curator.text.tally import SourceTally, tally
from curator.text.uris import Scheme, SourceUri, find_files, parse_uri

__all__ = ["Record", "SourceOptions", "SourceTally", "open_source", "open_sources", "tally"]

_DEFAULT_OPTIONS = SourceOptions()
_DEFAULT_EMBEDDED_CHARS = 12_000_000
_log = logging.getLogger(__name__)


def open_source(uri: str, options: SourceOptions = _DEFAULT_OPTIONS) -> Iterator[Document | Rejection]:
    """Open one source and stream its records in order.

    Raises at once, before the first record: ConfigError for a URI, suffix or domain that is not known, SourceNotFoundError
    when nothing is there, MissingExtraError when the format needs a package that is not installed. While streaming,
    SourceError when the source as a whole fails (a lost connection, a file that may not be read).
    """
    parsed = parse_uri(uri)
    records = _OPENERS[parsed.scheme](parsed, options)
    split = parsed.hash_split
    return records if split is None else _only_split(records, split)


def open_sources(uris: Iterable[str], options: SourceOptions = _DEFAULT_OPTIONS) -> Iterator[Document | Rejection]:
    """Several sources one after the other. All are checked before the first record of the first."""
    opened = [open_source(uri, options) for uri in uris]
    return (record for records in opened for record in records)


def _only_split(records: Iterator[Record], split: Split) -> Iterator[Record]:
    """Documents of one split; a rejected record belongs to no split and is reported under each."""
    for record in records:
        if isinstance(record, Rejection) or split_of(record.source or record.id) is split:
            yield record


def _open_files(uri: SourceUri, options: SourceOptions) -> Iterator[Record]:
    paths = find_files(uri.location)
    return _read_files(paths, options)


def _read_files(paths: list[Path], options: SourceOptions) -> Iterator[Record]:
    for path in paths:
        _log.debug("reading a source file", extra={"path": str(path)})
        yield from read_file(path, options)


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


def _open_hub(uri: SourceUri, options: SourceOptions) -> Iterator[Record]:
    datasets = require("datasets")
    name, split = uri.location, uri.query.get("split", "train")
    failures = (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError)
    try:
        rows = datasets.load_dataset(
            name, name=uri.query.get("config"), split=split, revision=uri.query.get("revision"), streaming=True
        )
    except (FileNotFoundError, ConnectionError) as error:
        message = f"There is no dataset {name!r} in reach; check its name, the network and HF_HUB_OFFLINE."
        raise SourceNotFoundError(message) from error
    except ValueError as error:
        raise ConfigError(f"The dataset {name!r} cannot be opened so: {_first_line(error)}") from error
    except failures as error:
        raise SourceError(f"The dataset {name!r} cannot be opened: {_first_line(error)}") from error
    return _hub_records(rows, f"hf:{name}", options, failures)


def _hub_records(
    rows: Iterable[Any], place: str, options: SourceOptions, failures: tuple[type[Exception], ...]
) -> Iterator[Record]:
    iterator, number = iter(rows), 0
    while True:
        try:
            row = next(iterator, None)
        except failures as error:
            raise SourceError(f"{place} broke off after {number} records: {_first_line(error)}") from error
        if row is None:
            return
        number += 1
        yield document_from_row(row, f"{place}:{number}", options)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


_OPENERS: dict[Scheme, Callable[[SourceUri, SourceOptions], Iterator[Record]]] = {
    Scheme.FILE: _open_files,
    Scheme.HUB: _open_hub,
    Scheme.EMBEDDED: _open_embedded,
    Scheme.STDIN: _open_stdin,
}
