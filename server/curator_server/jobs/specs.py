"""From the spec that a caller sends to the order that a worker carries out, with every name checked and resolved.

A spec is checked when the job is created, so that a mistake is the call's error, and turned into an order each time the job
starts, because models, sets and files may have changed since. Documents in a spec are written to the job's folder and left out
of what is kept, for a job is stored once for every revision. Cost: a listing of the named folders; callers use a thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from curator.api.v1 import catalog_pb2, common_pb2, jobs_pb2
from curator.errors import ConfigError, JobError, ModelNotFoundError
from curator.filtering.policy import Policy
from curator.orders import (
    ARTIFACTS,
    INPUTS,
    STUDY,
    FilterOrder,
    GroupOrder,
    IdentifyOrder,
    LoadModelOrder,
    ModelOrder,
    Order,
    ProbeOrder,
    RuleName,
    StudyOrder,
    Work,
)
from curator.settings import AtlasSettings, NeuronSetSettings
from curator.zoo.catalog import PREFIX as ZOO
from curator_server.jobs.caps import check_caps
from curator_server.jobs.inputs import check_documents, write_documents
from curator_server.jobs.places import Places
from curator_server.jobs.settings import JobSettings
from curator_server.jobs.sources import hub_uri, input_file, kind_of, shared_fields, sources_of
from curator_server.jobs.store import Job, Store
from curator_server.registry import Registry

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NEURON_SET, _ATLAS = NeuronSetSettings(), AtlasSettings()
DEFAULT_REPLICATES = 200
_DTYPES = ("", "auto", "float32", "bfloat16", "float16")


def plain_name(name: str, what: str) -> str:
    """The name, which must be able to stand in a resource name and a folder. Raises ConfigError."""
    if not PLAIN.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be a {what}; use up to 64 letters, digits, dots, dashes and underscores, a letter or digit first."
        )
    return name


class Orders:
    """Turns specs into orders for one server."""

    def __init__(
        self,
        settings: JobSettings,
        store: Store,
        registry: Registry,
        models: Callable[[], Mapping[str, catalog_pb2.Model]],
        limits: common_pb2.Limits,
    ) -> None:
        self._settings, self._store, self._registry, self._models = settings, store, registry, models
        self._limits = limits
        self._places = Places(settings)

    def check(self, job: Job) -> None:
        """Raise ConfigError, or what else is wrong, for a job that could not start; nothing is written."""
        check_caps(job, self._settings)
        for source in sources_of(job):
            if source.WhichOneof("source") == "documents":
                check_documents(source.documents, self._limits)
        order = self.work(job, Path("unused")).order
        if isinstance(order, FilterOrder) and job.filter_dataset.output_uri and not job.filter_dataset.resume:
            _require_new(Path(order.out), job.filter_dataset.output_uri)

    def keep_documents(self, job: Job, folder: Path) -> None:
        """Move the documents of a checked spec to the job's folder."""
        sources = sources_of(job)
        fields = shared_fields(sources)
        for number, source in enumerate(sources):
            if source.WhichOneof("source") == "documents":
                passages = kind_of(job) != "filter_dataset"
                write_documents(input_file(folder, number), source.documents, fields, passages=passages)
                source.documents.Clear()
                source.documents.SetInParent()

    def work(self, job: Job, folder: Path) -> Work:
        """The order of a job whose documents are in ``folder``. Raises as ``check``."""
        spec = getattr(job, kind_of(job))
        order: Order = _MAKERS[kind_of(job)](self, spec, folder)
        settings = self._settings
        return Work(
            order=order,
            atlases=str(settings.atlases),
            roots={name: str(root) for name, root in {INPUTS: folder / INPUTS, **self._places.roots}.items()},
            device=settings.device,
            dtype=settings.dtype,
            workers=settings.workers,
        )

    def _load_model(self, spec: jobs_pb2.LoadModelSpec, _: Path) -> LoadModelOrder:
        if spec.dtype not in _DTYPES:
            raise ConfigError(f"{spec.dtype!r} is no type that models are loaded in; use float32, bfloat16 or float16.")
        name = self._places.model(spec.repo, spec.revision)
        return LoadModelOrder(model=ModelOrder(name=name, revision=spec.revision, dtype=spec.dtype or "auto"))

    def _identify(self, spec: jobs_pb2.IdentifyNeuronsSpec, folder: Path) -> IdentifyOrder:
        probe = self._probe(spec.probe, folder)
        targets = tuple(targets_of(spec))
        unknown = [target for target in targets if target not in probe.domains]
        if unknown or len(set(targets)) != len(targets):
            raise ConfigError(f"The targets must be different domains of the probe: {', '.join(probe.domains)}.")
        if not spec.peers or spec.model in spec.peers:
            raise ConfigError("Rosetta neurons need a peer, one that is not the model itself; name its model in peers.")
        return IdentifyOrder(
            name=set_id(spec),
            model=self._model(spec.model),
            peers=tuple(self._model(peer) for peer in spec.peers),
            probe=probe,
            targets=targets,
            max_neurons=spec.max_neurons or _NEURON_SET.max_neurons,
            rosetta_rule=_rule(spec.rosetta_rule or _NEURON_SET.rosetta_rule),
            study=self._study_file(spec.study),
        )

    def _build_study(self, spec: jobs_pb2.BuildStudySpec, folder: Path) -> StudyOrder:
        labels = [group.label for group in spec.groups]
        if not labels or len(set(labels)) != len(labels) or not all(labels):
            raise ConfigError("A study needs groups, each with a label of its own; name one for each size.")
        full = spec.depth != jobs_pb2.BuildStudySpec.DEPTH_QUICK
        return StudyOrder(
            groups=tuple(self._group(group, full=full) for group in spec.groups),
            probe=self._probe(spec.probe, folder),
            full=full,
            replicates=spec.replicates or DEFAULT_REPLICATES,
            append_to=self._study_file(spec.append_to),
        )

    def _group(self, group: jobs_pb2.StudyGroup, *, full: bool) -> GroupOrder:
        if not group.peers or group.model in group.peers:
            raise ConfigError(f"The group {group.label!r} needs a peer that is not the model itself.")
        if group.beside and not full:
            raise ConfigError(f"The group {group.label!r} has models beside it, which only a full study measures.")
        models, beside = (
            tuple(self._model(name) for name in names) for names in ((group.model, *group.peers), group.beside)
        )
        return GroupOrder(label=group.label, models=models, beside=beside)

    def _filter(self, spec: jobs_pb2.FilterDatasetSpec, folder: Path) -> FilterOrder:
        streaming = ("resume_after_seq", "commit_every_bytes", "format")
        if wrong := [name for name in streaming if getattr(spec.filter, name)]:
            raise ConfigError(f"{wrong[0]} is for streams; leave it out of a job.")
        scorer = self._registry.resolve(spec.filter.score)
        offered = self._registry.offered(scorer)
        if offered.folder is None:
            raise ConfigError(f"The neuron set {scorer.name!r} is not on the server's disk; jobs cannot use it.")
        sources = self._uris(spec.input, 0, folder)
        out = self._places.output(spec.output_uri) if spec.output_uri else folder / ARTIFACTS
        return FilterOrder(
            sources=sources,
            fields=shared_fields([spec.input]),
            neuron_set=str(offered.folder),
            target=offered.target,
            etag=scorer.etag,
            policy=_policy(spec),
            target_shard_bytes=spec.filter.target_shard_bytes,
            out=str(out),
        )

    def _model(self, name: str) -> ModelOrder:
        model = self._models().get(name)
        if model is None:
            raise ModelNotFoundError(f"There is no model {name!r} here; load it, ListModels names those that are.")
        if model.state != catalog_pb2.Model.STATE_ACTIVE:
            raise JobError(f"The model {name!r} is not loaded yet, or could not be; look at the job that loads it.")
        revision = "" if model.repo.startswith(ZOO) or Path(model.repo).is_dir() else model.revision
        asked = self._store.catalog.asked(name).revision
        return ModelOrder(name=self._places.model(model.repo, asked), revision=revision, dtype=model.dtype or "auto")

    def _probe(self, spec: jobs_pb2.ProbeSpec, folder: Path) -> ProbeOrder:
        labels = [labelled.domain for labelled in spec.sources]
        if not labels or not all(label.strip() for label in labels) or len(set(labels)) != len(labels):
            raise ConfigError("The probe needs labelled sources; give each domain a name and one source.")
        domains = {
            labelled.domain: self._uris(labelled.source, number, folder) for number, labelled in enumerate(spec.sources)
        }
        if len(domains) == 1:
            domains |= {name: (uri,) for name, uri in self._settings.background.items() if name not in domains}
        return ProbeOrder(
            domains=domains,
            fields=shared_fields([labelled.source for labelled in spec.sources]),
            tokens_per_domain=spec.tokens_per_domain or self._settings.tokens_per_domain,
            seed=spec.seed,
            sketch_dimensions=spec.sketch_dimensions or _ATLAS.sketch_dimensions,
        )

    def _uris(self, source: jobs_pb2.DataSource, number: int, folder: Path) -> tuple[str, ...]:
        match source.WhichOneof("source"):
            case "documents":
                return (f"{INPUTS}/{input_file(folder, number).name}",)
            case "files":
                return self._places.sources(source.files.uris)
            case "hugging_face":
                return self._places.sources([hub_uri(source.hugging_face)])
            case _:
                raise ConfigError("A data source is empty; set hugging_face, files or documents.")

    def _study_file(self, name: str) -> str:
        if not name:
            return ""
        job = self._store.get(name)
        if STUDY not in {artifact.name for artifact in job.artifacts}:
            raise JobError(f"{name} has made no study; name a job with a study that has succeeded.")
        return str(Path(self._store.place(name)) / STUDY)


