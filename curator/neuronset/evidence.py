"""What a reader wants to see of a neuron: contexts from its strongest to its silent ones, as every model reads them.

Of each neuron there are contexts of three kinds, each from another document, so that one repetitive text does not fill the list.
``top``: its highest spans, which the atlas knows. ``middle``: spans half as far above its mean as the highest; ``near zero``:
spans on which the activation is nearest to zero; both are found among the spans that the atlas holds back, a random sample
with exact values, so they are what a reader would meet by chance at that height. The text around each is read by the anchor's
neuron and by its partner in every peer (``readings``), in standard deviations of each neuron: one scale. Histograms are of the
document means that the atlas holds, in the same unit. Cost: windows around the contexts, in every model. It knows no page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curator.atlas.spankeys import SpanKeys
from curator.atlas.store import Atlas
from curator.neuronset.features import NeuronChoice
from curator.neuronset.readings import Lens, Reading, Stretch
from curator.text.probe import ProbeCorpus
from curator.text.segmentation import universal_spans

Kind = Literal["top", "middle", "near zero"]
_AROUND_BYTES = 100
_BINS = 24


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many contexts of each kind."""

    top: int = 4
    middle: int = 2
    near_zero: int = 2


@dataclass(frozen=True, slots=True)
class Place:
    """A context of the neuron at place ``neuron`` of a choice: a span of a document, and the text around it.

    ``span`` and ``around`` are half-open byte ranges; ``z`` is the span's value in standard deviations, sign applied.
    """

    neuron: int
    kind: Kind
    document: int
    span: tuple[int, int]
    around: tuple[int, int]
    z: float

    @property
    def stretch(self) -> Stretch:
        """What a model has to read."""
        return Stretch(self.neuron, self.document, *self.around)


@dataclass(frozen=True, slots=True)
class Snippet:
    """A context with its text; ``span`` are the characters of ``text`` that the value belongs to. ``readings`` by model."""

    kind: Kind
    document_id: str
    domain: str
    text: str
    span: tuple[int, int]
    z: float
    readings: dict[str, Reading]


def snippet(place: Place, corpus: ProbeCorpus, readings: dict[str, Reading]) -> Snippet:
    """The place as text."""
    document = corpus.documents[place.document]
    data = document.text.encode()
    low, high = place.around
    before, inside = (len(data[a:b].decode()) for a, b in ((low, place.span[0]), place.span))
    text = data[low:high].decode()
    return Snippet(place.kind, document.id, document.domain, text, (before, before + inside), place.z, readings)


def find_places(atlas: Atlas, corpus: ProbeCorpus, choice: NeuronChoice, wanted: Wanted | None = None) -> list[Place]:
    """The contexts of every neuron of a choice, neuron by neuron, from the strongest down."""
    wanted = wanted or Wanted()
    lens = Lens.of(atlas, choice.neurons, choice.signs)
    sample = _Sample.of(atlas, corpus)
    found = []
    for place, (neuron, sign) in enumerate(zip(choice.neurons, choice.signs, strict=True)):
        index = atlas.index(neuron)
        zero = float(lens.standardised(0.0, place))
        used: set[int] = set()
        strongest = [
            _Spot(document, span, float(lens.standardised(value, place)))
            for document, span, value in _strongest(atlas, index, sign)
        ]
        high = strongest[0].z if strongest else sample.highest(index, sign)
        kinds: tuple[tuple[Kind, Iterator[_Spot], int], ...] = (
            ("top", iter(strongest), wanted.top),
            ("middle", sample.nearest(index, sign, high / 2), wanted.middle),
            ("near zero", sample.nearest(index, sign, zero), wanted.near_zero),
        )
        for kind, spots, count in kinds:
            found.extend(_place(place, kind, spot, corpus) for spot in _of_new_documents(spots, used, count))
    return found


def histogram_by_domain(atlas: Atlas, index: int, sign: int) -> tuple[tuple[float, ...], dict[str, tuple[int, ...]]]:
    """Bin edges and document counts for each domain, of one neuron's document means as z with its sign applied."""
    lens = Lens.of(atlas, [atlas.neuron(index)], [sign])
    z_D = lens.standardised(atlas["document_mean_DN"][:, index], 0)
    domain_D = np.asarray([entry.domain for entry in atlas.manifest.documents])
    low, high = float(z_D.min()), float(z_D.max())
    edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
    counts = {
        domain: tuple(int(count) for count in np.histogram(z_D[domain_D == domain], edges)[0])
        for domain in atlas.manifest.domains
    }
    return tuple(float(edge) for edge in edges), counts


