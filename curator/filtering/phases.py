"""The phases of a job, each a set of steps that an engine makes as far as the ledger does not have them.

    [sample ─► fit] ─► score ─► select ─► write ─► finish

Sampling, scoring and writing are shared out by number; fitting a prefilter and selecting are done here, in the main process.
What a phase needs of the one before it comes from the ledger, so every phase can be the first of a run. It does not know where a
job's plan and folder come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from curator.errors import FingerprintError
from curator.filtering.decide import make_selection
from curator.filtering.engines import Engine, Task
from curator.filtering.finish import finish
from curator.filtering.inputs import require_all_current
from curator.filtering.job import Job
from curator.filtering.ledger import Ledger, ShardRecord
from curator.filtering.progress import Meter, Watch
from curator.filtering.run_shard import score_step
from curator.filtering.sample import fit_prefilter, prefilter_step, sample_step, sampled_pieces, sampling_rate
from curator.filtering.score_file import read_score_file
from curator.filtering.selection import SELECT_STEP, Selection, load_selection, select_inputs
from curator.filtering.tasks import SampleTask, ScorerFactory, ScoreTask, WriteTask
from curator.filtering.write_shard import shard_step
from curator.records import Rejection, RejectReason
from curator.text.head import no_document

Scoring = Callable[[Job, Engine, Watch], list[ShardRecord]]
"""Makes the score files of a job, or finds them."""


def make(job: Job, scoring: Scoring, engine: Engine, watch: Watch) -> None:
    """Do what is left of a job, up to its manifest."""
    Ledger(job.work).sweep()
    scored = scoring(job, engine, watch)
    _require_documents(job, scored)
    selection = _select(job, scored, watch)
    written = _write(job, selection, engine, watch)
    finish(job, scored, selection, written)


def _require_documents(job: Job, scored: Sequence[ShardRecord]) -> None:
    """Raise InsufficientDataError when not one record of the whole input was a document."""
    first = next((record for record in scored if record.records), None)
    if first is None or any(record.documents for record in scored):
        return
    row = read_score_file(job.work, first.files[0], ["place", "reason", "detail"]).slice(0, 1).to_pylist()[0]
    rejection = Rejection(row["place"], RejectReason(row["reason"]), row["detail"])
    raise no_document(sum(record.records for record in scored), rejection)


def score(job: Job, engine: Engine, watch: Watch, *, factory: ScorerFactory) -> list[ShardRecord]:
    """Score all pieces, behind a prefilter where the plan asks for one."""
    if job.plan.scoring.cascade is not None:
        make_prefilter(job, engine, watch, factory)
    steps = [score_step(job, number) for number in range(len(job.plan.scoring.pieces))]
    _make_missing(ScoreTask(job, factory), [[step] for step in steps], job.work, engine, watch, "score")
    return _records(job.work, steps)


def make_prefilter(job: Job, engine: Engine, watch: Watch, factory: ScorerFactory) -> None:
    """Score a sample of the input and fit the prefilter to it, unless that is done."""
    if Ledger(job.work).find(*prefilter_step(job)) is not None:
        return
    numbers = sampled_pieces(job)
    rate = sampling_rate(job, numbers)
    steps = [sample_step(job, number) for number in numbers]
    task = SampleTask(job, factory, tuple(numbers), rate)
    _make_missing(task, [[step] for step in steps], job.work, engine, watch, "sample")
    meter = Meter("fit", watch, total=1)
    record = fit_prefilter(job, _records(job.work, steps), rate)
    meter(0, record.rows, 0)
    meter.save(job.work)


def _select(job: Job, scored: list[ShardRecord], watch: Watch) -> Selection:
    meter = Meter("select", watch, total=1)
    if Ledger(job.work).find(SELECT_STEP, select_inputs(job)) is None:
        record = make_selection(job, scored)
        meter(0, record.rows, 0)
        meter.save(job.work)
    return load_selection(job.work)


def _write(job: Job, selection: Selection, engine: Engine, watch: Watch) -> list[ShardRecord]:
    steps = [[shard_step(job, selection, place) for place in group] for group in selection.groups()]
    check = partial(require_all_current, job.plan.scoring.pieces, job.work)
    _make_missing(WriteTask(job), steps, job.work, engine, watch, "write", check)
    return _records(job.work, [step for group in steps for step in group])


def _make_missing(
    task: Task,
    steps: list[list[tuple[str, str]]],
    work: Path,
    engine: Engine,
    watch: Watch,
    phase: str,
    check: Callable[[], None] | None = None,
) -> None:
    """Let the engine make what the ledger does not have; ``steps`` lists the ledger entries behind each number."""
    ledger = Ledger(work)
    missing = [number for number, group in enumerate(steps) if any(ledger.find(*step) is None for step in group)]
    meter = Meter(phase, watch, total=len(steps), before=len(steps) - len(missing))
    if not missing:
        return
    if check:
        check()
    try:
        engine.run(task, missing, meter)
    finally:
        meter.save(work)


def _records(work: Path, steps: Sequence[tuple[str, str]]) -> list[ShardRecord]:
    """The ledger's entries of steps that an engine has made."""
    ledger = Ledger(work)
    found = [ledger.find(*step) for step in steps]
    lost = [name for (name, _), record in zip(steps, found, strict=True) if record is None]
    if lost:
        raise FingerprintError(
            f"The results of {lost[0]} are not in {work}, which workers must share; run the job again."
        )
    return [record for record in found if record is not None]
