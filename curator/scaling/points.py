"""What a scaling study measured: a ``StudyPoint`` for each group of size-matched models, in one ``Study``.

A point carries counts, never fits: a fit is recomputed from the points whenever it is shown. Each count is a number
of the anchor's neurons. What was not measured is ``None``, never zero. A study is one JSON file whose name for its
own content is a fingerprint over everything but the date, so that two runs with equal numbers are one study. Cost:
nothing to speak of. It does not know how the counts were made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from curator.errors import ArtifactError, ConfigError
from curator.files import read_json, write_json
from curator.fingerprint import of_json

SCHEMA = "curator.study/1"

Count = Annotated[int, Field(ge=0)]
Rule = Literal["paper", "strict", "universal"]


class NullCounts(BaseModel):
    """How many matches one decoy yields, by the rule that counted them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paper: Count | None = Field(default=None, description="Mutual nearest neighbours of the decoy, no threshold.")
    strict: Count | None = Field(default=None, description="Decoy matches that pass the strict rule.")


class StudyPoint(BaseModel):
    """One size of the study: an anchor model, its peers, and how many of the anchor's neurons all of them share."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    label: str = Field(min_length=1, description="Name of the size, for example ``128x4`` (hidden size x layers).")
    anchor: str = Field(min_length=1, description="Name of the model whose neurons are counted.")
    peers: tuple[str, ...] = Field(min_length=1, description="Names of the models matched with the anchor.")
    neurons_anchor: int = Field(gt=0, description="MLP neurons of the anchor.")
    neurons_mean: float = Field(
        gt=0, description="Arithmetic mean of the neuron counts of anchor and peers (the paper's x)."
    )
    paper: Count = Field(description="Anchor neurons matched in every peer: mutual nearest neighbours, no threshold.")
    strict: Count | None = Field(default=None, description="Of these, q <= 0.01 and replicated in both corpus halves.")
    universal: Count | None = Field(default=None, description="Anchor neurons with excess correlation above 0.5.")
    mean_correlation: float | None = Field(
        default=None, ge=-1, le=1, description="Mean correlation of the paper matches."
    )
    decoy_derangement: NullCounts = Field(default=NullCounts(), description="Counts after deranging the documents.")
    decoy_rotation: NullCounts = Field(default=NullCounts(), description="Counts after rotating each layer.")
    untrained: Count | None = Field(default=None, description="Paper matches between untrained models of this size.")
    half_jaccard: float | None = Field(
        default=None, ge=0, le=1, description="Jaccard overlap of the two half-corpora's sets."
    )
    spans: int | None = Field(default=None, gt=0, description="Probe spans on which the models were compared.")
    tokens: int | None = Field(default=None, gt=0, description="Probe tokens, counted by the anchor's tokenizer.")

    @model_validator(mode="after")
    def _counts_fit(self) -> Self:
        largest = max(self.paper, self.strict or 0, self.universal or 0)
        if largest > self.neurons_anchor:
            raise ValueError(f"{largest} matches were counted among {self.neurons_anchor} neurons of {self.anchor}")
        if self.strict is not None and self.strict > self.paper:
            raise ValueError(
                f"the strict set ({self.strict}) is a part of the paper set ({self.paper}), so it cannot be larger"
            )
        return self

    def count(self, rule: Rule) -> int | None:
        """Rosetta neurons by this rule, or None where the rule was not measured."""
        return {"paper": self.paper, "strict": self.strict, "universal": self.universal}[rule]

    @property
    def fraction(self) -> float:
        """Share of the anchor's neurons in the paper set."""
        return self.paper / self.neurons_anchor


class Study(BaseModel):
    """The points of one study with everything needed to know whether two studies may be compared."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    points: tuple[StudyPoint, ...] = Field(description="One for each size, in order of mean neuron count.")
    probe_fingerprint: str = Field(description="Fingerprint of the probe corpus; one study has one probe.")
    model_fingerprints: dict[str, str] = Field(default_factory=dict, description="Model name to fingerprint.")
    seeds: dict[str, int] = Field(default_factory=dict, description="What was seeded, and with what.")
    settings: dict[str, str | int | float | bool | None] = Field(
        default_factory=dict, description="Settings of the matching."
    )
    created: str = Field(default="", description="ISO 8601 date and time; not part of the fingerprint.")

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        labels = [point.label for point in self.points]
        if len(set(labels)) != len(labels):
            raise ValueError("two points of a study have the same label; give each size its own")
        if list(self.points) != (ordered := sorted(self.points, key=lambda point: (point.neurons_mean, point.label))):
            object.__setattr__(self, "points", tuple(ordered))
        return self

    @property
    def fingerprint(self) -> str:
        """Content name of the study: everything but ``created``."""
        return of_json({"schema": SCHEMA, "study": self.model_dump(mode="json", exclude={"created"})})

    def with_point(self, point: StudyPoint, *, created: str | None = None) -> Study:
        """A study with ``point`` added, or in the place of the point with its label; the others stay as they are."""
        others = tuple(other for other in self.points if other.label != point.label)
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return Study(**{**fields, "points": (*others, point), "created": self.created if created is None else created})

    def save(self, path: Path) -> str:
        """Write the study atomically as JSON; returns its fingerprint."""
        write_json(path, {"schema": SCHEMA, "fingerprint": self.fingerprint, "study": self.model_dump(mode="json")})
        return self.fingerprint

    @classmethod
    def load(cls, path: Path) -> Study:
        """Read a study back.

        Raises:
            ArtifactNotFoundError: There is no such file.
            ArtifactError: The file is not a study, or its content does not give its fingerprint.
        """
        found = read_json(path)
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            raise ArtifactError(f"{path} is not a {SCHEMA} file; build the study again with this version.")
        try:
            study = cls.model_validate(found.get("study"))
        except ValidationError as error:
            raise ArtifactError(f"{path} is not a valid study; build it again.") from error
        if study.fingerprint != found.get("fingerprint"):
            raise ArtifactError(f"{path} does not give the fingerprint that it states; build the study again.")
        return study


def mean_neurons(counts: list[int]) -> float:
    """Arithmetic mean of the matched models' neuron counts, the x of the paper's scaling law (section 4.2)."""
    if not counts:
        raise ConfigError("A mean neuron count needs at least one model.")
    return sum(counts) / len(counts)
