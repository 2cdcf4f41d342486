"""The tasks that an engine makes the steps of: scoring samples, scoring pieces, and writing output shards.

A task is what crosses to a worker: the job (its plan and its folder) and, for scoring, a factory of the scorer. Starting it loads
the scorer or maps the selection, once in every process. It does not know how processes are run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from curator.errors import FingerprintError
from curator.filtering.cascade_plan import PREFILTER
from curator.filtering.columns import columns_of
from curator.filtering.engines import Step
from curator.filtering.job import Job, ScorerIdentity
from curator.filtering.run_shard import run_shard
from curator.filtering.sample import sample_piece
from curator.filtering.selection import load_selection
from curator.filtering.write_shard import write_shards
from curator.records import TargetScorer
from curator.scoring.cascade import Cascade
from curator.scoring.prefilter import load_prefilter


class ScorerFactory(Protocol):
    """Loads a scorer in the process that needs it; picklable where a job has several workers."""

    @property
    def identity(self) -> ScorerIdentity:
        """What the scorer's scores depend on, known without loading it."""
        ...

    def __call__(self, worker: int) -> TargetScorer:
        """Load the scorer; ``worker`` counts from 0 and may choose a device."""
        ...


def planned_scorer(job: Job, factory: ScorerFactory, worker: int) -> TargetScorer:
    """Load the scorer. Raises FingerprintError when it is not the one that the plan names."""
    scorer = factory(worker)
    if (found := ScorerIdentity.of(scorer)) != (planned := job.plan.scoring.scorer):
        raise FingerprintError(
            f"The loaded scorer {found.neuron_set!r} ({found.etag}) is not the planned {planned.neuron_set!r} "
            f"({planned.etag}); load the model and the neuron set that the job was begun with."
        )
    return scorer


@dataclass(frozen=True, slots=True)
class SampleTask:
    """Score samples of some pieces, ``sample_piece`` behind the interface of an engine; numbers are places in ``pieces``."""

    job: Job
    factory: ScorerFactory
    pieces: tuple[int, ...]
    rate: float
    title: str = "sample"

    def start(self, worker: int) -> Step:
        """Load the scorer, as ``planned_scorer`` does."""
        scorer = planned_scorer(self.job, self.factory, worker)
        return lambda number, report: sample_piece(self.job, self.pieces[number], self.rate, scorer, report)


@dataclass(frozen=True, slots=True)
class ScoreTask:
    """Score pieces: ``run_shard`` behind the interface of an engine."""

    job: Job
    factory: ScorerFactory
    title: str = "piece"

    def start(self, worker: int) -> Step:
        """Load the scorer as ``planned_scorer`` does, and the prefilter before it where the plan has one."""
        scorer: TargetScorer = planned_scorer(self.job, self.factory, worker)
        if self.job.plan.scoring.cascade is not None:
            scorer = Cascade(scorer, load_prefilter(self.job.work / PREFILTER))
        return lambda number, report: run_shard(self.job, number, scorer, report)


@dataclass(frozen=True, slots=True)
class WriteTask:
    """Write groups of output shards: ``write_shards`` behind the interface of an engine."""

    job: Job
    title: str = "group of shards"

    def start(self, worker: int) -> Step:
        """Map the selection into memory, and look at the columns of the input where shards have columns."""
        selection, columns = load_selection(self.job.work), columns_of(self.job)
        groups = selection.groups()
        return lambda number, report: write_shards(self.job, selection, groups[number], report, columns)
