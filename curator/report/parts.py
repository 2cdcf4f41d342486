"""The evidence in a report: neurons with their partners and contexts, sample documents with the reasons for their scores.

Frozen values that are checked when they are made or read back. Token values of contexts are standard deviations of each
neuron over the probe corpus (z), so that all neurons and models share one scale. Text fields may hold anything, markup
included; whoever prints them escapes them. They compute nothing.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from curator.neuronset.evidence import Kind
from curator.neuronset.manifest import MethodName
from curator.neuronset.reasons import Verdict
from curator.scaling.points import Count


def _encodable(text: object) -> object:
    """Half of a surrogate pair has no UTF-8 form; a tokenizer's piece may hold one."""
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text) if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(_encodable)]
Share = Annotated[float, Field(ge=0, le=1.000001)]
Correlation = Annotated[float, Field(ge=-1.000001, le=1.000001)]


class Part(BaseModel):
    """A frozen part of a report."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PeerMatch(Part):
    """One neuron's partner in one peer model."""

    peer: str
    neuron: str
    rho: Correlation
    standard_error: float | None = Field(default=None, ge=0, description="Delete-one-fold jackknife.")
    interval: tuple[Correlation, Correlation] | None = Field(default=None, description="95 %, Student's t over folds.")
    q: Share | None = None


class DomainHistogram(Part):
    """Counts of documents by mean activation (z), for each domain: ``edges`` has one number more than each row of counts."""

    edges: tuple[float, ...] = Field(min_length=2)
    counts: dict[str, tuple[Count, ...]] = Field(min_length=1)

    @model_validator(mode="after")
    def _shapes_agree(self) -> Self:
        if any(left >= right for left, right in pairwise(self.edges)):
            raise ValueError("histogram edges must increase")
        if any(len(row) != len(self.edges) - 1 for row in self.counts.values()):
            raise ValueError(f"{len(self.edges)} edges need {len(self.edges) - 1} counts in every domain")
        return self


class Reading(Part):
    """A context as one model's neuron reads it: characters of each token in order, and its z; None for a token not scored."""

    model: str
    neuron: str
    lengths: tuple[Annotated[int, Field(gt=0)], ...]
    z: tuple[float | None, ...]

    @model_validator(mode="after")
    def _shapes_agree(self) -> Self:
        if len(self.lengths) != len(self.z):
            raise ValueError(f"{len(self.lengths)} tokens need as many values, not {len(self.z)}")
        return self


class Context(Part):
    """A stretch of text around a span of a neuron's, as the anchor and every peer read it.

    ``kind`` says how high the span is, ``z`` its value; ``span`` are the characters of ``text`` that it covers.
    """

    kind: Kind
    document: Text = ""
    domain: str = ""
    text: Text
    span: tuple[Count, Count]
    z: float
    readings: tuple[Reading, ...] = ()

    @model_validator(mode="after")
    def _tokens_cover_the_text(self) -> Self:
        if any(sum(reading.lengths) != len(self.text) for reading in self.readings):
            raise ValueError("the tokens of a reading must cover the text of its context")
        return self


class DomainMeasures(Part):
    """How one neuron, read with its sign, tells one domain of the probe corpus, on documents that decided nothing."""

    auroc: Share
    average_precision: Share
    d_prime: float
    mutual_information: float = Field(ge=0, description="In bits, of the document mean and the label.")
    normalized_fire: float | None = Field(
        default=None, ge=0, description="Of documents that chose no neuron; None where none of its top contexts is."
    )


class NeuronEntry(Part):
    """One neuron of the set and the evidence for it; ``*_report`` is measured on documents that chose nothing."""

    id: str = Field(pattern=r"^L\d+/U\d+$")
    domain: str = Field(description="The target that the neuron is in the set for; the best of them, if several.")
    sign: Literal[-1, 1] = Field(default=1, description="Direction in which it is read: high then means the domain.")
    strict: bool | None = Field(default=None, description="Whether it passes the strict rule.")
    universal: bool | None = Field(default=None, description="Whether its excess correlation is above 0.5.")
    auroc_choose: Share | None = Field(default=None, description="On the documents that chose the neuron.")
    auroc_report: Share | None = None
    ap_report: Share | None = Field(default=None, description="Average precision.")
    d_prime_report: float | None = None
    mutual_information_report: float | None = Field(default=None, ge=0, description="In bits.")
    auroc_controlled: Share | None = Field(default=None, description="auroc_report, token identity controlled for.")
    normalized_fire: float | None = Field(
        default=None, ge=0, description="Share of its top contexts in the domain over the domain's share of text."
    )
    specialisation: float | None = Field(default=None, description="1 for a neuron of one domain alone, 0 for none.")
    counted_contexts: Count | None = Field(
        default=None, description="Top contexts in documents that chose no neuron: the two before are of these."
    )
    domains: dict[str, DomainMeasures] = Field(default_factory=dict, description="Every domain of the probe corpus.")
    matches: tuple[PeerMatch, ...] = ()
    histogram: DomainHistogram | None = None
    contexts: tuple[Context, ...] = ()


class NeuronEffect(Part):
    """How much one neuron raised or lowered a document's score; ``wording`` stands for the blended scorer's other half."""

    neuron: str
    effect: float


class SampleDocument(Part):
    """A held-out document, what the filter says of it, and why.

    ``effects`` are by token of ``text``, the stretch that moved the score most; for the linear scorer ``score`` is
    ``intercept``, plus all ``effects``, plus those ``elsewhere``; for the blended one the effect of its wording comes on top.
    """

    document: Text
    domain: str
    verdict: Verdict
    scorer: MethodName
    probability: Share
    score: float
    intercept: float
    tokens: Count
    raised: tuple[NeuronEffect, ...] = ()
    lowered: tuple[NeuronEffect, ...] = ()
    text: Text
    lengths: tuple[Annotated[int, Field(gt=0)], ...]
    effects: tuple[float | None, ...]
    elsewhere: float = 0.0

    @model_validator(mode="after")
    def _tokens_cover_the_text(self) -> Self:
        if sum(self.lengths) != len(self.text) or len(self.lengths) != len(self.effects):
            raise ValueError("the tokens of a sample document must cover its text, each with an effect")
        return self
