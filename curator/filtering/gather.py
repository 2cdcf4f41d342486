"""Read all score files of a job into the arrays that a selection works on.

Files are read one at a time, their bytes compared with the ledger's hash, into arrays of their final size, so the peak is the
arrays themselves (56 bytes a row for one target, up to 80 with all extras) plus one score file. It does not
know policies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from curator.errors import ArtifactError
from curator.filtering.arrays import REASONS, ScoreArrays, SignatureBlocks, hash_strings
from curator.filtering.ledger import ShardRecord
from curator.filtering.score_file import read_score_file

pc: Any = pyarrow.compute  # its functions are made at import, so no type checker sees them
_COLUMNS = ("place", "reason", "tokens", "size", "contaminated", "window")


class Extras(NamedTuple):
    """What only some policies look at; what is not wanted takes no memory."""

    id_hashes: bool = False
    """For draws by document id; 8 bytes a row. Without them all hashes are 0."""
    text_hashes: bool = False
    """For exact duplicates; 16 bytes a row."""
    signatures: bool = False
    """For near duplicates, where the score files hold signatures."""


def gather(
    work: Path, records: Sequence[ShardRecord], targets: Sequence[str], extras: Extras, *, first_piece: int = 0
) -> ScoreArrays:
    """The arrays of a job, rows in the order of ``records``: the ledger's entries of pieces, from number ``first_piece`` on.

    Raises ArtifactError when a score file is damaged or does not hold the rows that its entry counts.
    """
    rows = sum(record.rows for record in records)
    value_TD = np.full((len(targets), rows), np.nan)
    probability_TD = np.full((len(targets), rows), np.nan)
    columns: dict[str, Any] = {name: np.zeros(rows, kind) for name, kind in _KINDS.items()}
    columns["id_hash_D"] = np.zeros(rows, np.uint64) if extras.id_hashes else np.broadcast_to(np.uint64(0), rows)
    text_hash_D2 = np.zeros((rows, 2), np.uint64) if extras.text_hashes else None
    wanted = [*_COLUMNS, *(["document_id"] if extras.id_hashes else []), *(["text_hash"] if extras.text_hashes else [])]
    wanted += [*(f"{field}:{target}" for target in targets for field in ("value", "probability"))]
    start = 0
    for number, record in enumerate(records, first_piece):
        table = read_score_file(work, record.files[0], wanted)
        if table.num_rows != record.rows:
            raise ArtifactError(
                f"{work / record.files[0].name} does not hold {record.rows} rows; delete it and run again."
            )
        here = slice(start, start + record.rows)
        _fill(columns, here, table, number)
        if extras.id_hashes:
            columns["id_hash_D"][here] = _id_hashes(table["document_id"])
        if text_hash_D2 is not None:
            text_hash_D2[here] = _hashes(table)
        for index, target in enumerate(targets):
            value_TD[index, here] = _reals(table[f"value:{target}"])
            probability_TD[index, here] = _reals(table[f"probability:{target}"])
        start = here.stop
    document_D = np.cumsum(columns["window_D"] <= 0, dtype=np.int64) - 1
    return ScoreArrays(
        targets=tuple(targets),
        value_TD=value_TD,
        probability_TD=probability_TD,
        document_D=document_D,
        text_hash_D2=text_hash_D2,
        signatures=_signature_reader(work, records) if extras.signatures else None,
        **columns,
    )


_KINDS = {
    "tokens_D": np.int64,
    "size_D": np.int64,
    "reason_D": np.int16,
    "unreadable_D": np.bool_,
    "contaminated_D": np.bool_,
    "window_D": np.int32,
    "piece_D": np.int32,
    "row_D": np.int32,
}


def _fill(columns: dict[str, NDArray], here: slice, table: pa.Table, piece: int) -> None:
    codes = pc.index_in(table["reason"], value_set=pa.array(REASONS))  # null for a reason that is not known here
    if codes.null_count:
        raise ArtifactError("A score file holds reasons of another version; filter into a new folder.")
    columns["tokens_D"][here] = table["tokens"].to_numpy()
    columns["size_D"][here] = table["size"].to_numpy()
    columns["reason_D"][here] = codes.to_numpy()
    columns["unreadable_D"][here] = pc.not_equal(table["place"], "").to_numpy()
    columns["contaminated_D"][here] = pc.not_equal(table["contaminated"], "").to_numpy()
    columns["window_D"][here] = table["window"].to_numpy()
    columns["piece_D"][here] = piece
    columns["row_D"][here] = np.arange(table.num_rows, dtype=np.int32)


def _reals(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return pc.fill_null(column, float("nan")).to_numpy()


def _id_hashes(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    if not len(column):
        return np.zeros(0, np.uint64)
    array = pa.concat_arrays(column.chunks)
    _, offsets, data = array.buffers()
    offset_S = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    byte_B = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return hash_strings(byte_B, offset_S)


def _hashes(table: pa.Table) -> NDArray[np.uint64]:
    chunks = table["text_hash"].chunks
    words = [
        np.frombuffer(part.buffers()[1], np.uint64)[2 * part.offset : 2 * (part.offset + len(part))] for part in chunks
    ]
    return np.concatenate([np.zeros(0, np.uint64), *words]).reshape(-1, 2)


def _signature_reader(work: Path, records: Sequence[ShardRecord]) -> SignatureBlocks:
    """Reads the signatures again each time it is called, one score file at a time."""

    def read() -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        start = 0
        for record in records:
            column = read_score_file(work, record.files[0], ["minhash"])["minhash"]
            present_B = np.flatnonzero(pc.greater(pc.binary_length(column), 0).to_numpy())
            if present_B.size:
                signatures = b"".join(column.take(pa.array(present_B)).to_pylist())
                yield present_B + start, np.frombuffer(signatures, np.uint8).reshape(present_B.size, -1)
            start += record.rows

    return read
