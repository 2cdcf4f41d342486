"""What is decided as one: a whole document, or a window of one where windows are kept on their own.

A document that was scored by windows gets the token-weighted mean of their scores, or their maximum, and the sum of their
tokens; windows without a score are left out, and a document all of whose windows failed has failed for the first one's reason.
It is contaminated when one of its windows is. Its text hash is made from those of its windows: texts are cut the same way
wherever they stand, so equal documents have equal hashes. A document in one piece keeps its numbers bit for bit.

Cost: nothing where no document has windows (the units are views of the rows), otherwise a few passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from curator.filtering.arrays import ScoreArrays, mix64
from curator.filtering.policy import WindowRule

_Kind = TypeVar("_Kind", bound=np.generic)


@dataclass(frozen=True, eq=False, slots=True)
class Units:
    """The U units of a selection; arrays as in ``ScoreArrays``, and ``unit_D`` says which unit a row belongs to."""

    value_TU: NDArray[np.float64]
    probability_TU: NDArray[np.float64]
    tokens_U: NDArray[np.int64]
    reason_U: NDArray[np.int16]
    contaminated_U: NDArray[np.bool_]
    id_hash_U: NDArray[np.uint64]
    text_hash_U2: NDArray[np.uint64] | None
    unit_D: NDArray[np.int64] | None

    @property
    def count(self) -> int:
        """Number of units U."""
        return int(self.tokens_U.size)

    def to_rows(self, array_U: NDArray[_Kind]) -> NDArray[_Kind]:
        """What was found for units, for each of their rows."""
        return array_U if self.unit_D is None else array_U[self.unit_D]


def units_of(arrays: ScoreArrays, windows: WindowRule) -> Units:
    """The units that a policy decides. ``unit_D`` is None where every row is a unit."""
    if windows == "window" or arrays.documents == arrays.rows:
        return _rows_as_units(arrays)
    return _documents_as_units(arrays, windows)


def _rows_as_units(arrays: ScoreArrays) -> Units:
    is_window_D = arrays.window_D >= 0
    id_hash_D = arrays.id_hash_D
    if is_window_D.any():  # windows of one document are sampled each on its own
        id_hash_D = np.where(is_window_D, mix64(id_hash_D + arrays.window_D.astype(np.uint64)), id_hash_D)
    return Units(
        arrays.value_TD,
        arrays.probability_TD,
        arrays.tokens_D,
        arrays.reason_D,
        arrays.contaminated_D,
        id_hash_D,
        arrays.text_hash_D2,
        None,
    )


def _documents_as_units(arrays: ScoreArrays, windows: WindowRule) -> Units:
    unit_D = arrays.document_D
    start_U = np.flatnonzero(arrays.opens_document_D)
    whole_U = np.diff(start_U, append=unit_D.size) == 1
    scored_D = arrays.reason_D == 0
    reason_U = np.where(np.logical_or.reduceat(scored_D, start_U), 0, arrays.reason_D[start_U]).astype(np.int16)

    def merged(array_TD: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = [
            np.fmax.reduceat(row_D, start_U)
            if windows == "document_max"
            else _weighted_means(row_D, arrays.tokens_D, unit_D, start_U)
            for row_D in array_TD
        ]
        return np.where(whole_U, array_TD[:, start_U], np.stack(rows))

    return Units(
        merged(arrays.value_TD),
        merged(arrays.probability_TD),
        np.add.reduceat(arrays.tokens_D, start_U),
        reason_U,
        np.logical_or.reduceat(arrays.contaminated_D, start_U),
        arrays.id_hash_D[start_U],
        _joined_hashes(arrays, start_U, whole_U),
        unit_D,
    )


def _weighted_means(
    score_D: NDArray[np.float64], tokens_D: NDArray[np.int64], unit_D: NDArray[np.int64], start_U: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean of the finite scores of each unit by tokens, or plain where no window has tokens; NaN where none is finite."""
    finite_D = np.isfinite(score_D)
    weight_D = np.where(finite_D, tokens_D, 0).astype(np.float64)
    empty_U = np.add.reduceat(weight_D, start_U) == 0
    weight_D = np.where(empty_U[unit_D], finite_D, weight_D)
    total_U = np.add.reduceat(weight_D, start_U)
    sum_U = np.add.reduceat(np.where(finite_D, score_D, 0.0) * weight_D, start_U)
    return np.divide(sum_U, total_U, out=np.full(start_U.size, np.nan), where=total_U > 0)


def _joined_hashes(
    arrays: ScoreArrays, start_U: NDArray[np.int64], whole_U: NDArray[np.bool_]
) -> NDArray[np.uint64] | None:
    """One hash pair per document from those of its windows and their numbers."""
    if arrays.text_hash_D2 is None:
        return None
    number_D = (arrays.window_D + 1).astype(np.uint64)
    joined_2U = [
        np.add.reduceat(mix64(mix64(hash_D) + number_D), start_U, dtype=np.uint64) for hash_D in arrays.text_hash_D2.T
    ]
    return np.where(whole_U[:, None], arrays.text_hash_D2[start_U], np.stack(joined_2U, axis=1))
