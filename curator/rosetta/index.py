"""Candidate search: a FAISS inner-product index over the unit-norm signatures of a model's living neurons.

Three kinds. ``flat`` compares with everything and is exact. ``ivf`` looks into the lists of the nearest centroids (k-means on a
seeded sample); ``hnsw`` walks a graph, which one thread builds, for several would insert in a race. ``auto`` is flat on a GPU,
and on a CPU up to ``FLAT_UP_TO`` neurons. Signatures are read in blocks and indexed in shards that fit the memory budget; the
lists of ``ivf`` keep their centroids over all shards, so sharding changes no candidate; a budget that does not hold the whole
training sample makes it smaller, and where it gets thin the lists fewer. With ``absolute`` a query goes both ways.

Measured on two models of 4,608 neurons, d = 2,048: the nearest neighbour is found by flat always, by ivf in 99.0 % of all cases
and 99.8 % of those above 0.3, by hnsw in 100 %; hnsw costs 15 times flat there, and needs everything in memory.
Cost: flat 2 N_A N_B d operations. It does not know correlations: signatures only propose, ``verify`` decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import faiss
import numpy as np

from curator.errors import ConfigError
from curator.rosetta.pairwise import MEMORY_BYTES, Rows, row_blocks, rows_that_fit

IndexKind = Literal["auto", "flat", "ivf", "hnsw"]
FLAT_UP_TO = 131_072
"""Flat search is a matrix product at the speed of arithmetic; lists are read at the speed of memory, and a row of a list was seen
to cost 9.5 times a row of the product. Lists pay once a query looks into far fewer than one in ten, so only in large models."""
_QUERIES = 1024
_FEWEST_QUERIES = 32  # below 20, FAISS leaves the matrix product for loops that round differently
_SHARD_ROWS = 1024
_POINTS_PER_LIST, _FEWEST_POINTS_PER_LIST = 32, 16
_HNSW_LINKS, _HNSW_CONSTRUCTION, _HNSW_SEARCH = 32, 128, 512


@dataclass(frozen=True, slots=True)
class Candidates:
    """Nearest signatures: ``neighbour`` (N, m) int64 indices into the searched neurons, -1 where none, nearest first."""

    neighbour: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True, slots=True)
class UnitRows:
    """The signatures of some neurons, scaled to length one as they are read: row i is neuron ``neurons[i]``."""

    signature_Nd: np.ndarray
    neurons: np.ndarray

    @property
    def width(self) -> int:
        """Dimensions of the sketch, d."""
        return int(self.signature_Nd.shape[1])

    def __len__(self) -> int:
        return len(self.neurons)

    def block(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop``, (stop - start, d) float32."""
        return unit_norm(self.signature_Nd[self.neurons[start:stop]])


def unit_norm(signatures_Nd: np.ndarray) -> np.ndarray:
    """Rows scaled to length one, float32; rows of zeros stay zero."""
    norm = np.linalg.norm(signatures_Nd, axis=1, keepdims=True)
    return np.ascontiguousarray(signatures_Nd / np.where(norm > 0, norm, 1), dtype=np.float32)


