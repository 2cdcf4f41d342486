"""A linear score of a text's hashed byte n-grams: what a cascade asks before it asks the model.

A text's score is the mean weight over its n-grams (``text/ngrams``). A batch is one array of bytes, so a core scores about 40 MB
of text a second, where a model reads kilobytes. NumPy is all that scoring needs. A prefilter is a megabyte for each target, with
a fingerprint; how it is fitted and what its cutoffs promise is in ``distill``. It does not know neurons.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curator import fingerprint
from curator.errors import ArtifactError, ArtifactNotFoundError
from curator.files import atomic_folder, read_json, write_json
from curator.text.ngrams import ORDERS, buckets, folded

FORMAT = "curator-prefilter-1"
_MANIFEST, _WEIGHTS = "prefilter.json", "weights.npy"
_BATCH_BYTES = 1 << 20


@dataclass(frozen=True)
class Prefilter:
    """Weights (T, buckets) float32 and a cutoff for each of T targets; a document passes when it reaches any cutoff.

    ``report`` is what was measured when it was made: see ``distill.PrefilterReport``.
    """

    targets: tuple[str, ...]
    weights_TB: np.ndarray
    cutoffs: tuple[float, ...]
    scorer_etag: str
    report: dict[str, Any]

    @property
    def bits(self) -> int:
        """Buckets are 2 to this power."""
        return int(self.weights_TB.shape[1]).bit_length() - 1

    @property
    def fingerprint(self) -> str:
        """Of everything that decides."""
        stated = {"orders": ORDERS, "targets": self.targets, "cutoffs": self.cutoffs, "scorer": self.scorer_etag}
        return fingerprint.of_parts([json.dumps(stated), fingerprint.of_bytes(self.weights_TB.tobytes())])

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """(T, D) float64; minus infinity for a text that is shorter than an n-gram."""
        parts = [_mean_weights(batch, self.weights_TB, self.bits) for batch in _batches(texts)]
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(self.targets), 0))

    def passes(self, texts: Sequence[str]) -> np.ndarray:
        """Which texts go on to the model, (D,) bool. A text too short for an n-gram does: nothing speaks against it."""
        scores_TD = self.scores(texts)
        reached_TD = scores_TD >= np.asarray(self.cutoffs)[:, None]
        return np.any(reached_TD, axis=0) | np.all(np.isneginf(scores_TD), axis=0)


def save_prefilter(prefilter: Prefilter, folder: Path) -> None:
    """Write it, whole or not at all."""
    with atomic_folder(folder) as temporary:
        np.save(temporary / _WEIGHTS, prefilter.weights_TB, allow_pickle=False)
        stated = {
            "format": FORMAT,
            "targets": list(prefilter.targets),
            "cutoffs": list(prefilter.cutoffs),
            "scorer_etag": prefilter.scorer_etag,
            "report": prefilter.report,
            "fingerprint": prefilter.fingerprint,
        }
        write_json(temporary / _MANIFEST, stated)


def load_prefilter(folder: Path) -> Prefilter:
    """Read it back. Raises ArtifactNotFoundError when there is none, ArtifactError when it was changed."""
    if not folder.is_dir():
        raise ArtifactNotFoundError(f"There is no prefilter at {folder}; run the job again to make one.")
    stated = read_json(folder / _MANIFEST)
    try:
        found = Prefilter(
            tuple(stated["targets"]),
            np.load(folder / _WEIGHTS, allow_pickle=False),
            tuple(stated["cutoffs"]),
            stated["scorer_etag"],
            stated["report"],
        )
    except (KeyError, OSError, ValueError) as error:
        raise ArtifactError(f"The prefilter at {folder} cannot be read; remove it and run the job again.") from error
    if stated.get("format") != FORMAT or found.fingerprint != stated.get("fingerprint"):
        raise ArtifactError(
            f"The prefilter at {folder} was changed after it was made; remove it and run the job again."
        )
    return found


def _batches(texts: Sequence[str]) -> Iterator[list[bytes]]:
    """Folded texts in order, about a megabyte at a time, which the caches like."""
    batch: list[bytes] = []
    size = 0
    for text in texts:
        data = folded(text)
        if batch and size + len(data) > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(data)
        size += len(data)
    if batch:
        yield batch


def _mean_weights(batch: Sequence[bytes], weights_TB: np.ndarray, bits: int) -> np.ndarray:
    """(T, D) mean weights; n-grams that cross into the next text are not counted."""
    data = b"".join(batch)
    lengths_D = np.asarray([len(part) for part in batch])
    start_D = np.cumsum(lengths_D) - lengths_D
    total_TD = np.zeros((len(weights_TB), len(batch)))
    count_D = np.zeros(len(batch), np.int64)
    for order in ORDERS:
        grams_D = np.maximum(0, lengths_D - order + 1)
        bucket = buckets(data, order, bits)
        begin_D = np.minimum(start_D, len(bucket))
        for target, weights_B in enumerate(weights_TB):
            running = np.concatenate([[0.0], np.cumsum(weights_B[bucket], dtype=np.float64)])
            total_TD[target] += running[begin_D + grams_D] - running[begin_D]
        count_D += grams_D
    return np.where(count_D > 0, total_TD / np.maximum(1, count_D), -np.inf)
