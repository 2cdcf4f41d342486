"""What a filtering job is: its plan, which is its identity, and the folder it works in.

A plan has two parts. Scores depend on the first (scorer, sources, how they are read, the pieces with the fingerprints of their
content, the annotators); what is kept and how it is laid out depends on the second too (policy and output options). Equal plans
give equal bytes, whatever process, machine or interruption lies between; a plan therefore holds no clock, no number of workers
and no folder of output. ``plan.json`` is the first file of a job and stays in its output, where a later selection from the
kept scores finds the sources again. Cost: about 250 bytes a piece. It does not know how a step is made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curator import fingerprint
from curator.errors import ArtifactError, ConfigError
from curator.files import read_json, write_json
from curator.filtering.annotate import Annotator
from curator.filtering.cascade_plan import CascadePlan
from curator.filtering.output import OutputOptions
from curator.filtering.policy import Policy
from curator.records import TargetScorer
from curator.text.pieces import Piece
from curator.text.rows import SourceOptions

PLAN = "plan.json"


class ScorerIdentity(BaseModel):
    """What makes scores what they are; known before a model is loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    neuron_set: str = Field(description="Name of the neuron set.")
    etag: str = Field(description="Content hash of neuron set, targets and methods.")
    model_fingerprint: str = Field(description="Fingerprint of the model.")
    targets: tuple[str, ...] = Field(min_length=1, description="Target domains, in the order of the scores.")

    @classmethod
    def of(cls, scorer: TargetScorer) -> ScorerIdentity:
        """The identity of a loaded scorer."""
        return cls(
            neuron_set=scorer.name,
            etag=scorer.etag,
            model_fingerprint=scorer.model_fingerprint,
            targets=tuple(scorer.targets),
        )


class ScoringPlan(BaseModel):
    """Everything that the score files of a job depend on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scorer: ScorerIdentity
    sources: tuple[str, ...] = Field(description="Source URIs as they were given.")
    source_options: SourceOptions
    annotators: dict[str, str] = Field(
        default_factory=dict, description="Fingerprint of each annotator, and of the windows."
    )
    cascade: CascadePlan | None = Field(default=None, description="The prefilter before the model, where there is one.")
    pieces: tuple[Piece, ...] = Field(description="The cut input, with fingerprints of its content.")

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything above."""
        return fingerprint.of_json(self.model_dump(mode="json"))

    @property
    def input_fingerprint(self) -> str:
        """Hash of the content of the whole input and of how it was cut."""
        return fingerprint.of_json([piece.model_dump(mode="json") for piece in self.pieces])


class Plan(BaseModel):
    """Everything that the output of a job depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["curator-filter-plan"] = "curator-filter-plan"
    format_version: Literal[1] = 1
    scoring: ScoringPlan
    policy: Policy
    options: OutputOptions = OutputOptions()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything above."""
        return fingerprint.of_json(self.model_dump(mode="json"))

    @property
    def context(self) -> dict[str, str]:
        """The plan in short, for the manifest and the card."""
        scoring = self.scoring
        return {
            "neuron_set": scoring.scorer.neuron_set,
            "scorer_etag": scoring.scorer.etag,
            "model_fingerprint": scoring.scorer.model_fingerprint,
            "targets": json.dumps(scoring.scorer.targets, ensure_ascii=False),
            "sources": json.dumps(scoring.sources, ensure_ascii=False),
            "source_options": scoring.source_options.model_dump_json(),
            "input_fingerprint": scoring.input_fingerprint,
            "annotators": json.dumps(scoring.annotators, ensure_ascii=False, sort_keys=True),
            "plan_fingerprint": self.fingerprint,
        }

    def save(self, folder: Path) -> None:
        """Write ``plan.json``."""
        write_json(folder / PLAN, self.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class Job:
    """A plan at work in a folder; picklable, so that any process can make any of its steps."""

    plan: Plan
    work: Path
    annotators: tuple[Annotator, ...] = ()
    window_characters: int = 0
    """Longer documents are cut into windows of about this length, which are scored each for itself; 0 scores them whole."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The target domains, in the order of the scores."""
        return self.plan.scoring.scorer.targets


def load_plan(folder: Path) -> Plan:
    """The plan of a work folder or an output. Raises ArtifactNotFoundError without one, ArtifactError for a damaged one."""
    value = read_json(folder / PLAN)
    try:
        return Plan.model_validate(value)
    except (ValidationError, ConfigError) as error:
        raise ArtifactError(f"{folder / PLAN} is not a plan of this version; filter into a new folder.") from error
