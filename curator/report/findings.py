"""What the numbers say: two sentences for the top of the page, what was derived from the inputs, and every doubt in words.

All of it is pure: inputs in, values out. Whatever the page prints that is not an input stands in ``Derived``, so that
the JSON holds each number of the page. Intervals of shares are Wilson's, 95 %. It does not know what would be a good
result; it only knows which results cannot be trusted far.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from curator.report.inputs import FilterResult, NeuronEntry, ReportInputs
from curator.scaling.points import Rule
from curator.scaling.verdict import ScalingFit, fit_scaling

_Z95 = 1.959963984540054
_FEW_TARGETS = 50
_CHANCE_SHARE = 0.1
_SELECTION_LOSS = 0.05
_LOW_AGREEMENT = 0.5
RULES: tuple[Rule, ...] = ("paper", "strict", "universal")


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
    token_scales: tuple[float, ...]
    probe_spans: int | None


class Findings(NamedTuple):
    """All that the page says beyond its inputs."""

    derived: Derived
    fits: dict[str, ScalingFit]
    headline: tuple[str, str]
    doubts: tuple[str, ...]


def find(inputs: ReportInputs) -> Findings:
    """Everything at once; the fits take about 0.1 s a rule."""
    derived, fits = derive(inputs), fit_rules(inputs)
    return Findings(derived, fits, headline(inputs, derived), doubts(inputs, fits, derived))


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
        token_scales=tuple(_token_scale(neuron) for neuron in inputs.neuron_set),
        probe_spans=sum(inputs.probe.spans.values()) if inputs.probe and inputs.probe.spans else None,
    )


def fit_rules(inputs: ReportInputs) -> dict[str, ScalingFit]:
    """The fit of each counting rule that the study measured at all."""
    if inputs.study is None:
        return {}
    points = inputs.study.points
    return {rule: fit_scaling(points, rule) for rule in RULES if any(point.count(rule) is not None for point in points)}


def headline(inputs: ReportInputs, derived: Derived) -> tuple[str, str]:
    """Two sentences with numbers: what was found in the models, and what the filter did with it."""
    return _found(inputs, derived), _filtered(inputs, derived)


def doubts(inputs: ReportInputs, fits: dict[str, ScalingFit], derived: Derived) -> tuple[str, ...]:
    """Everything a careful reader should hold against the page, most general last."""
    return (
        *_doubts_of_scaling(inputs, fits),
        *_doubts_of_matching(inputs, derived),
        *_doubts_of_neurons(inputs.neuron_set),
        *_doubts_of_filter(inputs),
        "A high AUROC says that a neuron separates these domains in this probe corpus. Whether it follows the subject or "
        "only some frequent tokens of it is not shown here: token identity was not controlled for.",
        "That the kept text is better to train on is not shown here: no model was trained on it.",
    )


def wilson(share: float, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share observed over ``trials`` (at least one)."""
    squared = _Z95**2 / trials
    centre = (share + squared / 2) / (1 + squared)
    half = math.sqrt(squared * (share * (1 - share) + squared / 4)) / (1 + squared)
    return max(0.0, centre - half), min(1.0, centre + half)


def _share_interval(share: float | None, trials: int | None) -> tuple[float, float] | None:
    return wilson(share, trials) if share is not None and trials else None


def _token_scale(neuron: NeuronEntry) -> float:
    """The strongest activation on any token of the neuron's contexts: the one end of its colour scale."""
    return max((abs(value) for context in neuron.contexts for _, value in context.tokens), default=0.0)


def _chance_share(inputs: ReportInputs) -> float | None:
    """The worse null's matches as a share of the real ones, paper rule."""
    found = inputs.rosetta
    if found is None or found.paper == 0:
        return None
    nulls = [null.paper for null in (found.decoy_derangement, found.decoy_rotation) if null.paper is not None]
    return max(nulls) / found.paper if nulls else None


