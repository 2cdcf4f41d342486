"""What a report is made of: frozen values that the command line gathers from the artifacts, with nothing recomputed here.

Every part that a run may not have is ``None`` or empty, and the page then says "not measured": a report is never
refused for being incomplete, and never fills a gap. Text fields may hold anything, markup included; the page escapes
all of it. Activations are in the unit of the atlas that they come from; within one neuron they must share it, for
they share a scale.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from curator.scaling.points import Count, NullCounts, Study


def _encodable(text: object) -> object:
    """Half of a surrogate pair has no UTF-8 form; a tokenizer's piece may hold one."""
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text) if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(_encodable)]
Share = Annotated[float, Field(ge=0, le=1)]
ScorerName = Literal["single", "linear", "signature"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelRef(_Part):
    """A model by name and fingerprint."""

    name: str
    fingerprint: str = ""


class ProbeSummary(_Part):
    """The probe corpus: its fingerprint and how many spans each domain gave."""

    fingerprint: str
    spans: dict[str, Count] = Field(default_factory=dict)


class Certificate(_Part):
    """The numerics certificate: sampled pairs recomputed in float64, and the worst difference from the sketch's values."""

    pairs: Count
    worst_difference: float = Field(ge=0)


class RosettaSummary(_Part):
    """The anchor's matches in numbers."""

    neurons: int = Field(gt=0, description="MLP neurons of the anchor.")
    paper: Count
    strict: Count | None = None
    universal: Count | None = None
    decoy_derangement: NullCounts = NullCounts()
    decoy_rotation: NullCounts = NullCounts()
    mean_correlation: float | None = Field(default=None, ge=-1, le=1)
    half_jaccard: Share | None = None
    certificate: Certificate | None = None


class PeerMatch(_Part):
    """One neuron's partner in one peer model."""

    peer: str
    neuron: str
    rho: float = Field(ge=-1.000001, le=1.000001)
    standard_error: float | None = Field(default=None, ge=0)
    q: Share | None = None


class DomainHistogram(_Part):
    """Counts of spans or documents by activation, for each domain: ``edges`` has one number more than each row of counts."""

    edges: tuple[float, ...] = Field(min_length=2)
    counts: dict[str, tuple[Count, ...]] = Field(min_length=1)

    @model_validator(mode="after")
    def _shapes_agree(self) -> Self:
        if any(left >= right for left, right in pairwise(self.edges)):
            raise ValueError("histogram edges must increase")
        if any(len(row) != len(self.edges) - 1 for row in self.counts.values()):
            raise ValueError(f"{len(self.edges)} edges need {len(self.edges) - 1} counts in every domain")
        return self


class Context(_Part):
    """A stretch of text on which a neuron is strong, with each token's activation."""

    text: Text
    tokens: tuple[tuple[Text, float], ...] = ()
    domain: str = ""
    value: float


class NeuronEntry(_Part):
    """One neuron of the set and the evidence for it."""

    id: str = Field(pattern=r"^L\d+/U\d+$")
    domain: str
    auroc_choose: Share | None = Field(default=None, description="On the half of the documents that chose the neuron.")
    auroc_report: Share | None = Field(default=None, description="On the other half.")
    ap_report: Share | None = Field(default=None, description="Average precision on the other half.")
    sign: Literal[-1, 1] = Field(default=1, description="Direction in which the neuron means the domain.")
    matches: tuple[PeerMatch, ...] = ()
    histogram: DomainHistogram | None = None
    contexts: tuple[Context, ...] = ()


class ScorerEntry(_Part):
    """One scorer's quality; validation average precision chooses among them."""

    name: ScorerName
    validation_ap: Share | None = None
    test_auroc: Share | None = None
    test_ap: Share | None = None
    chosen: bool = False


class CalibrationBin(_Part):
    """Documents of similar predicted probability: the mean prediction, and the share that was on-domain."""

    predicted: Share
    observed: Share
    count: Count


class PrecisionRecallPoint(_Part):
    """One threshold of the precision-recall curve."""

    recall: Share
    precision: Share
    threshold: float | None = None


class FilterResult(_Part):
    """What the filter kept of a pool whose true labels are known."""

    pool: int = Field(gt=0, description="Documents that went in.")
    kept: Count
    oracle: Count | None = Field(default=None, description="Documents of the target domain in the pool.")
    precision: Share | None = None
    recall: Share | None = None
    f1: Share | None = None
    threshold: float | None = None
    tokens: Count | None = None
    tokens_per_second: float | None = Field(default=None, ge=0)


class FileEntry(_Part):
    """A file that the run wrote."""

    path: str
    bytes: Count
    sha256: str = ""
    records: Count | None = None


class ReportInputs(_Part):
    """Everything one report shows."""

    title: str = "Neuron set report"
    created: str = Field(default="", description="Date and time as it should be printed; given by the caller.")
    target_domain: str
    model: ModelRef
    peers: tuple[ModelRef, ...] = ()
    probe: ProbeSummary | None = None
    seeds: dict[str, int] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    study: Study | None = None
    rosetta: RosettaSummary | None = None
    neuron_set: tuple[NeuronEntry, ...] = Field(default=(), description="The neurons that the page shows.")
    set_size: int | None = Field(default=None, gt=0, description="Neurons in the whole set, where not all are shown.")
    scorers: tuple[ScorerEntry, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    filter: FilterResult | None = None
    precision_recall: tuple[PrecisionRecallPoint, ...] = ()
    files: tuple[FileEntry, ...] = ()


class ReportPaths(NamedTuple):
    """Where the two forms of a report are."""

    html: Path
    json: Path
