"""What a full study measures of one size beyond its counts: frozen values, one for each figure of the report.

Every count can carry ``draws``: the same count in each replicate of the fold bootstrap. Replicate b resamples the same folds of
the corpus at every size, so that an exponent's interval, taken over replicates, knows that the sizes share a text. Nothing
here is a fit. Cost: about 25 KB of JSON a size with 200 replicates. It does not know how anything was measured: see ``study``.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Interval = tuple[float, float]
Rule = Literal["paper", "strict", "universal"]
PART_RULES: tuple[Rule, ...] = ("paper", "strict")
"""The rules by which the parts of a full study are measured."""
Kind = Literal["rosetta", "others"]
Measure = Literal[
    "excess_kurtosis", "gini", "treves_rolls", "hoyer", "active_fraction", "context_coherence", "vocabulary_kurtosis"
]  # SCIENCE section 5


class Part(BaseModel):
    """Base of everything that a study holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NullCounts(Part):
    """How many matches one decoy yields, by the rule that counted them."""

    paper: Count | None = Field(default=None, description="Mutual nearest neighbours of the decoy, no threshold.")
    strict: Count | None = Field(default=None, description="Decoy matches that pass the strict rule.")


class Drawn(Part):
    """A count, and what it is in each replicate of the fold bootstrap."""

    count: Count
    draws: tuple[Count, ...] = ()


class PairCounts(Part):
    """Matches of two models of one size, of whatever architectures."""

    first: str
    second: str
    neurons_mean: float = Field(gt=0, description="Mean of the two models' neuron counts.")
    gated: bool = Field(description="Whether either model has gated MLPs.")
    paper: Drawn = Field(description="Neurons of the first model with a mutual nearest neighbour in the second.")
    strict: Drawn = Field(description="Of these, q <= 0.01 and mutual in both halves of the corpus.")
    mean_correlation: float | None = Field(default=None, ge=-1, le=1, description="Mean |rho| of the paper matches.")
    deranged: NullCounts = NullCounts()
    rotated: NullCounts = NullCounts()


class StarCounts(Part):
    """The intersection of all models of the group, counted in the neurons of one of them."""

    anchor: str
    paper: Count
    strict: Count
    clique: Count = Field(description="Of the paper set, those whose partners are matched with each other too.")


class ThresholdCurve(Part):
    """Anchor neurons whose matches in every peer reach a correlation."""

    rho: tuple[float, ...]
    counts: tuple[Drawn, ...]

    @model_validator(mode="after")
    def _as_long(self) -> Self:
        _require_same_length(self.rho, self.counts)
        return self

    @property
    def entries(self) -> tuple[tuple[float, Drawn], ...]:
        """Each threshold with its count."""
        return tuple(zip(self.rho, self.counts, strict=True))


class NeighbourCurve(Part):
    """Anchor neurons with a mutual k-nearest neighbour in every peer."""

    k: tuple[int, ...]
    counts: tuple[Drawn, ...]

    @model_validator(mode="after")
    def _as_long(self) -> Self:
        _require_same_length(self.k, self.counts)
        return self

    @property
    def entries(self) -> tuple[tuple[int, Drawn], ...]:
        """Each k with its count."""
        return tuple(zip(self.k, self.counts, strict=True))


class BudgetPoint(Part):
    """The paper count on parts of the corpus: one count for each of the disjoint parts of this size."""

    share: Share = Field(description="Share of the corpus in each part.")
    tokens: int = Field(gt=0, description="Tokens of a part, by the anchor's tokenizer.")
    deciding_spans: int = Field(gt=0, description="Held-back spans of a part: those that decide what is mutual.")
    counts: tuple[Count, ...] = Field(min_length=1)
    deranged: tuple[Count, ...] = Field(default=(), description="The same, with deranged documents.")
    jaccard: Share = Field(description="Mean overlap of the parts' sets with that of the whole corpus.")


class Correlations(Part):
    """How strongly the Rosetta neurons of one rule are matched; isolation s = rho / (1 - rho), the inverse of section 4.3."""

    rule: Rule
    neurons: Count
    mean: float
    median: float
    low: float = Field(description="The tenth percentile.")
    isolation_mean: float = Field(description="Mean of s over the neurons; a few strong ones rule it.")
    isolation_median: float