_MAKERS: dict[str, Callable[[Orders, Any, Path], Order]] = {
    "load_model": Orders._load_model,
    "identify_neurons": Orders._identify,
    "build_study": Orders._build_study,
    "filter_dataset": Orders._filter,
}


def _rule(name: str) -> RuleName:
    for rule in get_args(RuleName):
        if rule == name:
            return rule
    raise ConfigError(f"There is no rule {name!r}; choose one of: {', '.join(get_args(RuleName))}.")


def set_id(spec: jobs_pb2.IdentifyNeuronsSpec) -> str:
    """Last part of the name of the neuron set that a job makes. Raises ConfigError when it is not plain."""
    return plain_name(spec.neuron_set_id or "-".join(targets_of(spec)), "neuron_set_id")


def set_name(spec: jobs_pb2.IdentifyNeuronsSpec) -> str:
    """``models/{model}/neuronSets/{id}`` of the neuron set that a job makes."""
    return f"{spec.model}/neuronSets/{set_id(spec)}"


def claims_of(job: Job) -> dict[str, str]:
    """The names of neuron sets that a job would give: the set's own, and that for each of several domains, with the domain."""
    if job.WhichOneof("spec") != "identify_neurons":
        return {}
    spec = job.identify_neurons
    name, targets = set_name(spec), targets_of(spec)
    if len(targets) == 1:
        return {name: targets[0]}
    return {name: "", **{f"{name}.{target}": target for target in targets}}


def targets_of(spec: jobs_pb2.IdentifyNeuronsSpec) -> list[str]:
    """The domains that a neuron set scores for."""
    return list(spec.targets) or [labelled.domain for labelled in spec.probe.sources[:1]]


def _require_new(out: Path, uri: str) -> None:
    if out.with_name(f"{out.name}.work").exists() or (out.exists() and any(out.iterdir())):
        raise ConfigError(
            f"The output {uri!r} is not empty; name a new folder, or set resume to go on with what is there."
        )


def _policy(spec: jobs_pb2.FilterDatasetSpec) -> Policy:
    threshold, limit = spec.filter.WhichOneof("threshold"), spec.WhichOneof("limit")
    if (threshold is None) == (limit is None):
        raise ConfigError("Filtering needs one of min_score, min_probability, keep_fraction and token_budget.")
    if limit is not None:
        return Policy.model_validate({limit: getattr(spec, limit)})
    field = "value" if threshold == "min_score" else "probability"
    return Policy(threshold=getattr(spec.filter, str(threshold)), field=field)
