"""Runs the contests: every selector on every task, one line a result in a file, so that a stopped bake-off goes on.

A result is filed under what made it: settings, texts, model, task, selector. Lines of another bake-off are not read. Cost: the
fits; the documents were read before. It does not know what the selectors are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from curator.bakeoff import measures
from curator.bakeoff.lines import add_line, read_lines
from curator.bakeoff.selectors import Lesson, Selector
from curator.bakeoff.tasks import Task
from curator.bakeoff.texts import TextViews


class Result(BaseModel):
    """One selector on one task. ``fit_s`` and ``score_s`` are wall seconds beside reading and hashing."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    regime: str
    target: str
    seed: int
    selector: str
    kind: str
    budget: int
    pool: int
    precision: float
    average_precision: float
    kl_reduction: float
    length_shift: float
    source_shift: float
    not_ascii: float
    fit_s: float
    score_s: float
    kept: tuple[int, ...]
    """Rows of the choice, the best first."""


class Results:
    """Finished results in a file of JSON lines; ``identity`` names the bake-off they are of."""

    def __init__(self, path: Path, identity: str) -> None:
        self._path, self._identity = path, identity
        self.found: dict[tuple[str, str, int, str], Result] = {}
        for result in map(Result.model_validate, read_lines(path, identity)):
            self.found[result.regime, result.target, result.seed, result.selector] = result

    def add(self, result: Result) -> None:
        """Keep it, and write it to the file before anything else happens."""
        self.found[result.regime, result.target, result.seed, result.selector] = result
        add_line(self._path, self._identity, result.model_dump())

    def has(self, task: Task, selector: Selector) -> bool:
        """Whether this contest was run before."""
        return (task.regime.name, task.target, task.seed, selector.name) in self.found


def run_contests(
    tasks: Iterable[Task],
    selectors_of: Callable[[Task], Sequence[Selector]],
    views_of: Callable[[Task], TextViews],
    sources: Sequence[str],
    results: Results,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Run what is not there yet; ``sources`` names the source of every row."""
    for done, task in enumerate(tasks):
        for selector in selectors_of(task):
            if selector.fewest <= len(task.positive_P) and not results.has(task, selector):
                results.add(run_one(task, selector, views_of(task), sources))
        progress(done + 1)


def run_one(task: Task, selector: Selector, views: TextViews, sources: Sequence[str]) -> Result:
    """One selector on one task."""
    started = time.perf_counter()
    score = selector.fit(Lesson.of(task))
    fitted = time.perf_counter()
    scores_D = np.asarray(score(task.pool_D), dtype=np.float64)
    scored = time.perf_counter()
    kept = task.pool_D[measures.chosen(scores_D, task.budget)]
    target = task.pool_D[task.truth_D]
    lucky = np.random.default_rng([task.seed, 5]).permutation(task.pool_D)[: task.budget]
    counts = [measures.total_counts(views.counts, rows) for rows in (target, kept, lucky)]
    changed = measures.shift(views.length_D, views.foreign_D, sources, kept, target)
    return Result(
        regime=task.regime.name,
        target=task.target,
        seed=task.seed,
        selector=selector.name,
        kind=selector.kind,
        budget=task.budget,
        pool=len(task.pool_D),
        precision=measures.precision_at_budget(scores_D, task.truth_D),
        average_precision=measures.average_precision(scores_D, task.truth_D),
        kl_reduction=measures.kl_reduction(*counts),
        length_shift=changed.length,
        source_shift=changed.sources,
        not_ascii=changed.not_ascii,
        fit_s=fitted - started,
        score_s=scored - fitted,
        kept=tuple(kept.tolist()),
    )
