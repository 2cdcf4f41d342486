"""What a scaling study measured: a ``StudyPoint`` for each group of size-matched models, in one ``Study``.

A point carries measurements, never fits: a fit is recomputed from the points whenever it is shown (see ``analysis``). Each
count is a number of the anchor's neurons. What was not measured is ``None`` or empty, never zero; a quick study has the counts
alone, a full one the ``parts`` too. A study is one JSON file whose name for its
own content is a fingerprint over everything but the date, so that two runs with equal numbers are one study. Cost:
nothing to speak of. It does not know how the counts were made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator

from curator.errors import ArtifactError, ConfigError
from curator.files import atomic_file, read_json
from curator.fingerprint import of_json
from curator.scaling.parts import (
    BudgetPoint,
    ClassCount,
    Correlations,
    Count,
    NeighbourCurve,
    NullCounts,
    PairCounts,
    Part,
    Rule,
    Selectivity,
    Specialisation,
    StarCounts,
    ThresholdCurve,
)

__all__ = ["SCHEMA", "Count", "NullCounts", "Rule", "Study", "StudyPoint", "mean_neurons"]

SCHEMA = "curator.study/2"


class StudyPoint(Part):
    """One size of the study: an anchor model, its peers, and how many of the anchor's neurons all of them share."""

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
    untrained_strict: Count | None = Field(default=None, description="Of these, those that pass the strict rule.")
    half_jaccard: float | None = Field(
        default=None, ge=0, le=1, description="Jaccard overlap of the two half-corpora's sets."
    )
    spans: int | None = Field(default=None, gt=0, description="Probe spans on which the models were compared.")
    tokens: int | None = Field(default=None, gt=0, description="Probe tokens, counted by the anchor's tokenizer.")
    certificate: float | None = Field(
        default=None, ge=0, description="Worst difference of a sampled pair's correlation to float64."
    )
    beside: tuple[str, ...] = Field(default=(), description="Models of this size in the pairs, but in no intersection.")
    paper_draws: tuple[Count, ...] = Field(default=(), description="``paper`` in each replicate of the fold bootstrap.")
    strict_draws: tuple[Count, ...] = ()
    pairs: tuple[PairCounts, ...] = Field(default=(), description="All pairs of the models of this size.")
    stars: tuple[StarCounts, ...] = Field(default=(), description="The intersection of the group from every anchor.")
    thresholds: ThresholdCurve | None = None
    neighbours: NeighbourCurve | None = None
    budgets: tuple[BudgetPoint, ...] = Field(default=(), description="Counts on parts of the corpus, smallest first.")
    correlations: tuple[Correlations, ...] = ()
    selectivity: tuple[Selectivity, ...] = Field(default=(), description="A panel for each rule that has neurons.")
    specialisation: tuple[Specialisation, ...] = ()
    classes: tuple[ClassCount, ...] = Field(default=(), description="Control classes of neurons.")

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

    @property
    def full(self) -> bool:
        """Whether more than the counts was measured."""
        return self.thresholds is not None

    def draws(self, rule: Rule) -> tuple[int, ...]:
        """The count by this rule in each replicate; empty where none was made."""
        return {"paper": self.paper_draws, "strict": self.strict_draws, "universal": ()}[rule]

    def count(self, rule: Rule) -> int | None:
        """Rosetta neurons by this rule, or None where the rule was not measured."""
        return {"paper": self.paper, "strict": self.strict, "universal": self.universal}[rule]

    @property
    def fraction(self) -> float:
        """Share of the anchor's neurons in the paper set."""
        return self.paper / self.neurons_anchor


class Study(Part):
    """The points of one study with everything needed to know whether two studies may be compared."""

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
        stored = self.model_dump(mode="json", exclude={"created"}, exclude_defaults=True)
        return of_json({"schema": SCHEMA, "study": stored})

    def with_point(self, point: StudyPoint, *, created: str | None = None) -> Study:
        """A study with ``point`` added, or in the place of the point with its label; the others stay as they are."""
        others = tuple(other for other in self.points if other.label != point.label)
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return Study(**{**fields, "points": (*others, point), "created": self.created if created is None else created})

    def save(self, path: Path) -> str:
        """Write the study atomically as JSON, a line for each point, without what was not measured; returns its fingerprint."""
        head = {"schema": SCHEMA, "fingerprint": self.fingerprint}
        study = self.model_dump(mode="json", exclude_defaults=True)
        points = ",\n".join(_compact(point) for point in study.pop("points"))
        text = f'{_compact(head)[:-1]},\n"study":{_compact(study)[:-1]},\n"points":[\n{points}\n]}}}}\n'
        with atomic_file(path) as handle:
            handle.write(text.encode())
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
            raise ArtifactError(f"{path} is not a {SCHEMA} file; measure the study again with this version.")
        try:
            study = cls.model_validate(found.get("study"))
        except ValidationError as error:
            raise ArtifactError(f"{path} is not a valid study; build it again.") from error
        if study.fingerprint != found.get("fingerprint"):
            raise ArtifactError(f"{path} does not give the fingerprint that it states; build the study again.")
        return study


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def mean_neurons(counts: list[int]) -> float:
    """Arithmetic mean of the matched models' neuron counts, the x of the paper's scaling law (section 4.2)."""
    if not counts:
        raise ConfigError("A mean neuron count needs at least one model.")
    return sum(counts) / len(counts)
