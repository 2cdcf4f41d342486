"""From single results to tables: means over targets, 95 % intervals over seeds, overlaps, recovered gains. Pure functions.

A macro value is the mean over targets within a seed, so that every domain counts alike; its interval is Student's over the
seeds, and so says how much another draw of examples and pool would change it, not how much other domains would. Two selectors
are compared on the same tasks, within each. Cost: nothing. It does not judge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import t as student

from curator.bakeoff.contest import Result
from curator.bakeoff.cost import ReadingCost, selector_cost
from curator.bakeoff.measures import jaccard
from curator.bakeoff.schedule import BASE, Trained, gains

MEASURES = ("precision", "average_precision", "kl_reduction", "length_shift", "source_shift", "not_ascii")


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's 95 % interval of the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    half = float(student.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / np.sqrt(len(values))
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def macro(results: Iterable[Result], measure: str = "precision") -> list[float]:
    """For each seed the mean over targets."""
    by_seed: dict[int, list[float]] = defaultdict(list)
    for result in results:
        by_seed[result.seed].append(getattr(result, measure))
    return [float(np.mean(values)) for _, values in sorted(by_seed.items())]


def table(results: Sequence[Result], costs: Mapping[str, ReadingCost]) -> dict[str, dict[str, dict[str, Any]]]:
    """By regime and selector: each measure's macro value, the interval of the precision, seconds, and precision by target."""
    grouped: dict[str, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        grouped[result.regime][result.selector].append(result)
    return {
        regime: {name: _entry(found, costs) for name, found in selectors.items()}
        for regime, selectors in grouped.items()
    }


def _entry(results: Sequence[Result], costs: Mapping[str, ReadingCost]) -> dict[str, Any]:
    by_target: dict[str, list[float]] = defaultdict(list)
    for result in results:
        by_target[result.target].append(result.precision)
    precision = macro(results)
    score_s = 1e6 * sum(result.score_s for result in results) / max(1, sum(result.pool for result in results))
    return {
        "kind": results[0].kind,
        **{measure: float(np.mean(macro(results, measure))) for measure in MEASURES},
        "precision_interval": interval(precision),
        "seeds": len(precision),
        "targets": {target: float(np.mean(values)) for target, values in sorted(by_target.items())},
        "fit_s": float(np.mean([result.fit_s for result in results])),
        "score_s_per_million": score_s,
        "seconds_per_million": selector_cost(costs, results[0], score_s),
    }


def best(entries: dict[str, dict[str, Any]], kind: str) -> tuple[str, float]:
    """Name and precision of the best selector of a kind."""
    found = {name: entry["precision"] for name, entry in entries.items() if entry["kind"] == kind}
    name = max(found, key=lambda one: found[one])
    return name, found[name]


def paired_difference(results: Sequence[Result], regime: str, first: str, second: str) -> dict[str, Any]:
    """First minus second on the tasks that both ran: mean of the macro differences and their interval over seeds."""
    by_key = {(one.selector, one.target, one.seed): one.precision for one in results if one.regime == regime}
    differences: dict[int, list[float]] = defaultdict(list)
    for (name, target, seed), value in by_key.items():
        if name == first and (second, target, seed) in by_key:
            differences[seed].append(value - by_key[second, target, seed])
    means = [float(np.mean(values)) for _, values in sorted(differences.items())]
    return {"mean": float(np.mean(means)) if means else None, "interval": interval(means)}


def overlaps(results: Sequence[Result], regime: str) -> dict[str, dict[str, float]]:
    """Mean Jaccard index of what two selectors keep on the same task."""
    kept: dict[tuple[str, int], dict[str, np.ndarray]] = defaultdict(dict)
    for result in results:
        if result.regime == regime:
            kept[result.target, result.seed][result.selector] = np.asarray(result.kept)
    sums: dict[tuple[str, str], list[float]] = defaultdict(list)
    for choices in kept.values():
        for first, second in combinations(sorted(choices), 2):
            sums[first, second].append(jaccard(choices[first], choices[second]))
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for (first, second), values in sums.items():
        found[first][second] = found[second][first] = float(np.mean(values))
    return {name: dict(row) for name, row in found.items()}


def pretraining_table(trained: Sequence[Trained]) -> dict[str, dict[str, Any]]:
    """By selector: mean losses, purity, and the recovered oracle gain: mean over domains, interval over domains."""
    recovered = gains(list(trained))
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(one.selector for one in trained):
        mine = [one for one in trained if one.selector == name]
        by_domain = {domain: float(np.nanmean(values)) for domain, values in recovered.get(name, {}).items()}
        usable = [value for value in by_domain.values() if np.isfinite(value)]
        found[name] = {
            "runs": len(mine),
            "seeds": len({one.seed for one in mine}),
            "target_loss": float(np.mean([one.target for one in mine])),
            "general_loss": float(np.mean([one.general for one in mine])),
            "precision": None if name == BASE else float(np.mean([one.precision for one in mine])),
            "recovered_gain": float(np.mean(usable)) if usable else None,
            "recovered_gain_interval": interval(usable),
            "domains": by_domain,
        }
    return found
