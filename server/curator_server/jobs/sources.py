"""The data sources of a job's spec: which there are, which fields they share, where documents that were sent along lie.

Sources are numbered in the order in which the spec names them; documents of source n are kept in ``inputs/n.jsonl`` below the
job's folder. It checks names and opens nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from curator.api.v1 import jobs_pb2
from curator.errors import ConfigError
from curator.orders import INPUTS
from curator.text.rows import SourceOptions
from curator.text.uris import Scheme, SourceUri
from curator_server.jobs.store import Job


def kind_of(job: Job) -> str:
    """Name of the spec that a job has. Raises ConfigError without one."""
    kind = job.WhichOneof("spec")
    if kind is None:
        raise ConfigError("The job has no spec; set one of identify_neurons, build_study, filter_dataset, load_model.")
    return kind


def sources_of(job: Job) -> list[jobs_pb2.DataSource]:
    """The data sources of a spec, in the order of their numbers."""
    match kind_of(job):
        case "identify_neurons":
            return [labelled.source for labelled in job.identify_neurons.probe.sources]
        case "build_study":
            return [labelled.source for labelled in job.build_study.probe.sources]
        case "filter_dataset":
            return [job.filter_dataset.input]
        case _:
            return []


def input_file(folder: Path, number: int) -> Path:
    """Where the documents of a source lie that were sent along."""
    return folder / INPUTS / f"{number}.jsonl"


def shared_fields(sources: Sequence[jobs_pb2.DataSource]) -> SourceOptions:
    """The fields that all sources share; documents that were sent along are written under these names. Raises ConfigError."""
    read = [source for source in sources if source.WhichOneof("source") != "documents"]
    found = {(source.text_field or "text", source.id_field or "id") for source in read} or {("text", "id")}
    if len(found) > 1:
        raise ConfigError("The sources of one job must hold text and id in fields of the same names; rename them.")
    text, identity = found.pop()
    return SourceOptions(text_field=text, id_field=identity)


def hub_uri(source: jobs_pb2.HuggingFaceSource) -> str:
    """The URI of a data set on the hub."""
    query = {"config": source.config, "split": source.split, "revision": source.revision}
    return str(SourceUri(Scheme.HUB, source.repo, {key: value for key, value in query.items() if value}))
