"""The two steps that give a job its prefilter: score a random sample of every piece, then learn from all of them.

A document (or a window, where windows are decided on their own) is drawn when a hash of the seed and its id is below the rate,
so neither order nor cuts matter, and the steps can be made in any process and again. The rate comes from the number of documents
in a few pieces. ``sample/*`` hold texts and scores of what was drawn; they live until the job is finished, the prefilter stays in
the output. Cost: one more reading of the sampled pieces, and the model for the sample. Memory: the sample's texts, once, while
the prefilter is fitted. It does not know how that is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curator import fingerprint
from curator.errors import ConfigError
from curator.files import atomic_file
from curator.filtering.batches import ReadAhead, in_batches, score_batch
from curator.filtering.cascade import SampledScores, least_probabilities
from curator.filtering.cascade_plan import PREFILTER, CascadePlan
from curator.filtering.inputs import read_records, require_current
from curator.filtering.job import Job
from curator.filtering.ledger import Ledger, ShardRecord, step_name
from curator.filtering.run_shard import Report
from curator.filtering.score_file import read_score_file
from curator.filtering.shards import describe
from curator.filtering.windows import window_documents
from curator.records import Document, Rejection, Score, TargetScorer
from curator.scoring.prefilter import save_prefilter
from curator.text.pieces import Piece

SAMPLE = "sample"
_COUNTED_PIECES = 16
_MOST_SHARE = 0.5


def sampled_pieces(job: Job) -> list[int]:
    """Numbers of the pieces that documents are drawn from, ascending."""
    total, options = len(job.plan.scoring.pieces), _plan(job).options
    if total <= options.sample_pieces:
        return list(range(total))
    return sorted(_in_random_order(range(total), options.seed)[: options.sample_pieces])


def sampling_rate(job: Job, numbers: Sequence[int]) -> float:
    """The probability with which each document of these pieces is drawn, from the documents in up to 16 of them.

    Raises ConfigError when the sample would be most of the input.
    """
    options = _plan(job).options
    counted = _in_random_order(numbers, options.seed)[:_COUNTED_PIECES]
    documents = sum(1 for number in counted for _ in _documents(job, job.plan.scoring.pieces[number]))
    there = documents / max(1, len(counted)) * len(numbers)
    wanted = options.sample_documents
    if wanted > _MOST_SHARE * there:
        raise ConfigError(
            f"The input has about {there:,.0f} documents, too few for a cascade that learns from {wanted:,}; leave the "
            "cascade out, or let it learn from less."
        )
    return wanted / there


def sample_step(job: Job, number: int) -> tuple[str, str]:
    """Name and inputs of the step that scores the sample of a piece."""
    scoring = job.plan.scoring
    return step_name(SAMPLE, number, len(scoring.pieces)), _inputs(job, SAMPLE, str(number))


def prefilter_step(job: Job) -> tuple[str, str]:
    """Name and inputs of the step that fits the prefilter."""
    return PREFILTER, _inputs(job, PREFILTER)


def sample_piece(job: Job, number: int, rate: float, scorer: TargetScorer, report: Report) -> ShardRecord:
    """Draw documents of a piece, score them, and commit those that have scores with them.

    Raises what ``run_shard`` raises.
    """
    step, inputs = sample_step(job, number)
    path, piece = job.work / SAMPLE / f"{step}.parquet", job.plan.scoring.pieces[number]
    scored, seed = 0, str(_plan(job).options.seed)
    mine = (one for one in _documents(job, piece) if fingerprint.unit_interval(SAMPLE, seed, one.id) < rate)
    with (
        ReadAhead(in_batches(mine, lambda one: len(one.text))) as batches,
        atomic_file(path) as handle,
        pq.ParquetWriter(handle, _schema(job.targets), compression="zstd") as writer,
    ):
        for batch in batches:
            results = zip(batch, score_batch(scorer, batch), strict=True)
            rows = [_row(one, result, job.targets) for one, result in results if not isinstance(result, Rejection)]
            writer.write_table(pa.Table.from_pylist(rows, schema=_schema(job.targets)))
            scored += len(rows)
            report(len(batch), sum(row["tokens"] for row in rows))
        require_current(piece, job.work)
    record = ShardRecord(step=step, inputs=inputs, files=(describe(path, job.work, documents=scored),), rows=scored)
    return Ledger(job.work).commit(record)


def fit_prefilter(job: Job, sampled: Sequence[ShardRecord], rate: float) -> ShardRecord:
    """Learn the prefilter from what was drawn, and commit it.

    Raises InsufficientDataError when the sample cannot promise the recall; says how large it must be.
    """
    from curator.scoring.distill import distilled_prefilter  # SciPy, which workers that only score do without

    plan, scoring = _plan(job), job.plan.scoring
    documents, results = _read_sample(job, sampled)
    share = rate * len(sampled) / len(scoring.pieces)
    cutoffs = least_probabilities(plan, job.targets, _scores(results, len(job.targets), share))
    made = distilled_prefilter(documents, results, cutoffs, scoring.scorer.etag, plan.options)
    save_prefilter(made, job.work / PREFILTER)
    step, inputs = prefilter_step(job)
    files = tuple(describe(path, job.work) for path in sorted((job.work / PREFILTER).iterdir()))
    return Ledger(job.work).commit(ShardRecord(step=step, inputs=inputs, files=files, rows=len(documents)))


def _plan(job: Job) -> CascadePlan:
    plan = job.plan.scoring.cascade
    if plan is None:
        raise ConfigError("This job has no cascade; begin another one with it.")
    return plan


def _inputs(job: Job, *parts: str) -> str:
    return fingerprint.of_parts([job.plan.scoring.fingerprint, *parts])


def _in_random_order(numbers: Sequence[int], seed: int) -> list[int]:
    return sorted(numbers, key=lambda number: fingerprint.unit_interval("pieces", str(seed), str(number)))


def _documents(job: Job, piece: Piece) -> Iterator[Document]:
    """What would be scored of a piece."""
    for record in read_records(piece, job.plan.scoring.source_options, job.work):
        if isinstance(record, Rejection):
            continue
        if not job.window_characters:
            yield record
        else:
            yield from (part for _, part in window_documents(record, job.window_characters))


def _schema(targets: Sequence[str]) -> pa.Schema:
    text = [(name, pa.string()) for name in ("id", "source", "text")]
    numbers = [(f"{field}:{target}", pa.float64()) for target in targets for field in ("value", "probability")]
    return pa.schema([*text, ("tokens", pa.int64()), *numbers])


def _row(document: Document, scores: tuple[Score, ...], targets: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"id": document.id, "source": document.source, "text": document.text}
    for target, score in zip(targets, scores, strict=True):
        row |= {f"value:{target}": score.value, f"probability:{target}": score.probability, "tokens": score.tokens}
    return row


def _read_sample(job: Job, sampled: Sequence[ShardRecord]) -> tuple[list[Document], list[tuple[Score, ...]]]:
    """The sample in corpus order, with its scores."""
    documents: list[Document] = []
    results: list[tuple[Score, ...]] = []
    for record in sampled:
        for row in read_score_file(job.work, record.files[0]).to_pylist():
            documents.append(Document(row["id"], row["text"], source=row["source"]))
            numbers = [(row[f"value:{target}"], row[f"probability:{target}"]) for target in job.targets]
            results.append(tuple(Score(row["id"], value, chance, row["tokens"]) for value, chance in numbers))
    return documents, results


def _scores(results: Sequence[tuple[Score, ...]], targets: int, share: float) -> SampledScores:
    probability_TD = np.asarray([[score.probability for score in result] for result in results]).T
    tokens_D = np.asarray([result[0].tokens for result in results], dtype=np.int64)
    return SampledScores(probability_TD.reshape(targets, len(results)), tokens_D, share)