def _found(inputs: ReportInputs, derived: Derived) -> str:
    found, peers = inputs.rosetta, _listed([peer.name for peer in inputs.peers])
    if found is None:
        return f"The matching of {inputs.model.name} with its peers was not measured."
    partners = f"in each of {peers}" if len(inputs.peers) > 1 else f"in {peers}" if peers else "in every peer"
    nulls = [null.paper for null in (found.decoy_derangement, found.decoy_rotation) if null.paper is not None]
    chance = f"chance alone gives {max(nulls):,}" if nulls else "how many chance alone would give was not measured"
    correlation = "" if found.mean_correlation is None else f", correlating at {found.mean_correlation:.2f} on average"
    if found.strict is not None:
        scrambled = found.decoy_derangement.strict
        null = "" if scrambled is None else f", where scrambled documents give {scrambled:,}"
        return (
            f"{found.strict:,} of {inputs.model.name}'s {found.neurons:,} neurons ({found.strict / found.neurons:.1%}) have "
            f"a partner {partners} that passes the strict rule{null}. Without a threshold there are {found.paper:,}; {chance}."
        )
    return (
        f"{found.paper:,} of {inputs.model.name}'s {found.neurons:,} neurons ({derived.rosetta_fraction:.1%}) have "
        f"a partner {partners}{correlation}; {chance}."
    )


def _filtered(inputs: ReportInputs, derived: Derived) -> str:
    kept, target = inputs.filter, inputs.target_domain
    used = inputs.set_size or len(inputs.neuron_set)
    by = (
        "The filter" if not used else f"A filter made of {used} of them" if used > 1 else "A filter made of one of them"
    )
    if kept is None:
        return f"No filter for “{target}” was run, so its precision and recall were not measured."
    quality = (
        "its precision and recall were not measured"
        if kept.precision is None or kept.recall is None
        else f"{kept.precision:.1%} of them are on target, and {kept.recall:.1%} of the target was found"
    )
    return (
        f"{by} kept {kept.kept:,} of {kept.pool:,} documents ({derived.kept_fraction:.1%}) for “{target}”: {quality}."
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _doubts_of_scaling(inputs: ReportInputs, fits: dict[str, ScalingFit]) -> list[str]:
    if inputs.study is None:
        return ["How the count grows with model size was not measured."]
    found = [f"{fit.rule.capitalize()} rule: {fit.verdict}" for fit in fits.values() if not fit.enough]
    for fit in fits.values():
        if fit.excluded:
            names = ", ".join(fit.excluded)
            found.append(
                f"{fit.rule.capitalize()} rule: {names} had a count of zero and could not enter the power-law fit."
            )
    if all(point.untrained is None for point in inputs.study.points):
        found.append(
            "Untrained models were not compared, so architecture alone is not excluded as a reason for matches."
        )
    return found


def _doubts_of_matching(inputs: ReportInputs, derived: Derived) -> list[str]:
    rosetta, found = inputs.rosetta, []
    if rosetta is None:
        return found
    if derived.chance_share is None:
        found.append("No decoy was matched, so it is not known how many of the matches are chance.")
    elif derived.chance_share > _CHANCE_SHARE:
        found.append(
            f"By the paper's rule, which has no threshold, about {derived.chance_share:.0%} of the matches are what "
            "chance gives; read the strict count for single neurons."
        )
    if rosetta.half_jaccard is None:
        found.append("Whether two halves of the probe corpus give the same matches was not measured.")
    elif rosetta.half_jaccard < _LOW_AGREEMENT:
        found.append(
            f"Two halves of the probe corpus agree on few of the matches (Jaccard {rosetta.half_jaccard:.2f})."
        )
    if rosetta.certificate is None:
        found.append("No sampled pair was recomputed in float64, so the numerics are not certified.")
    return found


def _doubts_of_neurons(neurons: tuple[NeuronEntry, ...]) -> list[str]:
    found = []
    fell = [n.id for n in neurons if _loss(n) > _SELECTION_LOSS]
    if fell:
        found.append(
            f"{', '.join(fell)}: the AUROC fell by more than {_SELECTION_LOSS} on the half that did not choose."
        )
    if any(match.q is None for neuron in neurons for match in neuron.matches):
        found.append("Some matches carry no q-value, so their chance of being a coincidence is not stated.")
    return found


def _loss(neuron: NeuronEntry) -> float:
    if neuron.auroc_choose is None or neuron.auroc_report is None:
        return 0.0
    return neuron.auroc_choose - neuron.auroc_report


def _doubts_of_filter(inputs: ReportInputs) -> list[str]:
    result: FilterResult | None = inputs.filter
    if result is None:
        return ["The filter's precision and recall were not measured."]
    found = []
    if result.oracle is not None and result.oracle < _FEW_TARGETS:
        found.append(
            f"The pool held only {result.oracle} documents of the target; the intervals of its shares are wide."
        )
    if not inputs.calibration:
        found.append("How far the predicted probabilities can be taken at their word was not measured.")
    return found
