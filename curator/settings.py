"""Every dial of identification and scoring, as frozen values with documented fields and defaults that the report states.

A settings value is part of an artifact's identity: it is stored in manifests and compared on load. Only what changes a result
is here; devices, folders and progress bars are arguments. It does not read files: the command line fills it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

CalibrationKind = Literal["auto", "isotonic", "platt"]


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AtlasSettings(Settings):
    """How one pass over the probe corpus is condensed. Atlases can be matched only when these agree."""

    sketch_dimensions: int = Field(default=2048, ge=64)
    """Numbers per signature, d. A correlation read from two signatures has standard error about 1/sqrt(d)."""
    folds: int = Field(default=8, ge=2)
    """Blocks of documents for the jackknife; every fold owns d/folds sketch dimensions."""
    held_back_spans: int = Field(default=8192, ge=256)
    """About how many spans are kept back, uncompressed, for exact verification. They enter no signature."""
    skip_spans: int = Field(default=4, ge=0)
    """Leading spans of a document that are ignored in every model."""
    skip_tokens: int = Field(default=4, ge=0)
    """Leading positions of a window that are ignored: attention sinks."""
    top_contexts: int = Field(default=20, ge=1)
    """Spans with the highest value kept for each neuron."""
    min_active_spans: int = Field(default=50, ge=1)
    """A neuron whose value is other than zero on fewer spans is dead."""
    min_standard_deviation: float = Field(default=1e-6, gt=0)
    """A neuron whose standard deviation is lower is dead."""
    seed: int = 0
    """Seed of the sketch's hash, of the choice of held-back spans and of the decoy derangement."""

    @model_validator(mode="after")
    def _folds_divide_the_sketch(self) -> AtlasSettings:
        if self.sketch_dimensions % self.folds:
            raise ValueError("sketch_dimensions must be a multiple of folds")
        return self


class MatchSettings(Settings):
    """How two atlases are matched [S, section 4.1]."""

    candidates: int = Field(default=32, ge=1)
    """Nearest signatures that are verified exactly for each neuron, in both directions, m. On all 21 pairs of bundled models 16
    and a second pass find what exact mode finds above rho 0.15, but for one neuron that its atlas calls dead; 32 leave room."""
    neighbours: int = Field(default=1, ge=1)
    """k of the mutual k-nearest-neighbour rule."""
    sign: Literal["auto", "signed", "absolute"] = "auto"
    """Rank by rho or by |rho|; ``auto`` takes |rho| when either model has gated MLPs, whose sign is arbitrary."""
    max_q: float = Field(default=0.01, gt=0, lt=1)
    """False discovery rate that the strict set allows."""
    min_excess: float = 0.5
    """Excess correlation over the rotated null that the universal set asks for [U]."""
    rotations: int | None = Field(default=None, ge=2)
    """Rotated decoys of each peer, R; None takes as many as make 8,192 neurons of the smaller model, from 2 to 8.
    The smallest q of M matches is 1 / (R M): with R decoys the strict set needs 100 / R matches above all of theirs."""
    intersect: Literal["star", "clique"] = "star"
    """A Rosetta neuron has a partner in every peer; in a clique those partners must be matched with each other too."""
    index: Literal["auto", "flat", "ivf", "hnsw"] = "auto"
    """How candidates are searched: ``flat`` is exact, ``ivf`` and ``hnsw`` look at a part of the neurons; ``auto`` is flat
    on a GPU and up to 131,072 neurons on a CPU, ``ivf`` above."""
    seed: int = 0
    """Seed of the rotations, of the index and of the pairs that are certified."""

    def by_magnitude(self, *, gated: bool) -> bool:
        """Whether pairs are ranked by \\|rho\\|; ``gated`` says whether either model has gated MLPs."""
        return gated if self.sign == "auto" else self.sign == "absolute"


class NeuronSetSettings(Settings):
    """How neurons are chosen for a target domain and turned into a filter (SCIENCE sections 6 and 7)."""

    max_neurons: int = Field(default=256, ge=1)
    """Most neurons in a set. On text that chose nothing, 40 neurons of the bundled models filter worse than 100, and those worse
    than 475; one more costs a row of a matrix."""
    rosetta_rule: Literal["paper", "strict", "universal"] = "strict"
    """Which of the three named sets of Rosetta neurons the choice is made from."""
    min_neurons: int = Field(default=64, ge=1)
    """When the rule leaves fewer neurons than this, the wider ``paper`` rule is used, and the manifest says so."""
    fit_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of sources used for choosing neurons and fitting; half of the rest calibrates, the other half reports. Documents in
    place of sources where a domain has too few of those (``text/splits``)."""
    regularisation: float = Field(default=0.1, gt=0)
    """C of the L2-regularised logistic regression (small is strong)."""
    background_shrinkage: float = Field(default=0.01, gt=0)
    """What is added to the variance of background documents in every direction, as a share of its sum, where that variance
    weighs the penalty of the regression; large values make it a plain ridge."""
    wording_regularisation: float = Field(default=100.0, gt=0)
    """C of the logistic regression on hashed byte n-grams, for the ``blended`` scorer."""
    calibration: CalibrationKind = "auto"
    """How scores become probabilities: ``isotonic``, ``platt`` (a logistic curve), or ``auto``, isotonic from 200 validation
    documents of the target and as many others on."""
    signature_neighbours: int = Field(default=8, ge=1)
    """Neurons that vote in the ``signature`` scorer."""
    signature_top_documents: int = Field(default=24, ge=2)
    """Documents whose mean vector is a neuron's signature in document space."""
    control_token_identity: bool = True
    """Whether the set's neurons are also measured with token identity controlled for; a further pass over the probe corpus."""
    max_depth: int | None = Field(default=None, ge=1)
    """Use only neurons in the first so many layers, for speed."""
    seed: int = 0
    """Seed of the split of sources."""


class TransferSettings(Settings):
    """How a neuron set is carried to another model by correlation alone."""

    partners: int = Field(default=2, ge=1)
    """Most neurons of the new model that stand for one of the set."""
    min_rho: float = Field(default=0.2, ge=0, lt=1)
    """A neuron whose best match correlates less than this (by magnitude where matches are ranked so) is dropped."""
    max_q: float = Field(default=0.01, gt=0, le=1)
    """A neuron whose best match is as likely as this to be a decoy's is dropped."""
    refine: bool = True
    """Move weights, votes and the single neuron so that they follow the source model's scores of the fit documents."""
    shrinkage: float = Field(default=3.0, gt=0)
    """Ridge that holds refined weights to the carried ones; between 0.3 and 30 average precision differs by 0.003."""


class PrefilterSettings(Settings):
    """How a prefilter is fitted and what it must not lose."""

    recall: float = Field(default=0.99, gt=0, lt=1)
    """Share of the documents that the full scorer would keep that must pass."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """With which that holds."""
    fit_documents: int = Field(default=8000, ge=64)
    """Most documents of the sample that the weights are learned from; all others calibrate."""
    fit_share: float = Field(default=0.3, gt=0, lt=1)
    """Share of a small sample that the weights are learned from."""
    fit_bytes: int = Field(default=4096, ge=256)
    """Bytes of each of them that are read."""
    bits: int = Field(default=18, ge=10, le=24)
    """Buckets are 2 to this power; every target has a weight of 4 bytes for each."""
    ridge: float = Field(default=1e-4, gt=0)
    """L2 penalty in units of the mean squared norm of a document."""
    seed: int = 0
    """Seed of the split."""
