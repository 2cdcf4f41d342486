"""Score files: Parquet, one row for every record of a piece in its order, or for every window of a document.

    document_id            "" for a record that never became a document
    place                  where such a record stands, "" for documents
    reason, detail         why there is no score, "" where there is one
    tokens                 tokens that the model read; 0 without a score
    size                   bytes of the user's part of the record as a JSON line, by which output shards are packed
    value:<target>, probability:<target>, neurons:<target>      for every target; null and empty without a score
    text_hash              BLAKE2b-128 of the text of the row (document or window) as UTF-8; zeros for records without a text
    minhash                near-duplicate signature, empty when none was asked for
    contaminated           name of the evaluation file that the text shares a passage with, "" otherwise
    window, window_start, window_end     number of the window (-1: a whole document) and its bytes in the text

No text is copied: about 60 bytes a row and target after compression, most of it ids, hashes and numbers. Rows are written in
groups of 16,384, so memory is flat. The files are the sidecar that ``--from-scores`` and other tools read. It does not know
policies.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from curator import fingerprint
from curator.errors import ArtifactError
from curator.filtering.shards import ShardInfo
from curator.filtering.windows import WHOLE
from curator.records import Score

SCORES = "scores"
HASH_BYTES = 16
_ROW_GROUP = 16_384
_ZSTD_LEVEL = 3


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One row before it is written; ``scores`` are in the order of the targets, or empty."""

    document_id: str
    place: str = ""
    reason: str = ""
    detail: str = ""
    size: int = 0
    scores: tuple[Score, ...] = ()
    text_hash: bytes = bytes(HASH_BYTES)
    annotations: Mapping[str, Any] | None = None
    window: int = WHOLE
    window_start: int = 0
    window_end: int = 0


def score_file_name(step: str) -> str:
    """Name, within an output or its work folder, of the file that a scoring step writes."""
    return f"{SCORES}/{step}.parquet"


def text_hash(text: str) -> bytes:
    """BLAKE2b-128 of a text: two texts of a corpus with one hash are the same text."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()


def score_schema(targets: Sequence[str]) -> pa.Schema:
    """The schema of every score file of a job with these targets."""
    text = pa.string()
    numbers = [(name, pa.int64()) for name in ("tokens", "size")]
    scores = [
        column
        for target in targets
        for column in (
            (f"value:{target}", pa.float64()),
            (f"probability:{target}", pa.float64()),
            (f"neurons:{target}", pa.list_(text)),
        )
    ]
    windows = [("window", pa.int32()), ("window_start", pa.int64()), ("window_end", pa.int64())]
    return pa.schema(
        [
            *((name, text) for name in ("document_id", "place", "reason", "detail")),
            *numbers,
            *scores,
            ("text_hash", pa.binary(HASH_BYTES)),
            ("minhash", pa.binary()),
            ("contaminated", text),
            *windows,
        ]
    )


class ScoreFileWriter:
    """Writes rows into an open binary file; counts them. Leaving the block without an error completes the file."""

    def __init__(self, handle: IO[bytes], targets: Sequence[str]) -> None:
        self.rows = self.tokens = 0
        self._targets = tuple(targets)
        self._schema = score_schema(targets)
        self._writer = pq.ParquetWriter(handle, self._schema, compression="zstd", compression_level=_ZSTD_LEVEL)
        self._pending: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self._flush()
        self._writer.close()

    def write(self, row: ScoreRow) -> None:
        """Add one row."""
        columns = _columns(row, self._targets)
        self.rows += 1
        self.tokens += columns["tokens"]
        self._pending.append(columns)
        if len(self._pending) == _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_table(pa.Table.from_pylist(self._pending, schema=self._schema))
            self._pending = []


def _columns(row: ScoreRow, targets: Sequence[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "document_id": row.document_id,
        "place": row.place,
        "reason": row.reason,
        "detail": row.detail,
        "tokens": row.scores[0].tokens if row.scores else 0,
        "size": row.size,
        "text_hash": row.text_hash,
        "minhash": b"",
        "contaminated": "",
        "window": row.window,
        "window_start": row.window_start,
        "window_end": row.window_end,
        **(row.annotations or {}),
    }
    for target, score in zip(targets, row.scores or (None,) * len(targets), strict=True):
        columns[f"value:{target}"] = score.value if score else None
        columns[f"probability:{target}"] = score.probability if score else None
        columns[f"neurons:{target}"] = list(score.top_neurons) if score else []
    return columns


def read_score_file(work: Path, file: ShardInfo, columns: Sequence[str] | None = None) -> pa.Table:
    """Some or all columns of a score file, after its bytes were compared with their hash.

    Raises ArtifactError when they differ, with the fix: a file that is deleted is made again by the next run.
    """
    path = work / file.name
    data = path.read_bytes()
    if fingerprint.of_bytes(data) != file.sha256:
        raise ArtifactError(f"{path} is not the file that was written; delete it and run the same job again.")
    return pq.read_table(io.BytesIO(data), columns=list(columns) if columns else None)


def scores_of(rows: Iterable[Mapping[str, Any]], targets: Sequence[str]) -> list[dict[str, Score]]:
    """The scores of rows read back, by target; empty where a row was not scored."""
    found: list[dict[str, Score]] = []
    for row in rows:
        scores: dict[str, Score] = {}
        for target in targets:
            if row[f"value:{target}"] is not None:
                numbers = row[f"value:{target}"], row[f"probability:{target}"], row["tokens"]
                scores[target] = Score(row["document_id"], *numbers, tuple(row[f"neurons:{target}"]))
        found.append(scores)
    return found
