"""One job scored by processes that never speak to each other, such as the array of a batch system: prepare, parts, finish.

    prepare (cut, plan, prefilter) ─► part 1/N │ part 2/N │ ... │ part N/N ─► the same job without a part (select, write)

Part k of N scores the pieces k, k+N, ... of the plan that ``prepare`` has left, those of them that the ledger does not have. A
part that is killed, runs again or runs twice changes nothing: steps are pure, appear by a rename, and count by the ledger.
What no part has made is made when the job is finished, so a lost part costs time alone. Parts hold the work folder together;
preparing and finishing hold it alone. All of them must see the work folder under one path, on a file system whose locks
(``flock``) hold between machines. Cost: each part loads the model and reads the plan, 250 bytes a piece.
"""

from __future__ import annotations

from dataclasses import dataclass

from curator.errors import ConfigError
from curator.files import exclusive, shared
from curator.filtering.dataset import agreed_plan
from curator.filtering.engines import Engine, LocalEngine
from curator.filtering.job import PLAN, Job, load_plan
from curator.filtering.ledger import Ledger
from curator.filtering.output import is_finished, require_free_or_finished
from curator.filtering.phases import make_prefilter
from curator.filtering.progress import Meter, Watch, unwatched
from curator.filtering.request import FilterRequest
from curator.filtering.run_shard import score_step
from curator.filtering.same_job import require_same_plan
from curator.filtering.sample import prefilter_step
from curator.filtering.tasks import ScoreTask
from curator.shares import Share


@dataclass(frozen=True, slots=True)
class PartReport:
    """What became of the pieces of one part; both are 0 when the whole job was finished before."""

    pieces: int
    """Pieces of this part."""
    scored: int
    """Those that this run scored; the others were there."""


def prepare(request: FilterRequest, *, engine: Engine | None = None, watch: Watch = unwatched) -> int:
    """Cut the input, write the plan, and learn the prefilter where the job has one; returns the number of pieces.

    Raises what ``filter_sources`` raises. A job that is prepared or finished already is left as it is.
    """
    require_free_or_finished(request.out)
    if is_finished(request.out):
        return len(load_plan(request.out).scoring.pieces)
    with exclusive(request.work, str(request.out)):
        job = request.job(agreed_plan(request.work, lambda work: request.planned(work, watch)))
        Ledger(job.work).sweep()
        if job.plan.scoring.cascade is not None:
            make_prefilter(job, engine or LocalEngine(), watch, request.factory)
    return len(job.plan.scoring.pieces)


def score_part(
    request: FilterRequest, share: Share, *, engine: Engine | None = None, watch: Watch = unwatched
) -> PartReport:
    """Score the pieces of one part that are still to do.

    Raises:
        ConfigError: the job was not prepared, or another process is finishing it.
        FingerprintError: the prepared job is another one, or the input changed; the message names what.
    """
    if is_finished(request.out):
        return PartReport(0, 0)
    if not (request.work / PLAN).is_file():
        raise _not_prepared(request)
    with shared(request.work, str(request.out)):
        job = _prepared(request)
        ledger = Ledger(job.work)
        numbers = share.of(range(len(job.plan.scoring.pieces)))
        missing = [number for number in numbers if ledger.find(*score_step(job, number)) is None]
        meter = Meter("score", watch, total=len(numbers), before=len(numbers) - len(missing))
        if missing:
            (engine or LocalEngine()).run(ScoreTask(job, request.factory), missing, meter)
    return PartReport(len(numbers), len(missing))


def _prepared(request: FilterRequest) -> Job:
    """The job of the work folder, after a comparison with what is asked for; the input is not cut again."""
    plan = load_plan(request.work)
    require_same_plan(request.work, plan, request.plan_of(plan.scoring.pieces))
    job = request.job(plan)
    if plan.scoring.cascade is not None and Ledger(job.work).find(*prefilter_step(job)) is None:
        raise _not_prepared(request)
    return job


def _not_prepared(request: FilterRequest) -> ConfigError:
    return ConfigError(f"There is nothing prepared for {request.out}; run the same command with --prepare first.")