@dataclass(frozen=True, slots=True)
class _Spot:
    """One span: document, place among the document's spans, z."""

    document: int
    span: int
    z: float


@dataclass(frozen=True, slots=True)
class _Sample:
    """The held-back spans: standardised values (N, V), and each one's document and place in it, (V,)."""

    z_NV: np.ndarray
    document_V: np.ndarray
    span_V: np.ndarray

    @classmethod
    def of(cls, atlas: Atlas, corpus: ProbeCorpus) -> _Sample:
        keys = SpanKeys(corpus, atlas.manifest.settings)
        document_V = np.zeros(keys.held_back, dtype=np.int64)
        span_V = np.zeros(keys.held_back, dtype=np.int64)
        for document in range(len(corpus.documents)):
            slot_S = keys.places(document).slot
            held = np.flatnonzero(slot_S >= 0)
            document_V[slot_S[held]], span_V[slot_S[held]] = document, held
        return cls(atlas["held_NV"], document_V, span_V)

    def known(self, index: int) -> np.ndarray:
        """Columns that the model covers."""
        return np.flatnonzero(np.isfinite(self.z_NV[index]))

    def highest(self, index: int, sign: int) -> float:
        """The neuron's highest z of the sample."""
        return float((sign * self.z_NV[index, self.known(index)].astype(np.float64)).max(initial=0))

    def nearest(self, index: int, sign: int, goal: float) -> Iterator[_Spot]:
        """Spans by how near the neuron's z is to a goal; the order of the corpus decides ties."""
        known = self.known(index)
        z_v = sign * self.z_NV[index, known].astype(np.float64)
        for column in np.argsort(np.abs(z_v - goal), kind="stable"):
            at = known[column]
            yield _Spot(int(self.document_V[at]), int(self.span_V[at]), float(z_v[column]))


def _strongest(atlas: Atlas, index: int, sign: int) -> Iterator[tuple[int, int, float]]:
    """Document, span and activation of the highest spans; for a negative sign the lowest, which gated models' atlases keep."""
    side = "top" if sign > 0 else "low"
    if f"{side}_value_Nk" not in atlas.arrays:
        return
    kept = (atlas[f"{side}_{name}_Nk"][index] for name in ("document", "span", "value"))
    for document, span, value in zip(*kept, strict=True):
        if document >= 0:
            yield int(document), int(span), float(value)


def _of_new_documents(spots: Iterator[_Spot], used: set[int], count: int) -> Iterator[_Spot]:
    """The first so many spots whose document was not used; they are entered in ``used``."""
    for spot in spots:
        if count == 0:
            return
        if spot.document not in used:
            used.add(spot.document)
            count -= 1
            yield spot


def _place(neuron: int, kind: Kind, spot: _Spot, corpus: ProbeCorpus) -> Place:
    data = corpus.documents[spot.document].text.encode()
    start, end = (int(edge) for edge in universal_spans(corpus.documents[spot.document].text)[spot.span])
    around = _whole_characters(data, max(0, start - _AROUND_BYTES), min(len(data), end + _AROUND_BYTES))
    return Place(neuron, kind, spot.document, (start, end), around, spot.z)


def _whole_characters(data: bytes, low: int, high: int) -> tuple[int, int]:
    """The range, narrowed to begin and end between characters of UTF-8."""
    while low < high and data[low] & 0xC0 == 0x80:
        low += 1
    while high < len(data) and high > low and data[high] & 0xC0 == 0x80:
        high -= 1
    return low, high


def views(places: Sequence[Place], corpus: ProbeCorpus, readings: dict[str, list[Reading]]) -> list[list[Snippet]]:
    """Snippets by neuron; ``readings`` holds for each model one reading a place."""
    neurons = 1 + max((place.neuron for place in places), default=-1)
    found: list[list[Snippet]] = [[] for _ in range(neurons)]
    for number, place in enumerate(places):
        mine = {model: read[number] for model, read in readings.items()}
        found[place.neuron].append(snippet(place, corpus, mine))
    return found
