"""One contest: a target, some labelled examples, a pool with known labels. Drawn from a seed, alike for every selector.

A regime says how many positive examples there are and what is hard about the pool: how rare the target is, whether the rest is
one domain that resembles it, whether labels are wrong, whether only the beginnings of documents can be read. Examples of one
seed are nested: the three are among the ten, the ten among the forty. Cost: a permutation. It knows domains and rows, no text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curator import fingerprint
from curator.bakeoff.settings import BakeoffSettings

NEAR = {
    "python": "cpp",
    "legal": "german_law",
    "biomedical": "wikipedia",
    "math_latex": "math_word_problems",
    "stubs": "python",
    "docstrings": "prose",
}
SHORT_CHARS = 200


@dataclass(frozen=True, slots=True)
class Regime:
    """What the contest is like; ``near`` has the pool hold nothing but the target and the domain that resembles it."""

    name: str
    positives: int
    prevalence: float
    noise: float = 0.0
    near: bool = False
    short: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Rows of documents: ``positive_P`` and ``negative_M`` are the examples as labelled, ``pool_D`` the pool, with its truth."""

    regime: Regime
    target: str
    seed: int
    positive_P: np.ndarray
    negative_M: np.ndarray
    pool_D: np.ndarray
    truth_D: np.ndarray

    @property
    def budget(self) -> int:
        """Documents that the oracle keeps: all of the target."""
        return int(self.truth_D.sum())

    @property
    def key(self) -> str:
        """Names the contest among all."""
        return f"{self.regime.name}/{self.target}/{self.seed}"


def regimes(settings: BakeoffSettings) -> list[Regime]:
    """All regimes of a bake-off: the numbers of examples first, then, at forty and ten of them, what else can be hard."""
    rate = settings.prevalence
    found = [Regime(f"k{count}", count, rate) for count in settings.positives]
    if not settings.hard:
        return found
    if 10 in settings.positives:
        found += [Regime(f"k10-share-{share:.0%}", 10, share) for share in (0.01, 0.2)]
        found += [Regime("k10-near", 10, 0.2, near=True), Regime("k10-short", 10, rate, short=True)]
    if 40 in settings.positives:
        found += [Regime("k40-noise", 40, rate, noise=0.05)]
    return found


def targets_of(regime: Regime, domains: tuple[str, ...], settings: BakeoffSettings) -> list[str]:
    """The domains that the regime has a contest for."""
    wanted = settings.targets or domains
    return [name for name in domains if name in wanted and (not regime.near or NEAR.get(name) in domains)]


def draw_task(
    regime: Regime, target: str, seed: int, domain_D: np.ndarray, in_pool_D: np.ndarray, settings: BakeoffSettings
) -> Task | None:
    """Draw a contest from D documents, whose domain and part are given; None where the target has too few examples."""
    examples, others = (np.flatnonzero(~in_pool_D & mine) for mine in (domain_D == target, domain_D != target))
    if len(examples) < regime.positives:
        return None
    random = _generator(target, seed)
    examples, others = random.permutation(examples), random.permutation(others)
    positive_P, negative_M = examples[: regime.positives].copy(), others[: settings.negatives].copy()
    if regime.noise:
        wrong_P, wrong_M = (round(regime.noise * len(rows)) for rows in (positive_P, negative_M))
        positive_P[:wrong_P] = others[settings.negatives : settings.negatives + wrong_P]
        negative_M[:wrong_M] = np.resize(examples[regime.positives :], wrong_M)
    rest = domain_D == NEAR[target] if regime.near else domain_D != target
    pool_D = _mixed(np.flatnonzero(in_pool_D & (domain_D == target)), np.flatnonzero(in_pool_D & rest), regime, random)
    return Task(regime, target, seed, positive_P, negative_M, pool_D, domain_D[pool_D] == target)


def _mixed(on: np.ndarray, off: np.ndarray, regime: Regime, random: np.random.Generator) -> np.ndarray:
    """As many documents as give the share of the target, in ascending order."""
    odds = regime.prevalence / (1 - regime.prevalence)
    wanted_on = min(len(on), max(1, round(odds * len(off))))
    wanted_off = min(len(off), max(1, round(wanted_on / odds)))
    chosen = [random.permutation(on)[:wanted_on], random.permutation(off)[:wanted_off]]
    return np.sort(np.concatenate(chosen))


def _generator(target: str, seed: int) -> np.random.Generator:
    return np.random.default_rng(int(fingerprint.of_parts(["bakeoff", target, str(seed)])[:16], 16))
