"""What chance gives: decoy matches through the same code, and a q-value for every match (SCIENCE 4.6).

(a) Deranged documents: spans under the identity of another document of the same domain and length, positions kept. Matches of
A with this decoy share position and domain statistics but not content [target-decoy competition, He et al. 2022]. Either model
can be the deranged one, which gives two decoys. Their ρ is over the spans that both views cover, some 50 to 75 % of all, so
what chance gives is if anything overstated by the smaller sample.
(b) Rotated layers: each layer of B multiplied by random orthogonal matrices; what a neuron still correlates with is the layer's
span, not a neuron [U]. In untrained models no basis is special, so rotated matches are as strong as true ones.

A match competes by its excess: its strength above the mean of what the same neuron of A reaches in the decoys; a decoy's matches
compete by theirs above the other decoys. A neuron that any direction of a low-rank layer resembles, or that follows position
alone, thus needs more than others do. On untrained models, where every q against (a) is below 0.01, none is against (b).

What it does not know: rotations dilute. Where some neurons of a layer are shared and the others are not, those others resemble
the rotated layer less than the true one, and a few of them pass (3 of 43 where 40 neurons of 160 were planted). Nor does it
know domains. Cost: (a) two more matchings, (b) R more, each with a QR and a product of 1,024 columns per neuron.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from curator.atlas.store import Atlas
from curator.errors import StorageError
from curator.rosetta.matching import MatchTable, View, decoy_view, match_atlases, true_view
from curator.rosetta.pairwise import MEMORY_BYTES, row_blocks
from curator.rosetta.verify import filled
from curator.settings import MatchSettings

_ROTATED_TOGETHER = 1024  # a rotation of so many neurons mixes them as well as one of the layer, and costs far less
_ROTATED_NEURONS, _FEWEST_ROTATIONS, _MOST_ROTATIONS = 8192, 2, 8


@dataclass(frozen=True, slots=True)
class Null:
    """What one kind of decoy says of the matches of A with B.

    ``decoys`` are the tables of its R runs and ``decoy_excess`` the excess of their matches; ``baseline_N`` what each neuron of A
    reaches in them on average; ``q`` (M,) a q-value for every match; ``threshold`` the least excess within the allowed false
    discovery rate, infinite when there is none.
    """

    decoys: tuple[MatchTable, ...]
    decoy_excess: tuple[np.ndarray, ...]
    baseline_N: np.ndarray
    q: np.ndarray
    threshold: float

    def passes(self, table: MatchTable, *, absolute: bool) -> np.ndarray:
        """Which matches of A in a table that is none of the decoys exceed the threshold, (M,) bool."""
        return excess_over(table, self.baseline_N, absolute=absolute) >= self.threshold


def null_of(matches: MatchTable, decoys: Sequence[MatchTable], max_q: float, *, absolute: bool) -> Null:
    """Let matches compete with those of at least two decoys."""
    total_N, runs = np.sum([decoy.strongest for decoy in decoys], axis=0), len(decoys)
    baseline_N = total_N / runs
    target = excess_over(matches, baseline_N, absolute=absolute)
    competing = tuple(
        excess_over(decoy, (total_N - decoy.strongest) / (runs - 1), absolute=absolute) for decoy in decoys
    )
    q = q_values(target, competing)
    return Null(tuple(decoys), competing, baseline_N, q, float(target[q <= max_q].min(initial=np.inf)))


def excess_over(matches: MatchTable, baseline_N: np.ndarray, *, absolute: bool) -> np.ndarray:
    """Strength of each match above what its neuron of A reaches anyway, (M,)."""
    return matches.strength(absolute=absolute) - baseline_N[matches.first]


def q_values(target_M: np.ndarray, decoys: Sequence[np.ndarray]) -> np.ndarray:
    """q of each target score, (M,): min over t ≤ score of (1 + decoys ≥ t) / R / (targets ≥ t), at most 1.

    ``decoys`` are the scores of the matches of R nulls. The smallest q that M targets can reach is 1 / (R M).
    """
    if not len(target_M):
        return np.zeros(0)
    ascending, pooled = np.sort(target_M), np.sort(np.concatenate(decoys))
    targets_above = len(ascending) - np.searchsorted(ascending, target_M, side="left")
    decoys_above = len(pooled) - np.searchsorted(pooled, target_M, side="left")
    rate = np.minimum(1.0, (1 + decoys_above) / (len(decoys) * targets_above))
    order = np.argsort(target_M, kind="stable")
    q = np.empty_like(rate)
    q[order] = np.minimum.accumulate(rate[order])
    return q


def deranged_views(first: Atlas, second: Atlas) -> Iterator[tuple[View, View]]:
    """A with B's documents deranged, and A's documents deranged with B: two nulls with different pairings."""
    yield true_view(first), decoy_view(second)
    yield decoy_view(first), true_view(second)


def rotated_views(
    first: Atlas, second: Atlas, settings: MatchSettings, *, memory_bytes: int = MEMORY_BYTES
) -> Iterator[tuple[View, View]]:
    """A with B's layers rotated, once for each of the R seeds; made when they are asked for."""
    for run in range(rotations_of(settings, min(first.neurons, second.neurons))):
        yield true_view(first), rotated_view(second, settings.seed + run, memory_bytes=memory_bytes)


