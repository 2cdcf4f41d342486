"""Received shards on disk: a temporary file until the commit proves it, then a rename; the manifest comes last.

Every chunk is checked against its CRC and position, every shard against its size and SHA-256. A process killed at any moment
leaves ``*.partial-*`` names and no manifest: a folder with a manifest is whole. Of two runs into one folder the second is
refused while the first holds ``.lock`` there (on Windows, and on file systems without locks, nobody is refused), and so is a
folder with files of somebody else; no manifest is written for shards that are gone. ``README.md`` is a card by which
``datasets.load_dataset`` opens the folder. Cost: one hash over the compressed bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from curator.api.v1 import scoring_pb2
from curator.errors import ArtifactError, ConfigError
from curator.files import (
    LOCK,
    atomic_file,
    exclusive,
    inside,
    is_partial,
    local_path,
    partial_name,
    storage_errors,
    sync_folder,
    write_json,
)
from curator.records import Rejection
from curator.version import __version__

MANIFEST = "manifest.json"
CARD = "README.md"
SUFFIX = ".jsonl.zst"
UNREADABLE = "unreadable.jsonl"
"""What the source could not read: place, reason, detail."""
REFUSED = "refused.jsonl"
"""Documents that could not be sent: id as place, reason, detail."""
_NAMES = {CARD, UNREADABLE, REFUSED, LOCK}
_SHARD = re.compile(rf"kept-[0-9]{{10}}{re.escape(SUFFIX)}")
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard as the manifest lists it."""

    name: str
    bytes: int
    sha256: str
    documents: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class FilterReport:
    """What a filtering run did. ``documents_in`` is the sum of kept, rejected and failed.

    What the source could not read, and what could not be sent, is failed too; ``listed`` says how many lines ``unreadable.jsonl``
    and ``refused.jsonl`` name them in. Of all others that were not kept the server tells the counts by reason, and no names.
    """

    documents_in: int
    documents_kept: int
    documents_rejected: int
    documents_failed: int
    tokens_in: int
    tokens_kept: int
    not_kept_by_reason: Mapping[str, int]
    probability_histogram: tuple[int, ...]
    histogram_edges: tuple[float, ...]
    shards: tuple[ShardInfo, ...]
    listed: Mapping[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def from_wire(
        cls, wire: scoring_pb2.FilterReport, shards: tuple[ShardInfo, ...], listed: Mapping[str, int]
    ) -> FilterReport:
        """The merged report of a run with the shards it wrote."""
        return cls(
            documents_in=wire.documents_in,
            documents_kept=wire.documents_kept,
            documents_rejected=wire.documents_rejected,
            documents_failed=wire.documents_failed,
            tokens_in=wire.tokens_in,
            tokens_kept=wire.tokens_kept,
            not_kept_by_reason=dict(sorted(wire.not_kept_by_reason.items())),
            probability_histogram=tuple(wire.probability_histogram),
            histogram_edges=tuple(wire.histogram_edges),
            shards=shards,
            listed=dict(listed),
        )

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return asdict(self)


@contextmanager
def shard_folder(folder: Path) -> Generator[ShardFolder]:
    """A folder that this run holds alone; what is under way is dropped at the end, and the lock with the manifest in place.

    Raises ConfigError when the folder holds a finished result or anything else, or another run is at work on it.
    """
    _require_ours(folder)  # before a lock is left in it
    with ExitStack() as held:
        if os.name != "nt":  # there is no fcntl there
            try:
                held.enter_context(exclusive(folder, str(folder)))
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
        shards = ShardFolder(folder)
        try:
            yield shards
            if (folder / MANIFEST).exists():  # from now on nobody begins here, with or without a lock
                (folder / LOCK).unlink(missing_ok=True)
        finally:
            shards.discard()


def _require_ours(folder: Path) -> None:
    if (folder / MANIFEST).exists():
        raise ConfigError(f"{folder} already holds a finished result; choose another folder.")
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    if foreign := [path.name for path in paths if not _is_ours(path)]:
        raise ConfigError(f"{folder} holds {foreign[0]}, which is no part of a filter's result; choose another folder.")


def _is_ours(path: Path) -> bool:
    return path.name in _NAMES or _SHARD.fullmatch(path.name) is not None or is_partial(path)


class ShardFolder:
    """Writes shards into a folder; ``finish`` makes the folder whole. See ``shard_folder`` for who may."""

    def __init__(self, folder: Path) -> None:
        """Empties the folder of what a killed run left. Raises ConfigError when it holds a finished result, or anything else."""
        _require_ours(folder)
        local_path(folder).mkdir(parents=True, exist_ok=True)
        for unfinished in folder.iterdir():  # no manifest: of a run that never ended
            if unfinished.name != LOCK:
                unfinished.unlink()
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._target = self._partial = folder
        self._digest = hashlib.sha256()
        self._size = 0
        self._shards: list[ShardInfo] = []
        self._listed: Counter[str] = Counter()

    @property
    def listed(self) -> Mapping[str, int]:
        """Lines of each file that names what was not sent."""
        return dict(sorted(self._listed.items()))

    @property
    def shards(self) -> tuple[ShardInfo, ...]:
        """The shards committed so far."""
        return tuple(self._shards)

    def chunk(self, chunk: scoring_pb2.ShardChunk) -> None:
        """Append a piece. Raises ArtifactError when its checksum or position is wrong."""
        if self._file is None:
            self._open(chunk.shard_id)
        if self._file is None or chunk.offset != self._size or self._target.name != chunk.shard_id + SUFFIX:
            raise ArtifactError(f"A piece of shard {chunk.shard_id} is missing; run the filter again.")
        if zlib.crc32(chunk.data) != chunk.crc32:
            raise ArtifactError(f"A piece of shard {chunk.shard_id} arrived damaged; run the filter again.")
        with storage_errors(self._target):
            self._file.write(chunk.data)
        self._digest.update(chunk.data)
        self._size += len(chunk.data)

    def commit(self, commit: scoring_pb2.ShardCommit) -> None:
        """Give the shard its name. Raises ArtifactError when size or SHA-256 differ from the server's."""
        if commit.document_count == 0:
            return
        if self._file is None or self._size != commit.byte_size or self._digest.digest() != commit.sha256:
            self.discard()
            raise ArtifactError(f"Shard {commit.shard_id} differs from what the server sent; run the filter again.")
        with storage_errors(self._target):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
            self._partial.replace(self._target)
            sync_folder(self._folder)
        digest = commit.sha256.hex()
        self._shards.append(
            ShardInfo(self._target.name, commit.byte_size, digest, commit.document_count, commit.committed_seq)
        )

    def not_sent(self, rejections: Iterable[Rejection], *, unread: bool) -> None:
        """Name what never reached the server, in the file for it."""
        lines = [json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in rejections]
        if not lines:
            return
        name = UNREADABLE if unread else REFUSED
        path = self._folder / name
        with storage_errors(path), path.open("a", encoding="utf-8", errors="backslashreplace") as handle:
            handle.writelines(lines)
            handle.flush()
            os.fsync(handle.fileno())
        self._listed[name] += len(lines)

    def discard(self) -> None:
        """Drop the shard that is under way."""
        if self._file is not None:
            with suppress(OSError):  # a full disk, which has been told of
                self._file.close()
            self._file = None
            self._partial.unlink(missing_ok=True)

    def finish(self, opened: scoring_pb2.Opened, threshold: Mapping[str, float], report: FilterReport) -> None:
        """Write the card, and then the manifest: from now on the folder is whole.

        Raises ArtifactError when a shard is gone or cut.
        """
        for shard in self._shards:
            path = self._folder / shard.name
            if not path.is_file() or path.stat().st_size != shard.bytes:
                raise ArtifactError(f"{path} was removed or changed by someone else; run the filter again.")
        manifest = {
            "kind": "curator.filtered",
            "curator": __version__,
            "neuron_set": opened.neuron_set,
            "etag": opened.neuron_set_etag,
            "model_fingerprint": opened.model_fingerprint,
            "threshold": dict(threshold),
            **report.to_json(),
        }
        with atomic_file(self._folder / CARD) as handle:
            handle.write(_card(manifest, bool(self._shards)).encode())
        write_json(self._folder / MANIFEST, manifest)

    def _open(self, shard_id: str) -> None:
        self._target = inside(self._folder, shard_id + SUFFIX)
        if self._target.parent != self._folder.resolve():
            raise ArtifactError(f"The server named a shard {shard_id!r}, which is not a plain name; update the server.")
        self._partial = partial_name(self._target)
        with storage_errors(self._target):
            self._file = self._partial.open("wb")
        self._digest = hashlib.sha256()
        self._size = 0


def _card(manifest: Mapping[str, Any], any_kept: bool) -> str:
    """YAML that tells ``datasets`` which files to open, then the counts in words."""
    configs = ["configs:", "- config_name: default", "  data_files:", "  - split: train", f"    path: kept-*{SUFFIX}"]
    counts = [f"| {name} | {manifest[f'documents_{name}']:,} |" for name in ("in", "kept", "rejected", "failed")]
    lines = [
        "---", *(configs if any_kept else []), "tags:", "- rosetta-curator", "---", "", "# Filtered documents", "",
        f"Selected by {manifest['neuron_set']} ({manifest['etag']}) through rosetta-curator {manifest['curator']}.", "",
        "| | documents |", "|---|---:|", *counts, "",
    ]  # fmt: skip
    return "\n".join(lines)
