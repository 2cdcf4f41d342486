"""Why a filter keeps or drops a document: which neurons moved its score, and which tokens moved those neurons.

Neurons: a scorer's own ``contributions``. Tokens: each of a document's features (``features``) is homogeneous of degree one in
its tokens' activations, so it divides among them without a rest: the mean by span weights, the root mean square by squares,
the peak by its sixteen tokens. A token's effect is the sum over features of the score's gradient times the token's part; from
every token an equal share of what a background document's features would give is taken away, so that an ordinary token has an
effect near zero. For the linear scorer the effects of all tokens then add up to the score less its intercept (but for features
clipped at ten deviations); for the nearest-signature scorer they say how the score would move, and add up to nothing. The
blended scorer's wording is named beside the neurons, by that word, and is no part of the tokens' effects.
Samples are taken from the documents that decided nothing. Cost: a truncated pass over the sampled documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from curator.lm.backbone import Backbone
from curator.lm.batching import Window, windows
from curator.lm.taps import Tapped, tap
from curator.neuronset.artifact import MethodName, NeuronSet
from curator.neuronset.features import PEAK_TOKENS, NeuronChoice
from curator.neuronset.groups import span_weights
from curator.neuronset.readings import window_values
from curator.neuronset.scorers import Blended, Linear, Method
from curator.neuronset.thresholds import Reported
from curator.records import Document

Verdict = Literal["clear keep", "just kept", "wrongly kept", "just dropped", "wrongly dropped", "clear drop"]
VERDICTS: tuple[Verdict, ...] = (
    "clear keep", "just kept", "wrongly kept", "just dropped", "wrongly dropped", "clear drop",
)  # fmt: skip
WORDING = "wording"
_EXCERPT_BYTES = 480
_NAMED_NEURONS = 4


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one document has its score.

    ``score`` is the scorer's, ``intercept`` what it gives without any neuron (0 but for the linear scorer, and the blended one,
    which holds it). ``raised`` and ``lowered`` name the neurons of the strongest effect either way. ``text`` is the stretch of
    the document where tokens moved the score most, cut into runs of ``lengths`` characters with an ``effects`` each (None: not
    scored); ``elsewhere`` is the summed effect of all tokens outside it.
    """

    document_id: str
    domain: str
    score: float
    intercept: float
    tokens: int
    raised: tuple[tuple[str, float], ...]
    lowered: tuple[tuple[str, float], ...]
    text: str
    lengths: tuple[int, ...]
    effects: tuple[float | None, ...]
    elsewhere: float


@dataclass(frozen=True, slots=True)
class _Read:
    """One document: T scored tokens with byte ranges (T, 2), span weights (T,) and activations (T, K), signs applied."""

    bytes_T2: np.ndarray
    weight_T: np.ndarray
    values_TK: np.ndarray

    def features(self) -> np.ndarray:
        """The document's features, (3, K)."""
        return self.parts().sum(axis=0)

    def parts(self) -> np.ndarray:
        """Each token's part of each feature, (T, 3, K) float64."""
        values_TK = self.values_TK.astype(np.float64)
        square_TK = np.maximum(values_TK, 0) ** 2
        rms_K = np.sqrt(square_TK.mean(axis=0))
        kept = min(PEAK_TOKENS, len(values_TK))
        highest_pK = np.argsort(-values_TK, axis=0, kind="stable")[:kept]
        peak_TK = np.zeros_like(values_TK)
        np.put_along_axis(peak_TK, highest_pK, np.take_along_axis(values_TK, highest_pK, axis=0) / kept, axis=0)
        rms_TK = square_TK / (len(values_TK) * np.where(rms_K > 0, rms_K, 1.0))
        return np.stack([self.weight_T[:, None] * values_TK, rms_TK, peak_TK], axis=1)


def sample_documents(
    reported: Reported, domain_R: Sequence[str], threshold: float, *, clear: int = 3, near: int = 2, wrong: int = 2
) -> dict[int, Verdict]:
    """Held-out documents worth looking at, by their row in ``reported``: mistakes, clear cases, cases near the threshold.

    Mistakes are the worst ones; clear drops are of different domains as far as there are. Each document stands once, in the
    order of ``VERDICTS``.
    """
    kept_R = reported.probability_R >= threshold
    rows = np.arange(len(kept_R))
    right_R = kept_R == reported.positive_R
    lowest_first = rows[~kept_R][::-1]
    candidates: dict[Verdict, tuple[Iterable[int], int]] = {
        "wrongly kept": (rows[kept_R & ~right_R], wrong),
        "wrongly dropped": (rows[~kept_R & ~right_R][::-1], wrong),
        "clear keep": (rows[kept_R & right_R], clear),
        "clear drop": (_of_each_domain(lowest_first[right_R[lowest_first]].tolist(), domain_R), clear),
        "just kept": (rows[kept_R][::-1], near),
        "just dropped": (rows[~kept_R], near),
    }
    found: dict[int, Verdict] = {}
    for verdict, (ordered, count) in candidates.items():
        free = [int(row) for row in ordered if int(row) not in found][:count]
        found |= dict.fromkeys(free, verdict)
    return dict(sorted(found.items(), key=lambda item: (VERDICTS.index(item[1]), item[0])))