def deranged_matches(
    first: Atlas, second: Atlas, settings: MatchSettings, *, memory_bytes: int = MEMORY_BYTES
) -> tuple[MatchTable, ...]:
    """Matches in each of ``deranged_views``."""
    return _matches(first, second, deranged_views(first, second), settings, memory_bytes)


def rotated_matches(
    first: Atlas, second: Atlas, settings: MatchSettings, *, memory_bytes: int = MEMORY_BYTES
) -> tuple[MatchTable, ...]:
    """Matches in each of ``rotated_views``."""
    return _matches(
        first, second, rotated_views(first, second, settings, memory_bytes=memory_bytes), settings, memory_bytes
    )


def _matches(
    first: Atlas, second: Atlas, views: Iterable[tuple[View, View]], settings: MatchSettings, memory_bytes: int
) -> tuple[MatchTable, ...]:
    return tuple(match_atlases(first, second, settings, views=pair, memory_bytes=memory_bytes) for pair in views)


def rotations_of(settings: MatchSettings, neurons: int) -> int:
    """R: as set, or as many as make 8,192 neurons of the smaller model, from 2 to 8: what has few matches needs more decoys."""
    return settings.rotations or min(_MOST_ROTATIONS, max(_FEWEST_ROTATIONS, _ROTATED_NEURONS // max(1, neurons)))


def rotated_view(atlas: Atlas, seed: int, *, memory_bytes: int = MEMORY_BYTES) -> View:
    """The atlas with each layer's living neurons multiplied by random orthogonal matrices, up to 1,024 of them together.

    A span that the model does not cover stays uncovered.

    Above half of the budget the rotated values lie in nameless temporary files, which go with the view. Raises StorageError
    when the disk has no room for them.
    """
    names = ("signature_Nd", "held_NV")
    stores = [_Store(atlas[name].shape, memory_bytes // 4) for name in names]
    for start, stop, rotation in _rotations(atlas, seed):
        alive = np.flatnonzero(atlas["alive"][start:stop])
        for name, store in zip(names, stores, strict=True):
            block = np.zeros((stop - start, atlas[name].shape[1]), dtype=np.float32)
            if len(alive):
                values = atlas[name][start:stop][alive]
                block[alive] = np.where(np.isnan(values), np.nan, rotation @ filled(values))
            store.append(block)
    signature, held = (store.array() for store in stores)
    return View(signature, held, atlas["alive"])


def _rotations(atlas: Atlas, seed: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Consecutive blocks (start, stop) of neurons, none across layers, with the rotation of their living ones."""
    generator = np.random.default_rng(seed)
    for offset, width in zip(atlas.offsets[:-1].tolist(), atlas.manifest.layer_widths, strict=True):
        step = -(-width // -(-width // _ROTATED_TOGETHER))  # as few blocks as the limit allows, of about equal size
        for start, stop in row_blocks(width, max(1, step)):
            living = int(atlas["alive"][offset + start : offset + stop].sum())
            yield offset + start, offset + stop, _random_orthogonal(living, generator)


def _random_orthogonal(size: int, generator: np.random.Generator) -> np.ndarray:
    """Haar-distributed: QR of a Gaussian with the signs of R's diagonal taken out [Mezzadri 2007]. (size, size) float32."""
    q, r = np.linalg.qr(generator.standard_normal((size, size)))
    return (q * np.sign(np.diag(r))).astype(np.float32)


class _Store:
    """Rows of float32, appended until an array of ``shape`` is full: in memory, or in a nameless file above ``limit`` bytes."""

    def __init__(self, shape: tuple[int, ...], limit: int) -> None:
        self._shape = shape
        self._bytes = 4 * int(np.prod(shape))
        self._file = tempfile.TemporaryFile() if self._bytes > limit else io.BytesIO()  # noqa: SIM115 - ``array`` closes it

    def append(self, rows: np.ndarray) -> None:
        """Add the next rows."""
        try:
            self._file.write(rows.tobytes())
            self._file.flush()
        except OSError as error:
            self._file.close()
            raise StorageError(
                f"The temporary folder has no room for {self._bytes} bytes of rotated values; raise memory_bytes or set TMPDIR."
            ) from error

    def array(self) -> np.ndarray:
        """Everything that was added, read-only; nothing can be added after."""
        if isinstance(self._file, io.BytesIO):
            return np.frombuffer(self._file.getbuffer(), dtype=np.float32).reshape(self._shape)
        with self._file:  # the map keeps the file's contents
            return np.memmap(self._file, dtype=np.float32, mode="r", shape=self._shape)
