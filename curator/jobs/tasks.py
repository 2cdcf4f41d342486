"""What each kind of order does, by the same functions as the command line; here they only meet a job's folder.

    load_model        load it, read one sentence through all its layers, say what it is
    identify_neurons  atlases (kept, resumable) -> Rosetta neurons -> neuron set and report
    build_study       the same atlases for every size -> study.json, written after each, and report
    filter_dataset    the filtering ledger's own resumption; the output is the artifacts, or a folder of the operator's

Orders are deterministic, so one that is carried out twice gives the same files. The probe corpus is kept in the job's folder: a
job that goes on after a kill reads what it read before, whatever became of its sources. It knows neither gRPC nor states of jobs.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from curator.errors import ArtifactError, FingerprintError
from curator.fingerprint import of_file
from curator.orders import (
    ARTIFACTS,
    NEURON_SET,
    STUDY,
    FileResult,
    FilterOrder,
    IdentifyOrder,
    LoadModelOrder,
    ModelOrder,
    ModelResult,
    ProbeOrder,
    Result,
    Step,
    StudyOrder,
    Work,
)

if TYPE_CHECKING:
    from curator.filtering.progress import Progress
    from curator.neuronset.identify import IdentifySettings, ModelChoice
    from curator.scaling.points import Study
    from curator.text.probe import ProbeCorpus

_SENTENCE = "The first forward pass proves that a model can be used."
_MEDIA_TYPES = {".jsonl": "application/jsonl", ".zst": "application/zstd", ".parquet": "application/vnd.apache.parquet"}


class Teller(Protocol):
    """Hears how far the work is; also the ``Reporter`` of identification."""

    def stage(self, title: str, total: int | None = None) -> None: ...  # noqa: D102

    def advance(self, done: int) -> None: ...  # noqa: D102

    def tell(self, step: Step) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work
    folder: Path
    teller: Teller

    @property
    def artifacts(self) -> Path:
        return self.folder / ARTIFACTS

    def choice(self, model: ModelOrder) -> ModelChoice:
        from curator.neuronset.identify import ModelChoice

        return ModelChoice(model.name, model.revision or None, model.dtype, self.work.device)

    @property
    def atlases(self) -> Path:
        return Path(self.work.atlases)


def carry_out(work: Work, folder: Path, teller: Teller) -> Result:
    """Do what the order says, or go on with it. Raises what the functions behind it raise, all of it CuratorError or a bug."""
    return _do(work.order, _Job(work, folder, teller))


@singledispatch
def _do(order: object, job: _Job) -> Result:
    raise ArtifactError(f"This version knows no order {type(order).__name__}; update the server.")


@_do.register
def _load(order: LoadModelOrder, job: _Job) -> Result:
    import torch

    job.teller.stage(f"loading {order.model.name}")
    backbone = job.choice(order.model).load()
    job.teller.stage("the first forward pass")
    tokens = backbone.tokenizer(_SENTENCE, return_tensors="pt").input_ids[:, : backbone.max_tokens].to(backbone.device)
    with torch.inference_mode():
        backbone.model(tokens)
    return Result(
        model=ModelResult(
            fingerprint=backbone.fingerprint,
            revision=backbone.revision,
            dtype=str(backbone.dtype).removeprefix("torch."),
            max_tokens=backbone.max_tokens,
        )
    )


@_do.register
def _identify(order: IdentifyOrder, job: _Job) -> Result:
    from curator.neuronset.artifact import save_neuron_set
    from curator.neuronset.identify import identify
    from curator.reporting import write_neuron_set_report
    from curator.scaling.points import Study

    corpus = _probe(order.probe, job)
    peers = [job.choice(peer) for peer in order.peers]
    identified = identify(
        job.choice(order.model),
        peers,
        corpus,
        order.targets,
        name=order.name,
        atlases=job.atlases,
        settings=_dials(order.probe, max_neurons=order.max_neurons, rosetta_rule=order.rosetta_rule),
        reporter=job.teller,
        workers=job.work.workers,
    )
    save_neuron_set(identified.neuron_set, job.artifacts / NEURON_SET)
    job.teller.stage("writing the report")
    study = Study.load(Path(order.study)) if order.study else None
    if study is not None:
        study.save(job.artifacts / STUDY)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    write_neuron_set_report(
        identified, corpus, job.artifacts, peers=peers, study=study, created=created, reporter=job.teller
    )
    return Result(files=_files(job.artifacts), neuron_set=f"{ARTIFACTS}/{NEURON_SET}")


@_do.register
def _study(order: StudyOrder, job: _Job) -> Result:
    from curator.reporting import write_study_report
    from curator.scaling.full import Group
    from curator.scaling.study import Depth, measure_groups

    corpus = _probe(order.probe, job)
    groups = {
        group.label: Group(*(tuple(map(job.choice, models)) for models in (group.models, group.beside)))
        for group in order.groups
    }
    study: Study | None = None
    for study in measure_groups(
        groups,
        corpus,
        atlases=job.atlases,
        settings=_dials(order.probe),
        depth=Depth(full=order.full, replicates=order.replicates),
        study=_study_so_far(order, job),
        reporter=job.teller,
        workers=job.work.workers,
    ):
        study.save(job.artifacts / STUDY)
    if study is None:
        raise ArtifactError("The order of a study names no group; create the job again.")
    job.teller.stage("writing the report")
    write_study_report(study, job.artifacts, corpus)
    return Result(files=_files(job.artifacts))


def _study_so_far(order: StudyOrder, job: _Job) -> Study | None:
    """What an earlier run of this job has measured, or else the study that it adds to."""
    from curator.scaling.points import Study

    begun = job.artifacts / STUDY
    if begun.is_file():
        return Study.load(begun)
    return Study.load(Path(order.append_to)) if order.append_to else None


@_do.register
def _filter(order: FilterOrder, job: _Job) -> Result:
    from curator.factories import NeuronSetFactory
    from curator.filtering.output import OutputOptions
    from curator.offline import filter_dataset

    device, dtype = job.work.device, job.work.dtype
    factory = NeuronSetFactory.of(order.neuron_set, targets=[order.target], device=device, dtype=dtype)
    if factory.identity.etag != order.etag:
        raise FingerprintError("The neuron set was replaced after the job was created; create the job again.")
    sized = OutputOptions(target_shard_bytes=order.target_shard_bytes) if order.target_shard_bytes else None
    out = Path(order.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    filter_dataset(
        order.sources,
        factory,
        out,
        order.policy,
        source_options=order.fields,
        options=sized,
        workers=job.work.workers,
        device=device,
        dtype=dtype,
        watch=_watching(job.teller),
    )
    return Result(files=_files(out))


def _watching(teller: Teller) -> Callable[[Progress], None]:
    def watch(state: Progress) -> None:
        teller.tell(Step(stage=state.phase, done=state.done, total=state.total, unit="pieces", checkpointed=state.done))

    return watch


def _probe(order: ProbeOrder, job: _Job) -> ProbeCorpus:
    """The corpus of an earlier run of this job, or a new one."""
    from curator.text.probe import build_probe, probe_spec_from
    from curator.text.probe_store import load_probe, save_probe

    kept = job.folder / "probe"
    try:
        return load_probe(kept)
    except ArtifactError:
        job.teller.stage("reading the probe corpus")
    spec = probe_spec_from(
        {
            "domains": order.domains,
            "fields": order.fields,
            "tokens_per_domain": order.tokens_per_domain,
            "seed": order.seed,
        },
        where="the job",
    )
    corpus = build_probe(spec)
    save_probe(corpus, kept)
    return corpus


def _dials(probe: ProbeOrder, **neuron_set: object) -> IdentifySettings:
    from curator.neuronset.identify import IdentifySettings
    from curator.settings import AtlasSettings, MatchSettings, NeuronSetSettings

    chosen = {"seed": probe.seed, **neuron_set}
    return IdentifySettings(
        atlas=AtlasSettings(seed=probe.seed, sketch_dimensions=probe.sketch_dimensions),
        match=MatchSettings(seed=probe.seed),
        neuron_set=NeuronSetSettings.model_validate(chosen),
    )


def _files(folder: Path) -> tuple[FileResult, ...]:
    """Every file of a folder that can be downloaded, by name."""
    return tuple(
        FileResult(
            name=path.relative_to(folder).as_posix(),
            media_type=_MEDIA_TYPES.get(path.suffix)
            or mimetypes.guess_type(path.name)[0]
            or "application/octet-stream",
            bytes=path.stat().st_size,
            sha256=of_file(path),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
    )
