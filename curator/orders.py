"""What a worker process is told to do, and what it says back: the plain values between the server and ``curator.jobs``.

A server checks a request, turns it into an order and writes ``order.json`` into the job's folder; the worker writes one JSON
line for each step of progress to standard output and, last, ``result.json``. Everything here is a frozen value that survives
JSON, so neither side holds anything that a killed process would lose. Names in an order are resolved and inside what the operator
allows: paths are absolute, but for those of sources, which begin with the name of a root. It runs nothing and loads neither gRPC
nor a model.

    FOLDER/order.json      what to do
    FOLDER/inputs/         documents that the caller sent along
    FOLDER/roots/          links to the roots of sources, among which the worker works
    FOLDER/artifacts/      what can be downloaded
    FOLDER/result.json     what came out; written last
    FOLDER/worker.log      standard error of the worker, for the operator
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curator.errors import ArtifactError
from curator.files import read_json, write_json
from curator.filtering.policy import Policy
from curator.records import DocumentScorer
from curator.text.rows import SourceOptions

ORDER, RESULT, ARTIFACTS, INPUTS, LOG = "order.json", "result.json", "artifacts", "inputs", "worker.log"
ROOTS = "roots"
NEURON_SET, STUDY = "neuron-set", "study.json"
RuleName = Literal["paper", "strict", "universal"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_V = TypeVar("_V", bound=_Value)


class ModelOrder(_Value):
    """A model as ``ModelChoice`` reads it."""

    name: str
    """Hub name, folder or ``zoo:NAME``."""
    revision: str = ""
    """Revision of a hub model; empty for the main branch, and for what is not on the hub."""
    dtype: str = "auto"
    """What it computes in."""


class ProbeOrder(_Value):
    """The probe corpus to read."""

    domains: dict[str, tuple[str, ...]]
    """Source URIs of each domain."""
    fields: SourceOptions = SourceOptions()
    """Which fields of their rows are read."""
    tokens_per_domain: int
    """Universal spans of each domain."""
    seed: int = 0
    """Seed of the probe, the sketch, the nulls and the splits."""
    sketch_dimensions: int = 2048
    """Numbers per signature."""


class LoadModelOrder(_Value):
    """Fetch a model and read a sentence with it."""

    kind: Literal["load_model"] = "load_model"
    model: ModelOrder


class IdentifyOrder(_Value):
    """Make a neuron set and its report."""

    kind: Literal["identify_neurons"] = "identify_neurons"
    name: str
    """Name of the neuron set."""
    model: ModelOrder
    peers: tuple[ModelOrder, ...]
    probe: ProbeOrder
    targets: tuple[str, ...]
    max_neurons: int
    rosetta_rule: RuleName
    study: str = ""
    """Path of a study that the report shows; empty for none."""


class GroupOrder(_Value):
    """One size of a study."""

    label: str
    models: tuple[ModelOrder, ...]
    """The anchor first."""
    beside: tuple[ModelOrder, ...] = ()
    """Matched with each of them in pairs, and in no intersection."""


class StudyOrder(_Value):
    """Measure Rosetta neurons by size, and write the report of it."""

    kind: Literal["build_study"] = "build_study"
    groups: tuple[GroupOrder, ...]
    probe: ProbeOrder
    full: bool
    """Every part of the report, or the counts alone."""
    replicates: int
    """Replicates of the fold bootstrap in a full study."""
    append_to: str = ""
    """Path of a study that the groups are added to; empty for none."""


class FilterOrder(_Value):
    """Filter sources into shards."""

    kind: Literal["filter_dataset"] = "filter_dataset"
    sources: tuple[str, ...]
    fields: SourceOptions = SourceOptions()
    neuron_set: str
    """Folder of the neuron set."""
    target: str
    """Domain to score for."""
    etag: str
    """Etag of the scorer; another one ends the job."""
    policy: Policy
    target_shard_bytes: int = 0
    """0 for the default."""
    out: str
    """Folder of the output."""


Order = Annotated[LoadModelOrder | IdentifyOrder | StudyOrder | FilterOrder, Field(discriminator="kind")]


class Work(_Value):
    """An order with where and how it is carried out."""

    order: Order
    atlases: str
    """Folder where atlases are kept; all jobs share it."""
    call: dict[str, str] = {}
    """``request_id`` and ``traceparent`` of the call that created the job, where they are known."""
    roots: dict[str, str] = {}
    """Folders of sources by the names that source URIs begin with."""
    device: str = "auto"
    """Where models go."""
    dtype: str = "auto"
    """What data sets are scored in."""
    workers: int = 1
    """Processes that make an atlas or score a data set."""

    def save(self, folder: Path) -> None:
        """Write it where the worker looks for it."""
        write_json(folder / ORDER, self.model_dump(mode="json"))

    def enter(self, folder: Path) -> None:
        """Go where the names of sources lead to the roots, so that what is written of them names no other folder."""
        place = folder / ROOTS
        place.mkdir(exist_ok=True)
        for name, root in self.roots.items():
            link = place / name
            link.unlink(missing_ok=True)
            link.symlink_to(root)
        os.chdir(place)

    @classmethod
    def load(cls, folder: Path) -> Work:
        """The work of a job's folder. Raises ArtifactError when it is damaged, ArtifactNotFoundError without one."""
        return _checked(cls, folder / ORDER)


class Step(_Value):
    """How far a worker is."""

    stage: str
    """What is being done, in words."""
    done: int = 0
    total: int = 0
    """0 when it is not known."""
    unit: str = ""
    """What is counted."""
    checkpointed: int = 0
    """Units that a restart would not repeat."""


class Failure(_Value):
    """Why a worker gave up: the code and message of an error of ``curator.errors``."""

    code: str
    message: str


class Event(_Value):
    """One line of a worker's standard output; exactly one field is set."""

    step: Step | None = None
    failure: Failure | None = None


class FileResult(_Value):
    """A file that can be downloaded; ``name`` is its path below the job's artifacts, ``sha256`` is hexadecimal."""

    name: str
    media_type: str
    bytes: int
    sha256: str


class ModelResult(_Value):
    """What is known of a model that has read its first sentence."""

    fingerprint: str
    revision: str
    dtype: str
    max_tokens: int


class Result(_Value):
    """What came out of a job."""

    files: tuple[FileResult, ...] = ()
    model: ModelResult | None = None
    neuron_set: str = ""
    """Folder of the neuron set below the job's folder; empty for none."""

    def save(self, folder: Path) -> None:
        """Write it: from now on the work is done."""
        write_json(folder / RESULT, self.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path) -> Result:
        """The result of a job's folder. Raises ArtifactError when it is damaged, ArtifactNotFoundError without one."""
        return _checked(cls, folder / RESULT)


@dataclass(frozen=True, slots=True)
class OfferedSet:
    """A scorer that a server may offer, with what jobs need to know of its neuron set."""

    scorer: DocumentScorer
    target: str
    """Domain that it scores for."""
    folder: Path | None = None
    """Where its neuron set is; None for a scorer that is only in memory, which jobs cannot use."""
    neurons: int = 0
    """Neurons of the set; 0 when not known."""
    model: str = ""
    """The model as the set names it: hub name, folder or ``zoo:NAME``."""
    revision: str = ""
    """Its revision."""


def _checked(kind: type[_V], path: Path) -> _V:
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        raise ArtifactError(f"{path} was written by another version; delete the job and create it again.") from error
