"""A filtering job from its sources to its output: score, select, write, in steps that are each made exactly once.

    sources ─cut─► pieces ─score─► scores/* ─select─► verdicts, packing ─write─► kept/*, rejected/* ─► manifest ─► OUT

Everything happens in ``OUT.work`` beside the output, which one process at a time may hold. Whatever ends the job (an error,
Ctrl-C, a killed process or machine), the same call goes on where it stopped and gives the same bytes as one that was never
interrupted; a call that differs in model, neuron set, policy, options or input is refused with the names of what differs. A
finished job is left as it is, without loading a model.

Scores do not depend on how the work was shared out: batches never cross a piece. Memory in each process is flat in the number
of documents, but for selections of several targets or with duplicates, 130 bytes a row in the main process (see ``decide``).
Disk: scores (60 bytes a row and target), 8 bytes a row while it runs, and the output. It does not know models: a factory loads
the scorer where it is needed.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from curator.errors import ArtifactNotFoundError, ConfigError
from curator.files import LOCK, exclusive, local_path
from curator.filtering.adopt import adopt_scores
from curator.filtering.annotate import Annotator
from curator.filtering.cascade import require_reach
from curator.filtering.cascade_plan import PREFILTER, CascadeOptions
from curator.filtering.engines import Engine, LocalEngine
from curator.filtering.finish import publish
from curator.filtering.inputs import STDIN
from curator.filtering.job import PLAN, Job, Plan, load_plan
from curator.filtering.ledger import LEDGER, ShardRecord
from curator.filtering.output import OutputOptions, is_finished, load_manifest, require_free_or_finished
from curator.filtering.phases import Scoring, make, score
from curator.filtering.policy import Policy
from curator.filtering.progress import Watch, unwatched
from curator.filtering.request import FilterRequest, work_folder
from curator.filtering.same_job import require_same_plan
from curator.filtering.tally import FilterReport
from curator.filtering.tasks import ScorerFactory
from curator.scoring.prefilter import load_prefilter
from curator.text.pieces import DEFAULT_PIECE_BYTES
from curator.text.rows import SourceOptions

_log = logging.getLogger(__name__)


def filter_sources(
    sources: Sequence[str],
    factory: ScorerFactory,
    out: Path,
    policy: Policy,
    *,
    source_options: SourceOptions | None = None,
    options: OutputOptions | None = None,
    annotators: Sequence[Annotator] = (),
    window_characters: int = 0,
    cascade: CascadeOptions | None = None,
    engine: Engine | None = None,
    piece_bytes: int = DEFAULT_PIECE_BYTES,
    watch: Watch = unwatched,
    stdin: IO[bytes] | None = None,
) -> FilterReport:
    """Filter sources into the folder ``out``, or go on with the same job where it stopped.

    Args:
        sources: URIs as ``curator.text`` opens them; ``-`` is JSONL on standard input.
        factory: loads the scorer, in this process or in each worker.
        out: a new or empty folder, or one that holds the same job finished.
        policy: which documents to keep.
        source_options: which fields of a record are its text, id, domain and source.
        options: formats and sizes of the output.
        annotators: what else is computed beside the scores (near-duplicate signatures, contamination).
        window_characters: cut longer documents into windows of about this length, scored each for itself; 0 for none.
        cascade: put a prefilter before the model that stops documents which the policy cannot keep.
        engine: makes the steps; this process by default.
        piece_bytes: about how much input makes one step; part of the job's identity.
        watch: hears of the progress.
        stdin: read for ``-`` in place of the process's own standard input.

    Raises:
        FingerprintError: ``out`` or its work folder belongs to another job, or the input changed; the message names what.
        ConfigError: ``out`` is not free, another process is at work on it, or a cascade can promise nothing here.
        InsufficientDataError: the cascade's sample is too small; says how large it must be.
        SourceError, MissingExtraError, and what ends a scorer.
    """
    request = FilterRequest(
        sources=tuple(sources),
        factory=factory,
        out=local_path(out),
        policy=policy,
        source_options=source_options or SourceOptions(),
        options=options or OutputOptions(),
        annotators=tuple(annotators),
        window_characters=window_characters,
        cascade=cascade,
        piece_bytes=piece_bytes,
        stdin=stdin,
    )
    return run_request(request, engine=engine, watch=watch)


def run_request(request: FilterRequest, *, engine: Engine | None = None, watch: Watch = unwatched) -> FilterReport:
    """``filter_sources`` for a request that is there already."""
    out = request.out
    require_free_or_finished(out)
    if is_finished(out):
        with TemporaryDirectory(dir=out.parent) if STDIN in request.sources else nullcontext(out) as folder:
            require_same_plan(out, load_plan(out), request.planned(Path(folder), watch))
        return _already(out)
    scoring = partial(score, factory=request.factory)
    return _in_work_folder(
        out, lambda work: request.planned(work, watch), request.job, scoring, engine or LocalEngine(), watch
    )


def reselect(
    finished: Path,
    out: Path,
    policy: Policy,
    *,
    options: OutputOptions | None = None,
    engine: Engine | None = None,
    watch: Watch = unwatched,
) -> FilterReport:
    """Select again from the scores of a finished output, under another policy or layout, into the new folder ``out``.

    No model is loaded; the texts are read from the sources again, which must be where they were. The score files are linked,
    or copied where the file system has no links.

    Raises:
        ArtifactNotFoundError: there is no finished output.
        ConfigError: it was made from standard input, whose text is not kept, or behind a prefilter that may have stopped
            what this policy would keep; or as for ``filter_sources``.
        FingerprintError: a source changed since it was scored, or as for ``filter_sources``.
    """
    out = local_path(out)
    require_free_or_finished(out)
    _require_finished(finished)
    scoring = load_plan(finished).scoring
    if STDIN in scoring.sources:
        raise ConfigError(
            f"{finished} was filtered from standard input, whose text is not kept; filter from a file instead."
        )
    plan = Plan(scoring=scoring, policy=policy, options=options or OutputOptions())
    if is_finished(out):
        require_same_plan(out, load_plan(out), plan)
        return _already(out)
    if scoring.cascade is not None:
        require_reach(policy, scoring.scorer.targets, load_prefilter(finished / PREFILTER).report)

    def adopt(job: Job, engine: Engine, watch: Watch) -> list[ShardRecord]:
        return adopt_scores(job, finished)

    def job_of(plan: Plan) -> Job:
        return Job(plan, work_folder(out))

    return _in_work_folder(out, lambda _: plan, job_of, adopt, engine or LocalEngine(), watch)


def _require_finished(folder: Path) -> None:
    """Raise ArtifactNotFoundError unless the folder holds the scores of a finished job."""
    if not is_finished(folder):
        begun = work_folder(folder).is_dir()
        why = (
            f"the filter into {folder} is not finished; run it to its end"
            if begun
            else (
                f"{folder} is not the output of a finished filter, with manifest.json and scores/ in it; name such a folder"
            )
        )
        raise ArtifactNotFoundError(f"There are no scores to select from (--from-scores): {why}.")
    load_manifest(folder)


def _already(out: Path) -> FilterReport:
    _log.info("output is already finished", extra={"out": str(out)})
    return load_manifest(out).filter_report()


def _in_work_folder(
    out: Path,
    planned: Callable[[Path], Plan],
    job_of: Callable[[Plan], Job],
    scoring: Scoring,
    engine: Engine,
    watch: Watch,
) -> FilterReport:
    """Do what is left of a job, alone in its work folder, and publish it."""
    work = work_folder(out)
    with exclusive(work, str(out)):
        if is_finished(out):  # another process finished it while this one waited at the door
            raise ConfigError(f"Another process has just finished {out}; run again to compare with it.")
        job = job_of(agreed_plan(work, planned))
        if not is_finished(work):
            make(job, scoring, engine, watch)
        report = load_manifest(work).filter_report()
        publish(work, out)
    return report


def agreed_plan(work: Path, planned: Callable[[Path], Plan]) -> Plan:
    """The plan that the work folder is held to; a folder in which no step was finished is held to nothing."""
    if not any((work / LEDGER).glob("*.json")) and not is_finished(work):
        _clear(work)
    try:
        plan = planned(work)
        if (work / PLAN).is_file():
            wanted, plan = plan, load_plan(work)  # its spelling of the paths is the one that is in the ledger
            require_same_plan(work, plan, wanted)
        else:
            plan.save(work)
    except BaseException:
        if not (work / PLAN).is_file():
            shutil.rmtree(work, ignore_errors=True)
        raise
    return plan


def _clear(work: Path) -> None:
    """Remove everything but the lock that this process holds."""
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()
