"""Counts of an anchor's Rosetta neurons along a dial: correlation threshold, k, amount of text; and control classes.

Thresholds, k and classes are read off the draws of the fold bootstrap, whose row 0 is the corpus itself, so every count
comes with its replicates. Amounts of text are disjoint sets of folds: an atlas keeps signatures and held-back spans by
fold, so a smaller corpus needs no pass. What is mutual is decided by held-back spans, a part of the text (see
``rosetta.verify``); the curve says how many. Cost: of the budgets, one candidate search for each level and peer, of the
rest next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np

from curator.atlas.store import Atlas
from curator.rosetta.matching import View, decoy_view, match_views, ranks_by_magnitude, true_view
from curator.rosetta.resampling import NEIGHBOURS, Draws
from curator.scaling.controls import same_activity
from curator.scaling.parts import BudgetPoint, ClassCount, Drawn, NeighbourCurve, Rule, ThresholdCurve
from curator.settings import MatchSettings

THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7)
NEIGHBOUR_COUNTS = (1, 2, 3, 5, NEIGHBOURS)


def drawn(count_B: np.ndarray) -> Drawn:
    """A count from its row 0 and its replicates."""
    return Drawn(count=int(count_B[0]), draws=tuple(int(count) for count in count_B[1:]))


def shared_BN(draws: Sequence[Draws], rule: Rule) -> np.ndarray:
    """Which neurons all peers share by the paper or the strict rule, (1 + B, N) bool."""
    return np.all([one.strict_BN if rule == "strict" else one.paper_BN for one in draws], axis=0)


def threshold_curve(draws: Sequence[Draws]) -> ThresholdCurve:
    """Counts of paper matches whose correlation reaches each threshold in every peer."""
    weakest_BN = np.min([one.strength_BN for one in draws], axis=0)
    counts = tuple(drawn((weakest_BN >= threshold).sum(axis=1)) for threshold in THRESHOLDS)
    return ThresholdCurve(rho=THRESHOLDS, counts=counts)


def neighbour_curve(draws: Sequence[Draws]) -> NeighbourCurve:
    """Counts of neurons with a mutual k-nearest neighbour in every peer."""
    worst_BN = np.max([one.rank_BN for one in draws], axis=0)
    return NeighbourCurve(k=NEIGHBOUR_COUNTS, counts=tuple(drawn((worst_BN < k).sum(axis=1)) for k in NEIGHBOUR_COUNTS))


def class_counts(anchor: Atlas, draws: Sequence[Draws], rule: Rule) -> tuple[ClassCount, ...]:
    """Control classes over the first two peers; none with a single peer."""
    if len(draws) < 2:
        return ()
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for choosing, carrying in permutations(draws[:2]):
        other_BN = carrying.strict_BN if rule == "strict" else carrying.paper_BN
        for name, members in _classes(anchor, choosing, rule).items():
            found.setdefault(name, []).append((members, other_BN[:, members].sum(axis=1)))
    return tuple(
        ClassCount(
            name=name,  # pyright: ignore[reportArgumentType] - the names of ``_classes``
            rule=rule,
            members=float(np.mean([len(members) for members, _ in orders])),
            carried=float((mean_B := np.mean([carried_B for _, carried_B in orders], axis=0))[0]),
            draws=tuple(mean_B[1:].tolist()),
        )
        for name, orders in found.items()
    )


def _classes(anchor: Atlas, choosing: Draws, rule: Rule) -> dict[str, np.ndarray]:
    """Flat indices of the three classes that one peer chooses; the controls are matched by no rule."""
    chosen = np.flatnonzero(choosing.strict_BN[0] if rule == "strict" else choosing.paper_BN[0])
    rest = np.flatnonzero(np.asarray(anchor["alive"]) & ~choosing.paper_BN[0])
    sharpest = rest[np.lexsort((rest, -np.asarray(anchor["excess_kurtosis"])[rest]))][: len(chosen)]
    alike = same_activity(anchor, chosen, rest)
    return {"rosetta": chosen, "high kurtosis": sharpest, "same activity": alike[alike >= 0]}


def budget_points(
    anchor: Atlas, peers: Sequence[Atlas], settings: MatchSettings, paper_N: np.ndarray
) -> tuple[BudgetPoint, ...]:
    """Paper counts on single folds, on twos, fours and so on; ``paper_N`` is the set of the whole corpus, (N,) bool."""
    folds, points, size = anchor.manifest.settings.folds, [], 1
    while size < folds:
        parts = [np.arange(start, start + size) for start in range(0, folds - size + 1, size)]
        points.append(_budget(anchor, peers, settings, paper_N, parts))
        size *= 2
    return tuple(points)


def _budget(
    anchor: Atlas, peers: Sequence[Atlas], settings: MatchSettings, paper_N: np.ndarray, parts: Sequence[np.ndarray]
) -> BudgetPoint:
    sets = [_on_folds(anchor, peers, settings, part, true_view) for part in parts]
    decoys = [_on_folds(anchor, peers, settings, part, decoy_view) for part in parts]
    share = len(parts[0]) / anchor.manifest.settings.folds
    spans = [int(np.isin(anchor["held_fold_V"], part).sum()) for part in parts]
    overlap = [float((one & paper_N).sum() / max(1, (one | paper_N).sum())) for one in sets]
    return BudgetPoint(
        share=share,
        tokens=max(1, round(share * anchor.manifest.tokens)),
        deciding_spans=max(1, round(float(np.mean(spans)))),
        counts=tuple(int(one.sum()) for one in sets),
        deranged=tuple(int(one.sum()) for one in decoys),
        jaccard=float(np.mean(overlap)),
    )


def _on_folds(
    anchor: Atlas,
    peers: Sequence[Atlas],
    settings: MatchSettings,
    folds: np.ndarray,
    peer_view: Callable[[Atlas], View],
) -> np.ndarray:
    """Neurons with a partner in every peer on these folds alone, (N,) bool."""
    shared_N = np.ones(anchor.neurons, dtype=bool)
    fold_V = anchor["held_fold_V"]
    inside = np.isin(fold_V, folds)
    for peer in peers:
        views = (_cut(true_view(anchor), anchor, folds, inside), _cut(peer_view(peer), anchor, folds, inside))
        absolute = ranks_by_magnitude(anchor, peer, settings)
        table = match_views(*views, fold_V[inside] - folds[0], settings, absolute)
        shared_N &= np.isin(np.arange(anchor.neurons), table.first)
    return shared_N


def _cut(view: View, atlas: Atlas, folds: np.ndarray, inside_V: np.ndarray) -> View:
    settings = atlas.manifest.settings
    width = settings.sketch_dimensions // settings.folds
    columns = slice(int(folds[0]) * width, (int(folds[-1]) + 1) * width)
    return View(view.signature_Nd[:, columns], view.held_NV[:, inside_V], view.alive)
