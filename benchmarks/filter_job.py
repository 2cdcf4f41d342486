"""A filtering job around the scorer: ``workers_2_over_1``, ``rss_growth``, ``select_from_scores_docs_per_s``.

Workers score with a made-up neuron set on a bundled model: one on one core, where the system can bind it to one, against two on
two. One worker on two cores would use both, for it reads and tokenises beside the model. Loading the model is within the time
of either. ``cores_2_over_1`` is what the machine itself gives: bare scoring on two cores at once over one, which falls short of 2
where cores share caches, memory or, as two threads of one, everything. Memory and selection do not depend on the scorer, so
theirs is a hash of the id: what a job holds for its documents is then not hidden behind a model. Growth is peak memory with a
hundred times the documents over that with few, each in a process of its own, selection included. Selection is from the kept
scores of the larger job to one document in a hundred, with the output written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import torch

from benchmarks.filter_world import made_up_set
from benchmarks.harness import Row, in_child, in_children, note, rounded, seconds
from benchmarks.worlds import probe, scratch, zoo
from curator import fingerprint
from curator.filtering.dataset import filter_sources, reselect
from curator.filtering.engines import LocalEngine
from curator.filtering.job import ScorerIdentity
from curator.filtering.policy import Policy
from curator.records import Document, Rejection, Score, TargetScorer
from curator.scoring.scorer import NeuronSetScorer

_HALF, _FEW_BEST = Policy(keep_fraction=0.5), Policy(keep_fraction=0.01)
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class HashScorer:
    """Scores a text by its hash."""

    name: str = "hash"
    etag: str = "hash"
    model_fingerprint: str = "none"
    targets: tuple[str, ...] = ("hash",)

    def score_targets(self, documents: Sequence[Document]) -> list[tuple[Score, ...] | Rejection]:
        """A number that looks random and is the same for the same id."""
        numbers = [fingerprint.unit_interval(document.id) for document in documents]
        return [
            (Score(document.id, number, number, len(document.text) // 4, ("L0/U0",)),)
            for document, number in zip(documents, numbers, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class HashFactory:
    """Makes one."""

    @property
    def identity(self) -> ScorerIdentity:
        """As a job compares it."""
        return ScorerIdentity.of(HashScorer())

    def __call__(self, worker: int) -> TargetScorer:
        """The scorer."""
        return HashScorer()


@dataclass(frozen=True, slots=True)
class MadeUpFactory:
    """A made-up neuron set on a bundled model."""

    model: str
    depth: int

    @property
    def identity(self) -> ScorerIdentity:
        """As a job compares it; loads the model."""
        return ScorerIdentity.of(self(0))

    def __call__(self, worker: int) -> NeuronSetScorer:
        """The scorer."""
        backbone = zoo(self.model)
        return NeuronSetScorer(backbone, made_up_set(backbone, self.depth))


def job_rows(quick: bool) -> Iterator[Row]:
    """All three rows."""
    with scratch() as folder:
        yield _workers_row(folder, 60 if quick else 8_000)
        few, many = (2_000, 20_000) if quick else (10_000, 1_000_000)
        peaks = {}
        for count in (few, many):
            source = _write(folder / f"{count}.jsonl", count, 80)
            _, peaks[count] = in_child(hash_job, source=source, out=folder / f"out-{count}")
            note(f"{count:,} documents: {peaks[count] / 2**20:.0f} MiB")
        detail = {
            "goal": "at most 1.05",
            "about": f"peak memory of a job of {many:,} documents over one of {few:,}",
            "peak_mib": {str(count): round(peak / 2**20, 1) for count, peak in peaks.items()},
        }
        yield Row("rss_growth", peaks[many] / peaks[few], "ratio, lower is better", detail)
        took = seconds(lambda: reselect(folder / f"out-{many}", folder / "again", _FEW_BEST))
        about = "documents decided anew per second from kept scores, one in a hundred written"
        found = {"about": about, "documents": many, "seconds": round(took, 3)}
        yield Row("select_from_scores_docs_per_s", many / took, "documents/s", found)


def hash_job(source: Path, out: Path) -> None:
    """What a child runs: a whole job in one process."""
    filter_sources([str(source)], HashFactory(), out, _HALF, piece_bytes=_PIECE_BYTES)


def model_job(source: Path, out: Path, workers: int) -> float:
    """Seconds of a whole job by so many workers on as many cores."""
    _bind(range(workers))
    factory = MadeUpFactory("neox-128x4", 3)
    return seconds(
        lambda: filter_sources(
            [str(source)], factory, out, _HALF, engine=LocalEngine(workers), piece_bytes=_PIECE_BYTES // 4
        )
    )


def bare_job(texts: Sequence[str], core: int) -> float:
    """Seconds to score texts on one core, everything loaded before."""
    _bind([core])
    scorer = MadeUpFactory("neox-128x4", 3)(0)
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    scorer.score_targets(documents[: len(documents) // 8])
    return seconds(lambda: scorer.score_targets(documents))


def _bind(cores: Sequence[int]) -> None:
    """Keep this process and its children to these of the cores that it may use, where the system can."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {mine[core % len(mine)] for core in cores})


def _cores_2_over_1(documents: int) -> float:
    texts = [document.text for document in probe(20_000, 512).documents]
    work = {"texts": list(islice(cycle(texts), documents))}
    alone, _ = in_child(bare_job, **work, core=0)
    both = in_children(bare_job, [{**work, "core": core} for core in (0, 1)])
    return 2 * alone / max(took for took, _ in both)


def _workers_row(folder: Path, documents: int) -> Row:
    source = _write(folder / "workers.jsonl", documents, 512)
    times = {
        workers: in_child(model_job, source=source, out=folder / f"workers-{workers}", workers=workers)[0]
        for workers in (1, 2)
    }
    detail = {
        "goal": "at least 1.8",
        "about": "throughput of two workers on two cores over one on one, model loading included",
        "documents": documents,
        "seconds": rounded(times.values()),
        "cores_2_over_1": round(_cores_2_over_1(documents // 8), 3),
    }
    return Row("workers_2_over_1", times[1] / times[2], "throughput ratio, higher is better", detail)


def _write(path: Path, documents: int, spans: int) -> Path:
    """A JSONL file of so many real documents, under new ids where they come again."""
    texts = [document.text for document in probe(20_000, spans).documents]
    with path.open("w", encoding="utf-8") as handle:
        for number, text in enumerate(islice(cycle(texts), documents)):
            handle.write(json.dumps({"id": f"d{number}", "text": f"{number} {text}"}) + "\n")
    return path