def nearest(
    queries: Rows,
    searched: Rows,
    wanted: int,
    *,
    absolute: bool,
    kind: IndexKind = "auto",
    seed: int = 0,
    memory_bytes: int = MEMORY_BYTES,
) -> Candidates:
    """The ``wanted`` nearest rows of ``searched`` for every query, by inner product or its absolute value.

    Rows must have length one. Ties are broken by the lower index. Raises ConfigError when the budget does not hold what the
    kind of index needs: for ``hnsw`` everything at once, for the others a row.
    """
    chosen = resolved(kind, len(searched))
    wanted = min(wanted, len(searched))
    step = min(_QUERIES, rows_that_fit(memory_bytes // 8, 4 * searched.width))
    neighbour = np.full((len(queries), wanted), -1, dtype=np.int64)
    similarity = np.full((len(queries), wanted), -np.inf, dtype=np.float32)
    for first, index in _shards(searched, chosen, seed, memory_bytes):
        for start, stop in row_blocks(len(queries), step):
            mine = slice(start, stop)
            found = _search(index, queries.block(start, stop), min(wanted, index.ntotal), absolute)
            best = _merged(Candidates(neighbour[mine], similarity[mine]), found, first, wanted)
            neighbour[mine], similarity[mine] = best.neighbour, best.similarity
    return Candidates(neighbour, similarity)


def resolved(kind: IndexKind, searched: int) -> str:
    """The index that a setting stands for."""
    if kind != "auto":
        return kind
    return "flat" if _gpus() or searched <= FLAT_UP_TO else "ivf"


def _merged(old: Candidates, new: Candidates, first: int, wanted: int) -> Candidates:
    """The best of an earlier result and of a shard that starts at row ``first``; -1 and repeats go last."""
    neighbour = np.hstack([old.neighbour, np.where(new.neighbour < 0, -1, new.neighbour + first)])
    similarity = np.where(neighbour < 0, -np.inf, np.hstack([old.similarity, new.similarity]))
    order = np.lexsort((neighbour, -similarity), axis=1)[:, :wanted]
    return Candidates(np.take_along_axis(neighbour, order, 1), np.take_along_axis(similarity, order, 1))


def _search(index: Any, queries: np.ndarray, wanted: int, absolute: bool) -> Candidates:
    rows = len(queries)
    padded = np.zeros((max(rows, _FEWEST_QUERIES), queries.shape[1]), dtype=np.float32)
    padded[:rows] = queries
    similarity, neighbour = (part[:rows] for part in index.search(padded, wanted))
    if absolute:
        negative, other = (part[:rows] for part in index.search(-padded, wanted))
        similarity, neighbour = np.hstack([similarity, negative]), np.hstack([neighbour, other])
        neighbour = _without_repeats(neighbour, similarity)
    return Candidates(neighbour, similarity)


def _without_repeats(neighbour: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """A row found under both signs counts once, under the sign that is nearer: the other becomes -1."""
    order = np.lexsort((-similarity, neighbour), axis=1)
    sorted_rows = np.take_along_axis(neighbour, order, 1)
    sorted_rows[:, 1:][sorted_rows[:, 1:] == sorted_rows[:, :-1]] = -1
    out = np.empty_like(neighbour)
    np.put_along_axis(out, order, sorted_rows, 1)
    return out


def _shards(searched: Rows, kind: str, seed: int, memory_bytes: int) -> Iterator[tuple[int, Any]]:
    """The first row of each shard, and its index: one at a time, each within half of the budget."""
    step = rows_that_fit(memory_bytes // 2, 4 * searched.width)
    step = step - step % _SHARD_ROWS if step > _SHARD_ROWS else step
    if kind == "hnsw":
        if step < len(searched):
            raise ConfigError(f"The hnsw index of {len(searched)} neurons exceeds the memory budget; use flat or ivf.")
        yield 0, _graph(searched)
        return
    lists = _Lists.trained(searched, seed, memory_bytes // 2) if kind == "ivf" else None
    for start, stop in row_blocks(len(searched), step):
        index = lists.empty() if lists else _on_device(faiss.IndexFlatIP(searched.width))
        _fill(index, searched, start, stop)
        yield start, index


def _fill(index: Any, rows: Rows, start: int, stop: int) -> None:
    for low, high in row_blocks(stop - start, _SHARD_ROWS):
        index.add(rows.block(start + low, start + high))


@dataclass(frozen=True, slots=True)
class _Lists:
    """Centroids shared by the shards of an inverted file, and how many lists a query looks into."""

    centroids: Any
    lists: int
    probes: int

    @classmethod
    def trained(cls, rows: Rows, seed: int, memory_bytes: int) -> _Lists:
        """About 4 √N lists by k-means on a sample drawn by ``seed``; a query looks into 64 and one in 32 of them.

        The sample is 32 neurons a list, or what fits the budget; with fewer than 16 a list there are fewer lists.
        """
        lists = max(1, min(len(rows) // 8, round(4 * len(rows) ** 0.5)))
        size = min(len(rows), _POINTS_PER_LIST * lists, rows_that_fit(memory_bytes, 4 * rows.width))
        if size < min(len(rows), _FEWEST_POINTS_PER_LIST * lists):
            lists = max(1, size // _FEWEST_POINTS_PER_LIST)
        sample = np.sort(np.random.default_rng(seed).choice(len(rows), size, replace=False))
        points = np.concatenate([rows.block(int(row), int(row) + 1) for row in sample])
        centroids = faiss.IndexFlatIP(rows.width)
        parameters = faiss.ClusteringParameters()
        parameters.seed, parameters.niter, parameters.spherical = 1 + seed, 10, True
        parameters.min_points_per_centroid = 1  # no warning on small models
        faiss.Clustering(rows.width, lists, parameters).train(points, centroids)
        return cls(centroids, lists, min(lists, 64 + lists // 32))

    def empty(self) -> Any:
        """An inverted file without rows."""
        index = faiss.IndexIVFFlat(self.centroids, self.centroids.d, self.lists, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = self.probes
        return index


def _graph(rows: Rows) -> Any:
    index = faiss.IndexHNSWFlat(rows.width, _HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = _HNSW_CONSTRUCTION, _HNSW_SEARCH
    with _one_thread():
        _fill(index, rows, 0, len(rows))
    return index


@contextmanager
def _one_thread() -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _gpus() -> int:
    """GPUs that this build of FAISS sees; the CPU build has the function and answers 0, or lacks it."""
    count = getattr(faiss, "get_num_gpus", None)
    return int(count()) if count else 0


def _on_device(index: Any) -> Any:
    if not _gpus():
        return index
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
