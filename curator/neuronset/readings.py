"""What a model's neurons say of stretches of text, token by token, on a scale that can be compared across neurons and models.

A token's activation a becomes z = sign * (a - mean)/deviation, with the neuron's mean and deviation over the spans of the probe
corpus, from its atlas: one unit of z is one standard deviation of that neuron, whichever model it is in. The sign is the one
that the neuron is read with, so that a neuron and its partner of negative correlation point the same way. Every document is
cut into windows as in the atlas pass and only windows that touch a wanted stretch are read, up to the deepest wanted layer.
Cost: a truncated forward pass over those windows. Attention sinks are not scored and have no z. It does not choose stretches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from curator.atlas.store import Atlas
from curator.lm.backbone import Backbone
from curator.lm.batching import Window, windows
from curator.lm.taps import Tapped, tap
from curator.neuronset.features import NeuronChoice
from curator.records import NeuronId
from curator.text.probe import ProbeCorpus

_DIGITS = 2


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes ``[low, high)`` of a probe document, on whole characters, to be read by the neuron at place ``neuron`` of a lens."""

    neuron: int
    document: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A stretch as one model reads it: the characters of each token, and its z to two decimals (None: not scored)."""

    lengths: tuple[int, ...]
    z: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Lens:
    """K neurons of one model in the order in which stretches name them; one may stand at several places.

    ``sign_K``, ``mean_K`` and ``deviation_K`` (K,) float64 standardise them.
    """

    neurons: tuple[NeuronId, ...]
    sign_K: np.ndarray
    mean_K: np.ndarray
    deviation_K: np.ndarray

    @classmethod
    def of(cls, atlas: Atlas, neurons: Sequence[NeuronId], signs: Sequence[int]) -> Lens:
        """With the moments that the model's atlas holds; a constant neuron is divided by one."""
        index_K = [atlas.index(neuron) for neuron in neurons]
        deviation_K = np.asarray(atlas["deviation"][index_K], dtype=np.float64)
        return cls(
            tuple(neurons),
            np.asarray(signs, dtype=np.float64),
            np.asarray(atlas["mean"][index_K], dtype=np.float64),
            np.where(deviation_K > 0, deviation_K, 1.0),
        )

    def standardised(self, values: ArrayLike, place: int) -> np.ndarray:
        """z of activations of the neuron at ``place``; any shape."""
        return (
            self.sign_K[place] * (np.asarray(values, dtype=np.float64) - self.mean_K[place]) / self.deviation_K[place]
        )


def read_stretches(
    backbone: Backbone, corpus: ProbeCorpus, lens: Lens, stretches: Sequence[Stretch], *, skip_tokens: int
) -> list[Reading]:
    """One reading for each stretch, in order. ``skip_tokens`` as in the atlas."""
    once = tuple(dict.fromkeys(lens.neurons))
    choice = NeuronChoice(once, (1,) * len(once))
    column = {neuron: place for place, neuron in enumerate(sorted(once))}
    of_document: dict[int, list[int]] = defaultdict(list)
    for number, stretch in enumerate(stretches):
        of_document[stretch.document].append(number)
    found: dict[int, Reading] = {}
    with torch.inference_mode(), tap(backbone, choice.layers, rows=choice.units) as tapped:
        for document, numbers in sorted(of_document.items()):
            text = corpus.documents[document].text
            wanted = [(stretches[number].low, stretches[number].high) for number in numbers]
            cut = windows(backbone.tokenizer, [text], backbone.max_tokens, skip_tokens)
            read = [(window, window_values(tapped, window)) for window in cut if _touches(window, wanted)]
            for number in numbers:
                stretch, place = stretches[number], stretches[number].neuron
                tokens = _tokens(read, column[lens.neurons[place]], stretch)
                found[number] = _reading(text.encode(), stretch, tokens, lens)
    return [found[number] for number in range(len(stretches))]


def window_values(tapped: Tapped, window: Window) -> np.ndarray:
    """Activations of the tapped neurons on one window, (T, neurons in ascending order) float32."""
    activations = tapped.run(torch.from_numpy(window.input_ids.astype(np.int64))[None])
    return torch.cat([activations[layer][0].float().cpu() for layer in tapped.layers], dim=-1).numpy()


def _touches(window: Window, wanted: Sequence[tuple[int, int]]) -> bool:
    scored_T2 = window.bytes_T2[window.scored]
    return any(bool(((scored_T2[:, 1] > low) & (scored_T2[:, 0] < high)).any()) for low, high in wanted)


def _tokens(
    read: Sequence[tuple[Window, np.ndarray]], column: int, stretch: Stretch
) -> Iterator[tuple[int, int, float]]:
    """Byte range, cut to the stretch, and activation of every scored token that overlaps it, in order."""
    for window, values_TK in read:
        for (start, end), scored, value in zip(window.bytes_T2, window.scored, values_TK[:, column], strict=True):
            if scored and end > stretch.low and start < stretch.high:
                yield max(int(start), stretch.low), min(int(end), stretch.high), float(value)


def _reading(data: bytes, stretch: Stretch, tokens: Iterator[tuple[int, int, float]], lens: Lens) -> Reading:
    """Runs that cover the stretch: white space before a token goes with it, other bytes without a token have no z."""
    lengths: list[int] = []
    values: list[float | None] = []
    at = stretch.low

    def run(end: int, z: float | None) -> None:
        nonlocal at
        if end > at:
            lengths.append(len(data[at:end].decode()))
            values.append(z)
            at = end

    for start, end, value in tokens:
        if start > at and data[at:start].strip():
            run(start, None)
        run(end, round(float(lens.standardised(value, stretch.neuron)), _DIGITS))
    run(stretch.high, None)
    return Reading(tuple(lengths), tuple(values))
