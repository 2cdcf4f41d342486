"""What jobs are asked for, in plain Python: functions that make the messages of ``JobService`` out of names and documents.

    identify = identify_spec("models/neox", ["models/gpt2"], {"law": examples, "news": "news/*.jsonl.zst"})
    study = study_spec({"70m": ["models/a-70m", "models/b-70m"]}, {"law": examples, "news": "news/*.jsonl.zst"})
    shards = filter_spec("pool/*.parquet", neuron_set="law", keep_fraction=0.1)

Text is either a URI, or several, that the server reads, or documents that travel with the request. No gRPC here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence

from curator.api.convert import document_to_wire
from curator.api.v1 import catalog_pb2, common_pb2, jobs_pb2
from curator.errors import ConfigError
from curator.records import Document

Text = str | Sequence[str] | Sequence[Document] | jobs_pb2.DataSource
"""One URI or several that the server reads, or documents to send along."""
Spec = jobs_pb2.IdentifyNeuronsSpec | jobs_pb2.BuildStudySpec | jobs_pb2.FilterDatasetSpec | jobs_pb2.LoadModelSpec
_FIELDS: dict[type, str] = {
    jobs_pb2.IdentifyNeuronsSpec: "identify_neurons",
    jobs_pb2.BuildStudySpec: "build_study",
    jobs_pb2.FilterDatasetSpec: "filter_dataset",
    jobs_pb2.LoadModelSpec: "load_model",
}


def data_source(text: Text, *, text_field: str = "", id_field: str = "") -> jobs_pb2.DataSource:
    """Text for a job. Raises ConfigError for nothing, or for a mixture; DocumentError for what the wire cannot carry."""
    if isinstance(text, jobs_pb2.DataSource):
        return text
    given: list[str | Document] = [text] if isinstance(text, str) else list(text)
    uris = [one for one in given if isinstance(one, str)]
    documents = [one for one in given if isinstance(one, Document)]
    if not given or (uris and documents):
        raise ConfigError("A source is one URI or several, or documents; give one of the two.")
    source = jobs_pb2.DataSource(text_field=text_field, id_field=id_field)
    if uris:
        source.files.uris.extend(uris)
    else:
        source.documents.CopyFrom(common_pb2.Documents(documents=[document_to_wire(one) for one in documents]))
    return source


def probe_spec(
    sources: Mapping[str, Text], *, tokens_per_domain: int = 0, seed: int = 0, sketch_dimensions: int = 0
) -> jobs_pb2.ProbeSpec:
    """Labelled text by domain; of one domain alone the server adds others to tell it from. Raises as ``data_source``."""
    labelled = [jobs_pb2.LabelledSource(domain=domain, source=data_source(text)) for domain, text in sources.items()]
    return jobs_pb2.ProbeSpec(
        sources=labelled, tokens_per_domain=tokens_per_domain, seed=seed, sketch_dimensions=sketch_dimensions
    )


def identify_spec(
    model: str,
    peers: Iterable[str],
    sources: Mapping[str, Text] | jobs_pb2.ProbeSpec,
    *,
    targets: Iterable[str] = (),
    max_neurons: int = 0,
    rosetta_rule: str = "",
    neuron_set_id: str = "",
    study: str = "",
) -> jobs_pb2.IdentifyNeuronsSpec:
    """A neuron set for ``targets`` (the first domain unless named) of models that are loaded (``models/{model}``)."""
    return jobs_pb2.IdentifyNeuronsSpec(
        model=model,
        peers=list(peers),
        probe=sources if isinstance(sources, jobs_pb2.ProbeSpec) else probe_spec(sources),
        targets=list(targets),
        max_neurons=max_neurons,
        rosetta_rule=rosetta_rule,
        neuron_set_id=neuron_set_id,
        study=study,
    )


def study_spec(
    groups: Mapping[str, Sequence[str]],
    sources: Mapping[str, Text] | jobs_pb2.ProbeSpec,
    *,
    beside: Mapping[str, Sequence[str]] | None = None,
    quick: bool = False,
    replicates: int = 0,
    append_to: str = "",
) -> jobs_pb2.BuildStudySpec:
    """A scaling study: for each label the models of one size, the anchor first.

    ``beside`` are models of a label that are matched in pairs only; ``quick`` counts and measures nothing else; ``append_to`` is
    a finished job with a study that the sizes are added to. Raises ConfigError for ``beside`` of an unknown label.
    """
    more = beside or {}
    if unknown := sorted(set(more) - set(groups)):
        raise ConfigError(f"There is no group {unknown[0]!r} to put models beside; name one of {', '.join(groups)}.")
    return jobs_pb2.BuildStudySpec(
        groups=[
            jobs_pb2.StudyGroup(
                label=label, model=next(iter(models), ""), peers=list(models[1:]), beside=list(more.get(label, ()))
            )
            for label, models in groups.items()
        ],
        probe=sources if isinstance(sources, jobs_pb2.ProbeSpec) else probe_spec(sources),
        depth=jobs_pb2.BuildStudySpec.DEPTH_QUICK if quick else jobs_pb2.BuildStudySpec.DEPTH_FULL,
        replicates=replicates,
        append_to=append_to,
    )


def filter_spec(
    source: Text,
    *,
    neuron_set: str = "",
    etag: str = "",
    min_score: float | None = None,
    min_probability: float | None = None,
    keep_fraction: float | None = None,
    token_budget: int | None = None,
    output_uri: str = "",
    resume: bool = False,
    target_shard_bytes: int = 0,
) -> jobs_pb2.FilterDatasetSpec:
    """Filtering on the server. Raises ConfigError unless exactly one limit is given."""
    limits = {
        "min_score": min_score,
        "min_probability": min_probability,
        "keep_fraction": keep_fraction,
        "token_budget": token_budget,
    }
    chosen = {name: value for name, value in limits.items() if value is not None}
    if len(chosen) != 1:
        raise ConfigError(
            "Filtering needs one limit: a least score or probability, a share to keep, or a token budget; give one."
        )
    spec = jobs_pb2.FilterDatasetSpec(input=data_source(source), output_uri=output_uri, resume=resume)
    spec.filter.score.neuron_set, spec.filter.score.etag = neuron_set, etag
    spec.filter.target_shard_bytes = target_shard_bytes
    for name, value in chosen.items():
        setattr(spec if name in {"keep_fraction", "token_budget"} else spec.filter, name, value)
    return spec


def create_request(spec: Spec, *, job_id: str, request_id: str, validate_only: bool) -> jobs_pb2.CreateJobRequest:
    """The request for a job, under a fresh id unless one is given. Raises ConfigError for what is no spec."""
    if type(spec) not in _FIELDS:
        raise ConfigError(f"A {type(spec).__name__} is no job; make one with curator_client.specs.")
    job = jobs_pb2.Job()
    getattr(job, _FIELDS[type(spec)]).CopyFrom(spec)
    return jobs_pb2.CreateJobRequest(
        job=job, job_id=job_id, request_id=request_id or str(uuid.uuid4()), validate_only=validate_only
    )


def load_request(
    repo: str, *, model_id: str, revision: str, dtype: str, request_id: str, validate_only: bool
) -> catalog_pb2.LoadModelRequest:
    """The request to load a model, under a fresh id unless one is given."""
    return catalog_pb2.LoadModelRequest(
        model_id=model_id,
        spec=jobs_pb2.LoadModelSpec(repo=repo, revision=revision, dtype=dtype),
        request_id=request_id or str(uuid.uuid4()),
        validate_only=validate_only,
    )
