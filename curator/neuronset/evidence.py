"""What a reader wants to see of a neuron: the contexts where it is strongest, token by token, and its values by domain.

The atlas knows where each neuron's highest spans are; the documents around them are read once more, to the deepest layer that
is shown, and every token in sight is given its activation. At most one context is taken from a document, so that one
repetitive text does not fill the list. Histograms are of the document means that the atlas holds. Cost: a forward pass over
the few shown documents. It does not choose neurons and knows no page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from curator.atlas.store import Atlas
from curator.lm.backbone import Backbone
from curator.lm.batching import Window, windows
from curator.lm.taps import Tapped, tap
from curator.neuronset.features import NeuronChoice
from curator.text.probe import ProbeCorpus
from curator.text.segmentation import universal_spans

_CONTEXT_BYTES = 140
_BINS = 24


@dataclass(frozen=True, slots=True)
class Snippet:
    """A stretch of a document around a strong span; ``pieces`` are its tokens' texts with their activation, sign applied."""

    document_id: str
    domain: str
    text: str
    value: float
    pieces: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class NeuronView:
    """Evidence for one neuron: ``edges`` (bins + 1,) and document counts per domain (bins,), and the strongest snippets."""

    edges: tuple[float, ...]
    counts: dict[str, tuple[int, ...]]
    snippets: tuple[Snippet, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    neuron: int
    document: int
    start: int
    end: int
    value: float


def neuron_views(
    backbone: Backbone, atlas: Atlas, corpus: ProbeCorpus, choice: NeuronChoice, *, contexts: int = 4
) -> list[NeuronView]:
    """One view for each neuron of ``choice``, with at most ``contexts`` snippets."""
    places = [
        place
        for number, (neuron, sign) in enumerate(zip(choice.neurons, choice.signs, strict=True))
        for place in _strongest_places(atlas, corpus, number, atlas.index(neuron), sign, contexts)
    ]
    snippets: dict[int, list[Snippet]] = {}
    with torch.inference_mode(), tap(backbone, choice.layers, rows=choice.units) as tapped:
        for document in sorted({place.document for place in places}):
            here = [place for place in places if place.document == document]
            for place, snippet in zip(here, _read(backbone, tapped, corpus, here, choice), strict=True):
                snippets.setdefault(place.neuron, []).append(snippet)
    return [
        NeuronView(
            *histogram_by_domain(atlas, atlas.index(neuron), sign),
            tuple(sorted(snippets.get(number, []), key=lambda snippet: -snippet.value)),
        )
        for number, (neuron, sign) in enumerate(zip(choice.neurons, choice.signs, strict=True))
    ]


def histogram_by_domain(atlas: Atlas, index: int, sign: int) -> tuple[tuple[float, ...], dict[str, tuple[int, ...]]]:
    """Bin edges and document counts for each domain, of one neuron's document means with its sign applied."""
    values_D = atlas["document_mean_DN"][:, index].astype(np.float64) * sign
    domain_D = np.asarray([entry.domain for entry in atlas.manifest.documents])
    low, high = float(values_D.min()), float(values_D.max())
    edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
    counts = {
        domain: tuple(int(count) for count in np.histogram(values_D[domain_D == domain], edges)[0])
        for domain in atlas.manifest.domains
    }
    return tuple(float(edge) for edge in edges), counts


def _strongest_places(
    atlas: Atlas, corpus: ProbeCorpus, number: int, index: int, sign: int, wanted: int
) -> list[_Place]:
    """Spans of the highest values, one a document; for a negative sign those of the lowest, which gated models keep."""
    side = "top" if sign > 0 else "low"
    if f"{side}_value_Nk" not in atlas.arrays:
        return []
    found: dict[int, _Place] = {}
    kept = (atlas[f"{side}_{name}_Nk"][index] for name in ("document", "span", "value"))
    for document, span, value in zip(*kept, strict=True):
        if document < 0 or int(document) in found or len(found) == wanted:
            continue
        start, end = universal_spans(corpus.documents[int(document)].text)[int(span)]
        found[int(document)] = _Place(number, int(document), int(start), int(end), float(value) * sign)
    return list(found.values())


def _read(
    backbone: Backbone, tapped: Tapped, corpus: ProbeCorpus, places: Sequence[_Place], choice: NeuronChoice
) -> list[Snippet]:
    """The snippets of one document's places."""
    document = corpus.documents[places[0].document]
    found = windows(backbone.tokenizer, [document.text], backbone.max_tokens)
    values: list[np.ndarray] = []
    for window in found:
        activations = tapped.run(torch.from_numpy(window.input_ids.astype(np.int64))[None])
        values_TK = torch.cat([activations[layer][0].float().cpu() for layer in choice.layers], dim=-1)[:, choice.order]
        values.append((values_TK * torch.tensor(choice.signs)).numpy())
    data = document.text.encode()
    snippets = []
    for place in places:
        low, high = max(0, place.start - _CONTEXT_BYTES), min(len(data), place.end + _CONTEXT_BYTES)
        pieces = _pieces(found, values, data, (low, high), place.neuron)
        text = data[low:high].decode("utf-8", "ignore")
        snippets.append(Snippet(document.id, document.domain, text, place.value, pieces))
    return snippets


def _pieces(
    found: Sequence[Window], values: Sequence[np.ndarray], data: bytes, around: tuple[int, int], neuron: int
) -> tuple[tuple[str, float], ...]:
    """Texts and activations of the scored tokens in a byte range, in order; bytes between tokens go with the next one."""
    pieces: list[tuple[str, float]] = []
    at = around[0]
    for window, values_TK in zip(found, values, strict=True):
        for (start, end), scored, value in zip(window.bytes_T2, window.scored, values_TK[:, neuron], strict=True):
            if scored and end > at and start < around[1]:
                pieces.append((data[at : int(end)].decode("utf-8", "ignore"), float(value)))
                at = int(end)
    return tuple(pieces)
