"""Numbers of a report that are computed from its inputs: shares, intervals of shares, chance, the scale of effects.

All of it is pure. Whatever the page prints that is not an input stands in ``Derived``, so that the JSON holds each number of
the page. Intervals of shares are Wilson's, 95 %.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from curator.report.inputs import HeldOut, ReportInputs
from curator.report.parts import NeuronEntry, SampleDocument

_Z95 = 1.959963984540054


class OperatingRow(BaseModel):
    """What a threshold keeps, as shares of the held-out documents; intervals are Wilson's, 95 %, None where nothing is kept.

    ``precision`` is that of the held-out documents' mixture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    threshold: float
    document_share: float
    token_share: float | None
    precision: float | None
    precision_interval: tuple[float, float] | None
    recall: float | None
    recall_interval: tuple[float, float] | None


class Derived(BaseModel):
    """Numbers of the page that are computed from the inputs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rosetta_fraction: float | None
    chance_share: float | None
    point_fractions: dict[str, float]
    kept_fraction: float | None
    target_fraction: float | None
    precision_interval: tuple[float, float] | None
    recall_interval: tuple[float, float] | None
    probe_spans: int | None
    held_out_prevalence: float | None
    operating: tuple[OperatingRow, ...]
    effect_scale: float
    auroc_median: float | None = None
    auroc_controlled_median: float | None = None


def derive(inputs: ReportInputs) -> Derived:
    """Compute what the page shows beyond the inputs."""
    found, kept = inputs.rosetta, inputs.filter
    return Derived(
        rosetta_fraction=found.paper / found.neurons if found else None,
        chance_share=_chance_share(inputs),
        point_fractions={point.label: point.fraction for point in inputs.study.points} if inputs.study else {},
        kept_fraction=kept.kept / kept.pool if kept else None,
        target_fraction=kept.oracle / kept.pool if kept and kept.oracle is not None else None,
        precision_interval=_share_interval(kept.precision, kept.kept) if kept else None,
        recall_interval=_share_interval(kept.recall, kept.oracle) if kept else None,
        probe_spans=sum(inputs.probe.spans.values()) if inputs.probe and inputs.probe.spans else None,
        held_out_prevalence=inputs.held_out.on_target / inputs.held_out.documents if inputs.held_out else None,
        operating=_operating(inputs.held_out) if inputs.held_out else (),
        effect_scale=_effect_scale(inputs.samples),
        auroc_median=_median(turned for turned, _ in _controlled(inputs)),
        auroc_controlled_median=_median(controlled for _, controlled in _controlled(inputs)),
    )


def _controlled(inputs: ReportInputs) -> list[tuple[float, float]]:
    """AUROC with and without the words, of the neurons that have both; both turned so that the first is at least 0.5."""
    known = [
        (neuron.auroc_report, neuron.auroc_controlled)
        for neuron in inputs.neuron_set
        if neuron.auroc_report is not None and neuron.auroc_controlled is not None
    ]
    return [(plain, words) if plain >= 0.5 else (1 - plain, 1 - words) for plain, words in known]


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None


def _operating(held_out: HeldOut) -> tuple[OperatingRow, ...]:
    return tuple(
        OperatingRow(
            threshold=kept.threshold,
            document_share=kept.documents / held_out.documents,
            token_share=kept.tokens / held_out.tokens if held_out.tokens else None,
            precision=kept.on_target / kept.documents if kept.documents else None,
            precision_interval=_counted_interval(kept.on_target, kept.documents),
            recall=kept.on_target / held_out.on_target if held_out.on_target else None,
            recall_interval=_counted_interval(kept.on_target, held_out.on_target),
        )
        for kept in held_out.kept
    )


def _counted_interval(hits: int, trials: int) -> tuple[float, float] | None:
    return wilson(hits / trials, trials) if trials else None


def _effect_scale(samples: tuple[SampleDocument, ...]) -> float:
    """The strongest effect of a token in any sample document, 0 without one: the end of their one colour scale."""
    return max((abs(effect) for sample in samples for effect in sample.effects if effect is not None), default=0.0)


def mean_rho(neuron: NeuronEntry) -> float | None:
    """Mean strength of a neuron's matches over its peers."""
    return sum(abs(match.rho) for match in neuron.matches) / len(neuron.matches) if neuron.matches else None


def worst_q(neuron: NeuronEntry) -> float | None:
    """The largest q-value among a neuron's matches; None where one has none."""
    known = [match.q for match in neuron.matches if match.q is not None]
    return max(known) if known and len(known) == len(neuron.matches) else None


def wilson(share: float, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share observed over ``trials`` (at least one)."""
    squared = _Z95**2 / trials
    centre = (share + squared / 2) / (1 + squared)
    half = math.sqrt(squared * (share * (1 - share) + squared / 4)) / (1 + squared)
    return max(0.0, centre - half), min(1.0, centre + half)


def _share_interval(share: float | None, trials: int | None) -> tuple[float, float] | None:
    return wilson(share, trials) if share is not None and trials else None


def _chance_share(inputs: ReportInputs) -> float | None:
    """The worse null's matches as a share of the real ones, paper rule."""
    found = inputs.rosetta
    if found is None or found.paper == 0:
        return None
    nulls = [null.paper for null in (found.decoy_derangement, found.decoy_rotation) if null.paper is not None]
    return max(nulls) / found.paper if nulls else None