def explain(
    backbone: Backbone, neuron_set: NeuronSet, target: str, name: MethodName, documents: Sequence[Document]
) -> list[Reason | None]:
    """Why each document has its score for a target by one scorer; None for a text without a scored token.

    Raises FingerprintError for a set of another model.
    """
    neuron_set.require_model(backbone)
    method, choice = neuron_set.method(target, name), neuron_set.choice
    intercept = _intercept(method)
    scale_fK = neuron_set.standardiser.scale_fK.astype(np.float64)
    mean_fK = neuron_set.standardiser.mean_fK.astype(np.float64)
    found: list[Reason | None] = []
    with torch.inference_mode(), tap(backbone, choice.layers, rows=choice.units) as tapped:
        for document in documents:
            read = _read(backbone, tapped, document.text, choice, neuron_set.manifest.skip_tokens)
            if read is None:
                found.append(None)
                continue
            z = neuron_set.evidence(
                read.features()[None].astype(np.float32), [document.text], wording=name == "blended"
            )
            gradient_fK = method.gradient(z)[0, : scale_fK.size].reshape(scale_fK.shape) / scale_fK
            effect_T = (read.parts() * gradient_fK).sum(axis=(1, 2)) - (gradient_fK * mean_fK).sum() / len(
                read.weight_T
            )
            named = _named(neuron_set, method, z)
            found.append(_reason(document, float(method.score(z)[0]), intercept, named, read.bytes_T2, effect_T))
    return found


def _of_each_domain(rows: Sequence[int], domain_R: Sequence[str]) -> list[int]:
    """The rows, the first of every domain before all others."""
    first = dict[str, int]()
    for row in rows:
        first.setdefault(domain_R[row], row)
    leading = list(first.values())
    return [*leading, *(row for row in rows if row not in set(leading))]


def _read(backbone: Backbone, tapped: Tapped, text: str, choice: NeuronChoice, skip_tokens: int) -> _Read | None:
    found = windows(backbone.tokenizer, [text], backbone.max_tokens, skip_tokens)
    if not any(window.scored.any() for window in found):
        return None
    weights = span_weights([text], found, np.zeros(len(found), dtype=np.int64))
    values = [_values(tapped, window, choice)[window.scored] for window in found]
    return _Read(
        np.concatenate([window.bytes_T2[window.scored] for window in found]),
        np.concatenate([weight[window.scored] for weight, window in zip(weights, found, strict=True)]),
        np.concatenate(values),
    )


def _values(tapped: Tapped, window: Window, choice: NeuronChoice) -> np.ndarray:
    return window_values(tapped, window)[:, choice.order] * np.asarray(choice.signs, dtype=np.float32)


def _intercept(method: Method) -> float:
    """What a score is where no neuron and no wording moves it."""
    if isinstance(method, Blended):
        return method.linear.intercept / method.neuron_spread
    return method.intercept if isinstance(method, Linear) else 0.0


def _named(
    neuron_set: NeuronSet, method: Method, z: np.ndarray
) -> tuple[tuple[tuple[str, float], ...], tuple[tuple[str, float], ...]]:
    """The neurons that raised one document's score most, and those that lowered it most; the wording counts as one."""
    names = [str(neuron.id) for neuron in neuron_set.manifest.neurons]
    effect = method.contributions(z)[0]
    if isinstance(method, Blended):
        names, effect = [*names, WORDING], np.append(effect, method.wording(z))
    order = np.argsort(-effect, kind="stable")
    raised = tuple((names[place], float(effect[place])) for place in order[:_NAMED_NEURONS] if effect[place] > 0)
    lowered = order[::-1][:_NAMED_NEURONS]
    return raised, tuple((names[place], float(effect[place])) for place in lowered if effect[place] < 0)


def _reason(
    document: Document,
    score: float,
    intercept: float,
    named: tuple[tuple[tuple[str, float], ...], tuple[tuple[str, float], ...]],
    bytes_T2: np.ndarray,
    effect_T: np.ndarray,
) -> Reason:
    data = document.text.encode()
    first, last = _loudest(bytes_T2, effect_T)
    at, end = int(bytes_T2[first, 0]), int(bytes_T2[last, 1])
    lengths: list[int] = []
    effects: list[float | None] = []
    text = data[at:end].decode()
    for (start, stop), effect in zip(bytes_T2[first : last + 1], effect_T[first : last + 1], strict=True):
        if start > at and data[at:start].strip():
            lengths.append(len(data[at:start].decode()))
            effects.append(None)
            at = int(start)
        if stop > at:
            lengths.append(len(data[at:stop].decode()))
            effects.append(float(effect))
            at = int(stop)
        elif effects and effects[-1] is not None:  # a further token of the same character
            effects[-1] += float(effect)
    elsewhere = float(effect_T[:first].sum() + effect_T[last + 1 :].sum())
    raised, lowered = named
    return Reason(
        document.id, document.domain, score, intercept, len(effect_T), raised, lowered,
        text, tuple(lengths), tuple(effects), elsewhere,
    )  # fmt: skip


def _loudest(bytes_T2: np.ndarray, effect_T: np.ndarray) -> tuple[int, int]:
    """First and last token of the stretch of at most 480 bytes in which tokens moved the score most, either way."""
    total = np.concatenate([[0.0], np.cumsum(np.abs(effect_T))])
    last_T = np.searchsorted(bytes_T2[:, 1], bytes_T2[:, 0] + _EXCERPT_BYTES, side="right") - 1
    last_T = np.maximum(last_T, np.arange(len(effect_T)))
    first = int(np.argmax(total[last_T + 1] - total[:-1]))
    return first, int(last_T[first])
