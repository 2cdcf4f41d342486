"""What a report is made of: frozen values that the command line gathers from the artifacts, with nothing recomputed here.

Every part that a run may not have is ``None`` or empty, and the page then says "not measured": a report is never
refused for being incomplete, and never fills a gap. Text fields may hold anything, markup included; the page escapes
all of it. ``parts`` holds the larger parts. The JSON form of a report is ``page.SCHEMA``; a file of another version is
refused when it is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from curator.neuronset.manifest import MethodName
from curator.report.parts import NeuronEntry, Part, SampleDocument, Share
from curator.scaling.points import Count, NullCounts, Rule, Study


class ModelRef(Part):
    """A model by name and fingerprint."""

    name: str
    fingerprint: str = ""


class ProbeSummary(Part):
    """The probe corpus: its fingerprint and how many spans each domain gave."""

    fingerprint: str
    spans: dict[str, Count] = Field(default_factory=dict)


class Certificate(Part):
    """The numerics certificate: sampled pairs recomputed in float64, and the worst difference from the sketch's values."""

    pairs: Count
    worst_difference: float = Field(ge=0)


class RosettaSummary(Part):
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


class ScorerEntry(Part):
    """One scorer's quality; validation average precision chooses among them."""

    name: MethodName
    validation_ap: Share | None = None
    test_auroc: Share | None = None
    test_ap: Share | None = None
    chosen: bool = False


class CalibrationBin(Part):
    """Documents of similar predicted probability: the mean prediction, and the share that was on-domain."""

    predicted: Share
    observed: Share
    count: Count


class PrecisionRecallPoint(Part):
    """One threshold of the precision-recall curve."""

    recall: Share
    precision: Share
    threshold: float | None = None


class KeptAt(Part):
    """What a threshold on the probability keeps of the held-out documents."""

    threshold: Share
    documents: Count
    on_target: Count
    tokens: Count


class HeldOut(Part):
    """The documents that neither chose nor fitted anything, and what each threshold keeps of them."""

    documents: int = Field(gt=0)
    on_target: Count
    tokens: Count
    kept: tuple[KeptAt, ...] = ()


class DepthEntry(Part):
    """The set read only so many layers deep: its neurons there, and the best scorer's held-out average precision."""

    depth: int = Field(gt=0)
    share_of_layers: Share
    neurons: Count
    scorer: MethodName
    average_precision: Share | None = None


class FilterResult(Part):
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


class FileEntry(Part):
    """A file that the run wrote."""

    path: str
    bytes: Count
    sha256: str = ""
    records: Count | None = None


class ReportInputs(Part):
    """Everything one report shows."""

    subject: Literal["neuron set", "study"] = Field(
        default="neuron set", description="What the report is of; that of a study has the study's sections alone."
    )
    title: str = "Neuron set report"
    created: str = Field(default="", description="Date and time as it should be printed; given by the caller.")
    target_domain: str = ""
    model: ModelRef
    peers: tuple[ModelRef, ...] = ()
    probe: ProbeSummary | None = None
    seeds: dict[str, int] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    study: Study | None = None
    rosetta: RosettaSummary | None = None
    neuron_set: tuple[NeuronEntry, ...] = Field(default=(), description="All neurons of the set, the best first.")
    set_rule: Rule | None = Field(default=None, description="Which Rosetta neurons the set was chosen from.")
    other_targets: tuple[str, ...] = Field(default=(), description="What else the set filters for.")
    split_by_document: tuple[str, ...] = Field(
        default=(),
        description="Domains whose documents, not sources, were split into those that choose and that report.",
    )
    scorers: tuple[ScorerEntry, ...] = ()
    depths: tuple[DepthEntry, ...] = ()
    held_out: HeldOut | None = None
    threshold: Share = Field(default=0.5, description="Probability at which the sample documents are kept or dropped.")
    samples: tuple[SampleDocument, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    filter: FilterResult | None = None
    precision_recall: tuple[PrecisionRecallPoint, ...] = ()
    files: tuple[FileEntry, ...] = ()


class ReportPaths(NamedTuple):
    """Where the forms of a report are; ``figures`` is a folder of SVG and PNG files."""

    html: Path
    json: Path
    markdown: Path
    figures: Path
