"""Filter datasets from Python: what ``curator filter`` does, as one function.

    import curator
    report = curator.filter_dataset(["pool/*.jsonl.zst"], "law-410m", "law-shards", curator.Policy(keep_fraction=0.1), workers=2)

Here the parts meet that know nothing of each other: a neuron set becomes a factory of scorers, what a policy needs to know of a
text becomes annotators, and a name an engine. In a script, call it under ``if __name__ == "__main__":`` when it takes several
workers: they are fresh processes. It does not print.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from curator.errors import ConfigError
from curator.factories import NeuronSetFactory
from curator.files import local_path
from curator.filtering.annotate import Annotator
from curator.filtering.cascade_plan import CascadeOptions
from curator.filtering.dataset import reselect, run_request
from curator.filtering.engines import Engine, LocalEngine
from curator.filtering.output import OutputOptions
from curator.filtering.policy import Policy
from curator.filtering.progress import Watch, unwatched
from curator.filtering.request import FilterRequest
from curator.filtering.tally import FilterReport
from curator.filtering.tasks import ScorerFactory
from curator.text.pieces import DEFAULT_PIECE_BYTES
from curator.text.rows import SourceOptions

EngineName = Literal["local", "ray"]


def filter_dataset(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    neuron_set: str | os.PathLike[str] | ScorerFactory,
    out: str | os.PathLike[str],
    policy: Policy,
    *,
    targets: Sequence[str] = (),
    source_options: SourceOptions | None = None,
    options: OutputOptions | None = None,
    workers: int = 1,
    engine: EngineName | Engine = "local",
    device: str = "auto",
    dtype: str = "auto",
    decontaminate: Sequence[str] = (),
    window_characters: int = 0,
    cascade: CascadeOptions | None = None,
    piece_bytes: int = DEFAULT_PIECE_BYTES,
    watch: Watch = unwatched,
) -> FilterReport:
    """Keep the documents of some sources that a neuron set speaks for, in shards that one can train on.

    The same call goes on where an interrupted one stopped, and does nothing once the output is finished.

    Args:
        sources: one or more paths, globs or URIs (``hf:``, ``env:``, ``s3://``, ...), as ``curator.text`` opens them.
        neuron_set: its folder or name, or a factory of any scorer.
        out: a new folder for the output.
        policy: which documents to keep.
        targets: target domains to score for; the policy's, or the set's only one, unless named.
        source_options: fields of a record that hold text, id, domain and source.
        options: formats, shard size, whether rejected documents are written.
        workers: processes, each with a model of its own on the next GPU if any.
        engine: ``local``, ``ray``, or anything with the interface of ``curator.filtering.engines.Engine``.
        device: where a model goes; ``auto``, ``cpu``, ``cuda``, ``cuda:0``.
        dtype: precision of the model.
        decontaminate: evaluation files; documents that share text with them are marked, and dropped unless the policy keeps them.
        window_characters: score longer documents in windows of about this length; 0 scores all whole.
        cascade: put a prefilter, learned from a sample of the sources, before the model; it stops what the policy cannot keep.
        piece_bytes: about how much input makes one step of the job.
        watch: hears of the progress.

    Returns the counts of the whole job. Raises what ``curator.filtering.dataset.filter_sources`` raises, and
    ArtifactNotFoundError without the neuron set.
    """
    request = dataset_request(
        sources,
        neuron_set,
        out,
        policy,
        targets=targets,
        source_options=source_options,
        options=options,
        device=device,
        dtype=dtype,
        decontaminate=decontaminate,
        window_characters=window_characters,
        cascade=cascade,
        piece_bytes=piece_bytes,
    )
    return run_request(request, engine=engine_of(engine, workers), watch=watch)


def dataset_request(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    neuron_set: str | os.PathLike[str] | ScorerFactory,
    out: str | os.PathLike[str],
    policy: Policy,
    *,
    targets: Sequence[str] = (),
    source_options: SourceOptions | None = None,
    options: OutputOptions | None = None,
    device: str = "auto",
    dtype: str = "auto",
    decontaminate: Sequence[str] = (),
    window_characters: int = 0,
    cascade: CascadeOptions | None = None,
    piece_bytes: int = DEFAULT_PIECE_BYTES,
) -> FilterRequest:
    """What ``filter_dataset`` would do, as a value for ``curator.filtering.parts``; nothing is read but the neuron set."""
    factory = (
        NeuronSetFactory.of(neuron_set, targets=targets or policy.named_targets, device=device, dtype=dtype)
        if isinstance(neuron_set, str | os.PathLike)
        else neuron_set
    )
    several = [sources] if isinstance(sources, str | os.PathLike) else sources
    return FilterRequest(
        sources=tuple(os.fspath(source) for source in several),
        factory=factory,
        out=local_path(Path(out)),
        policy=policy,
        source_options=source_options or SourceOptions(),
        options=options or OutputOptions(),
        annotators=tuple(annotators_for(policy, decontaminate)),
        window_characters=window_characters,
        cascade=cascade,
        piece_bytes=piece_bytes,
    )


def reselect_dataset(
    finished: str | os.PathLike[str],
    out: str | os.PathLike[str],
    policy: Policy,
    *,
    options: OutputOptions | None = None,
    workers: int = 1,
    engine: EngineName | Engine = "local",
    watch: Watch = unwatched,
) -> FilterReport:
    """Select again from the scores of a finished output, under another policy, without a model; the sources are read again.

    Raises what ``curator.filtering.dataset.reselect`` raises.
    """
    return reselect(Path(finished), Path(out), policy, options=options, engine=engine_of(engine, workers), watch=watch)


def annotators_for(policy: Policy, decontaminate: Sequence[str]) -> list[Annotator]:
    """What must be computed beside the scores for a policy to be decided. Raises as ``Decontaminator`` does."""
    annotators: list[Annotator] = []
    if policy.near_duplicates is not None:
        from curator.filtering.duplicates import MinHashAnnotator

        annotators.append(MinHashAnnotator())
    if decontaminate:
        from curator.filtering.decontamination import Decontaminator

        annotators.append(Decontaminator(decontaminate))
    return annotators


def engine_of(engine: EngineName | Engine, workers: int) -> Engine:
    """The engine of a name. Raises ConfigError for an unknown one, or for less than one worker."""
    if workers < 1:
        raise ConfigError(f"A job needs at least one worker, not {workers}.")
    if engine == "local":
        return LocalEngine(workers)
    if engine == "ray":
        from curator.filtering.ray_engine import RayEngine

        return RayEngine(workers)
    if isinstance(engine, str):
        raise ConfigError(f"There is no engine {engine!r}; choose local or ray.")
    return engine
