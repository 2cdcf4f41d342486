"""``scores.parquet``: one row per document in corpus order, so that a later run can select again without a model.

Columns: document_id, value, probability, tokens, top_neurons, kept, reason. Scores of documents that could not be scored are
null. Rows are written in groups of 16,384, so memory is flat. It needs pyarrow; without it there is no sidecar, which the
manifest shows by not listing the file. It does not know policies.
"""

from __future__ import annotations

from typing import IO, Any, Self

from curator.filtering.rows import Row
from curator.filtering.shards import load_pyarrow

SCORES = "scores.parquet"
_ROW_GROUP = 16_384
_ZSTD_LEVEL = 3


class ScoreSidecar:
    """Writes the sidecar into an open binary file, as a context manager."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._pyarrow, parquet = load_pyarrow()
        text, real = self._pyarrow.string(), self._pyarrow.float64()
        self._schema = self._pyarrow.schema(
            [
                ("document_id", text),
                ("value", real),
                ("probability", real),
                ("tokens", self._pyarrow.int64()),
                ("top_neurons", self._pyarrow.list_(text)),
                ("kept", self._pyarrow.bool_()),
                ("reason", text),
            ]
        )
        self._writer = parquet.ParquetWriter(handle, self._schema, compression="zstd", compression_level=_ZSTD_LEVEL)
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self._flush()
        self._writer.close()

    def write(self, row: Row) -> None:
        """Add the scores and the verdict of one document."""
        decision = row.decision
        score = decision.score
        self._rows.append(
            {
                "document_id": decision.document.id,
                "value": score.value if score else None,
                "probability": score.probability if score else None,
                "tokens": score.tokens if score else None,
                "top_neurons": list(score.top_neurons) if score else [],
                "kept": decision.kept,
                "reason": str(decision.reason) if decision.reason else "",
            }
        )
        if len(self._rows) == _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._pyarrow.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []
