"""What ``manifest.json`` of a neuron set states: neurons, evidence, scorers with their quality, and what the set belongs to.

Plain frozen values that are written as JSON and checked when read. They hold no arrays and load nothing.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from curator.records import NeuronId
from curator.settings import MatchSettings, NeuronSetSettings, TransferSettings

FORMAT = "curator-neuron-set-2"
MethodName = Literal["single", "linear", "signature", "blended"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PeerEvidence(_Frozen):
    """A chosen neuron's partner in one peer."""

    peer: str
    neuron: str
    rho: float
    standard_error: float
    q: float


class TargetEvidence(_Frozen):
    """How well one neuron tells one target domain; ``*_report`` is measured on documents that decided nothing.

    ``direction`` is -1 where a low reading means on target (a gated neuron is read with the sign of its first target); the
    numbers are those of the neuron turned that way. Mutual information is in bits. NormalizedFire and specialisation are of
    ``contexts`` top contexts, in documents that chose no neuron, and None where those are too few; in sets that do not say how
    many, they were of all documents, and the specialisation not corrected for chance. ``auroc_controlled`` is
    ``auroc_report`` with token identity controlled for. None is what was not measured.
    """

    direction: int
    auroc_fit: float
    auroc_report: float
    average_precision_report: float
    d_prime_report: float
    mutual_information_report: float | None = None
    auroc_controlled: float | None = None
    normalized_fire: float | None
    specialisation: float | None
    contexts: int | None = None


class CarriedFrom(_Frozen):
    """Where a neuron of a transferred set comes from: its source in the model that the set was made for.

    ``rho`` is the verified correlation of the two, with its jackknife ``standard_error``; ``q`` the false discovery rate among
    all of the source model's neurons; ``mutual`` whether each is the other's best match over all layers.
    """

    source: str
    rho: float
    standard_error: float
    q: float
    mutual: bool


class NeuronEvidence(_Frozen):
    """One neuron of the set."""

    id: str
    sign: int
    strict: bool
    universal: bool
    matches: tuple[PeerEvidence, ...]
    targets: dict[str, TargetEvidence]
    carried_from: CarriedFrom | None = None
    """Set in a transferred set only; ``matches`` then names the source as well, as its one peer."""


class MethodQuality(_Frozen):
    """How well one scorer does for one target.

    ``validation_average_precision`` is what the default scorer was picked by; in a transferred set it is its source's, for no
    label of the new model was read to pick. What is None could not be measured: the probe corpus of a transfer need not
    hold the target domain.
    """

    validation_average_precision: float
    report_average_precision: float | None
    report_auroc: float | None
    calibration: str
    reliability: tuple[dict[str, float], ...]
    operating_points: tuple[dict[str, float], ...]
    report_documents: int
    report_positives: int


class TargetFilter(_Frozen):
    """The scorers of one target domain; ``default`` is chosen on the validation documents (``best_method``)."""

    default: MethodName
    single_neuron: int
    single_direction: int
    methods: dict[MethodName, MethodQuality]


class DepthVariant(_Frozen):
    """The set's scorers refitted on its neurons in the first ``depth`` layers alone; see ``NeuronSet.shallower``.

    ``neurons`` is how many there are; ``targets`` as for the whole set, ``single_neuron`` counted among these, without
    reliability and operating points.
    """

    depth: int
    neurons: int
    targets: dict[str, TargetFilter]


class TransferredFrom(_Frozen):
    """The set that a transferred set was carried from, and what became of its neurons.

    ``dropped`` are the source's neurons whose best match was below the floors of ``settings``, or taken by a better one;
    ``refined`` the targets whose scorers follow the source's scores and are not only carried.
    """

    name: str
    etag: str
    model: str
    model_fingerprint: str
    neurons: int
    dropped: tuple[str, ...]
    refined: tuple[str, ...]
    settings: TransferSettings


class NeuronSetManifest(_Frozen):
    """Everything about a set but its arrays."""

    format: str = FORMAT
    name: str
    model: str
    revision: str
    model_fingerprint: str
    tokenizer_fingerprint: str
    probe_fingerprint: str
    atlas_fingerprint: str
    peers: dict[str, str]
    """Peer models and their fingerprints."""
    rosetta_rule: str
    rosetta_counts: dict[str, int]
    null_counts: dict[str, int]
    mean_correlation: float
    certificate: float
    targets: dict[str, TargetFilter]
    neurons: tuple[NeuronEvidence, ...]
    layers: int
    """Layers of the model; the set reads those up to its deepest neuron."""
    depths: tuple[DepthVariant, ...] = ()
    """Scorers for fewer layers, ascending; none in a transferred set."""
    skip_tokens: int
    split_by_document: tuple[str, ...] = ()
    """Domains whose documents, and not sources, were split into parts (``text/splits``): of one source some may have chosen or
    fitted and others be reported on."""
    settings: NeuronSetSettings
    match_settings: MatchSettings
    version: str
    transferred_from: TransferredFrom | None = None

    @property
    def depth(self) -> int:
        """Layers that scoring reads."""
        return 1 + max(NeuronId.parse(neuron.id).layer for neuron in self.neurons)