class Centre(Part):
    """Where a group of neurons lies: the mean is driven by outliers, the others are not."""

    median: float
    trimmed: float = Field(description="Mean without the lowest and the highest tenth.")
    mean: float


class Contrast(Part):
    """One measure of selectivity in Rosetta neurons against others of the same layers and active fractions."""

    measure: Measure
    rosetta: Centre
    others: Centre
    rosetta_interval: Interval = Field(description="95 % cluster-bootstrap interval of the Rosetta median.")
    others_interval: Interval
    difference: float = Field(description="Difference of the medians.")
    interval: Interval = Field(description="95 % cluster-bootstrap interval of the difference.")
    cliffs_delta: float = Field(ge=-1, le=1, description="P(Rosetta > other) - P(Rosetta < other) over all pairs.")
    delta_interval: Interval


class Selectivity(Part):
    """The panel of one size.

    Of three layers or more the bootstrap draws layers, and in each pairs of a Rosetta neuron and its matched other; of fewer,
    and in studies that do not say how many, pairs alone.
    """

    rule: Rule = Field(description="Which set the Rosetta neurons are; the others are matched by no rule.")
    neurons: Count
    others: Count = Field(description="Distinct matched neurons.")
    unmatched: Count = Field(description="Rosetta neurons left out, for their layer had no other neuron to spare.")
    layers: Count | None = Field(default=None, description="Layers that the Rosetta neurons lie in.")
    spans: int = Field(description="Held-back spans over which Gini, Treves-Rolls and Hoyer were taken.")
    contrasts: tuple[Contrast, ...]


class DomainFiring(Part):
    """How a group of neurons tells one domain: means over the group, and its best neuron on documents that did not choose it."""

    domain: str
    kind: Kind
    normalized_fire: float = Field(ge=0, description="Share of top contexts in the domain over its share of the text.")
    best_auroc: Share | None = Field(
        default=None, description="Of the neuron chosen on the other half of the documents."
    )
    best_ap: Share | None = None
    best_d_prime: float | None = Field(
        default=None, description="Of the same neuron: distance of the means in deviations."
    )
    best_mutual_information: float | None = Field(default=None, ge=0, description="Of the same neuron, in bits.")
    tellers: Count = Field(description="Neurons with AUROC above 0.9 on the reporting half.")
    controlled_auroc: Share | None = Field(default=None, description="best_auroc, token identity controlled for.")
    controlled_ap: Share | None = None
    controlled_tellers: Count | None = None


class KindIndex(Part):
    """Specialisation index of a kind of neurons, corrected for chance: median and 95 % interval, as it is and controlled."""

    kind: Kind
    neurons: Count
    median: float
    interval: Interval
    controlled_median: float | None = None
    controlled_interval: Interval | None = None


class Specialisation(Part):
    """Domains of one size's neurons, with and without token identity.

    Controlled: every span's value less the mean of its text's spans over the corpus; spans whose text stands in one document
    only say nothing then and are left out.
    """

    rule: Rule
    documents: Count
    prevalence: dict[str, float] = Field(description="Share of each domain in the reporting documents: AP of chance.")
    domains: tuple[DomainFiring, ...]
    index: tuple[KindIndex, ...]
    by_document: tuple[str, ...] = Field(
        default=(), description="Domains with too few sources to split: their documents were split one by one."
    )
    controlled_spans: Share | None = Field(default=None, description="Share of spans that the control keeps.")


class ClassCount(Part):
    """How many neurons of a class, chosen by one peer, a second peer that did not choose matches too.

    ``rosetta``: matched by the first peer. ``high kurtosis``: as many that it does not match, of the highest excess kurtosis.
    ``same activity``: as many that it does not match, of the same layers and active fractions. Mean over both orders of peers.
    """

    name: Literal["rosetta", "high kurtosis", "same activity"]
    rule: Rule
    members: float = Field(ge=0, description="Neurons of the class, mean over the orders.")
    carried: float = Field(ge=0, description="Of these, matched by the second peer, mean over the orders.")
    draws: tuple[float, ...] = ()


def _require_same_length(places: tuple[float, ...], counts: tuple[Drawn, ...]) -> None:
    if len(places) != len(counts):
        raise ValueError(f"{len(places)} places need as many counts, not {len(counts)}")
