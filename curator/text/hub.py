"""Datasets of the hub, or of a folder laid out like one, streamed through ``datasets``; whole or shard by shard.

A shard is one file of the dataset as ``datasets`` counts them (``IterableDataset.num_shards``); the shards one after the other
are the whole. The fingerprint of a dataset is of its list of files as ``datasets`` tells them apart: on the hub by the commit,
in a folder on this disk by their times. A shard that is read later checks it, so a dataset that was pushed to in between is
refused, not mixed. Opening costs a few requests to the hub, for each shard again. It does not know the number of rows.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from curator import fingerprint
from curator.errors import ConfigError, SourceError, SourceNotFoundError
from curator.records import Document, Rejection
from curator.text.extras import require
from curator.text.rows import SourceOptions, document_from_row
from curator.text.uris import SourceUri


@dataclass(frozen=True, slots=True)
class HubStream:
    """A dataset opened for streaming: its rows, the number of its shards, and the fingerprint of its files."""

    rows: Any
    shards: int
    fingerprint: str


def open_hub(uri: SourceUri, options: SourceOptions) -> Iterator[Document | Rejection]:
    """All records. Raises at once as ``sources.open_source`` says."""
    datasets = require("datasets")
    with _opening(uri):
        rows = datasets.load_dataset(
            uri.location,
            name=uri.query.get("config"),
            split=_split(uri),
            revision=uri.query.get("revision"),
            streaming=True,
        )
    return _records(rows, f"hf:{uri.location}", options)


def stream_of(uri: SourceUri) -> HubStream:
    """The dataset that a URI names. Raises at once as ``sources.open_source`` says."""
    datasets = require("datasets")
    with _opening(uri):
        builder = datasets.load_dataset_builder(
            uri.location, name=uri.query.get("config"), revision=uri.query.get("revision")
        )
        rows = builder.as_streaming_dataset(split=_split(uri))
    files = (builder.config.data_files or {}).get(_split(uri), [])
    origins = getattr(files, "origin_metadata", [])
    identity = [builder.config_id, _split(uri), *map(str, files), *map(str, origins)]
    return HubStream(rows, rows.num_shards, fingerprint.of_parts(identity))


def read_hub_shard(
    uri: SourceUri, index: int, of: int, expected: str, options: SourceOptions
) -> Iterator[Document | Rejection]:
    """Records of one shard; rejections are placed as ``hf:<name>@<index>:<row>``.

    Raises SourceError at once when the dataset is not the one of the ``expected`` fingerprint any more.
    """
    stream = stream_of(uri)
    name = f"hf:{uri.location}"
    if (stream.shards, stream.fingerprint) != (of, expected):
        raise SourceError(
            f"{name} has changed since the job began; start a new one, and name a revision= to hold it still."
        )
    return _records(stream.rows.shard(num_shards=of, index=index), f"{name}@{index}", options, origin=f"{name}:0")


def _split(uri: SourceUri) -> str:
    return uri.query.get("split", "train")


def _failures() -> tuple[type[Exception], ...]:
    return (OSError, ValueError, RuntimeError, require("datasets").exceptions.DatasetsError)


@contextmanager
def _opening(uri: SourceUri) -> Generator[None, None, None]:
    name = uri.location
    try:
        yield
    except (FileNotFoundError, ConnectionError) as error:
        message = f"There is no dataset {name!r} in reach; check its name, the network and HF_HUB_OFFLINE."
        raise SourceNotFoundError(message) from error
    except ValueError as error:
        raise ConfigError(f"The dataset {name!r} cannot be opened so: {_first_line(error)}") from error
    except _failures() as error:
        raise SourceError(f"The dataset {name!r} cannot be opened: {_first_line(error)}") from error


def _records(
    rows: Iterable[Any], place: str, options: SourceOptions, origin: str | None = None
) -> Iterator[Document | Rejection]:
    iterator, number, failures = iter(rows), 0, _failures()
    while True:
        try:
            row = next(iterator, None)
        except failures as error:
            raise SourceError(f"{place} broke off after {number} records: {_first_line(error)}") from error
        if row is None:
            return
        number += 1
        yield document_from_row(row, f"{place}:{number}", options, origin=origin)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
