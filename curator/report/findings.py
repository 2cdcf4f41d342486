"""What the numbers say: two sentences for the top of the page, with what was derived, analysed and doubted.

All of it is pure: inputs in, values out. ``derived`` holds the numbers and ``doubts`` the reservations. Cost: that of analysing
the study, up to three seconds. It does not know what would be a good result.
"""

from __future__ import annotations

from typing import NamedTuple

from curator.report.derived import Derived, derive
from curator.report.doubts import doubts, listed
from curator.report.inputs import ReportInputs
from curator.scaling.analysis import StudyAnalysis, analyse
from curator.scaling.points import Study


class Findings(NamedTuple):
    """All that the page says beyond its inputs."""

    derived: Derived
    study: StudyAnalysis | None
    headline: tuple[str, ...]
    doubts: tuple[str, ...]


def find(inputs: ReportInputs) -> Findings:
    """Everything at once; analysing a study takes some tenths of a second."""
    derived, study = derive(inputs), analyse(inputs.study) if inputs.study else None
    said = headline(inputs, derived) if inputs.subject == "neuron set" else _of_study(inputs.study, study)
    return Findings(derived, study, said, doubts(inputs, study, derived))


def headline(inputs: ReportInputs, derived: Derived) -> tuple[str, str]:
    """Two sentences with numbers: what was found in the models, and what the filter did with it."""
    return _found(inputs, derived), _filtered(inputs, derived)


def _of_study(study: Study | None, analysis: StudyAnalysis | None) -> tuple[str, ...]:
    """What a study says in two sentences: how far the sizes reach, and how each rule's count grows over them."""
    if study is None or analysis is None or not study.points:
        return ("No size was measured.",)
    first, last = study.points[0], study.points[-1]
    sizes = (
        f"{len(study.points)} sizes of models, from {first.neurons_mean:,.0f} to {last.neurons_mean:,.0f} neurons: by the "
        f"paper's rule the shared neurons go from {first.paper:,} to {last.paper:,}."
    )
    grown = [
        f"{rule} rule: exponent {fit.power_law.alpha:.2f}{_between(fit.power_law.interval)}"
        for rule, fit in analysis.fits.items()
        if fit.power_law is not None
    ]
    return (sizes, f"{'; '.join(grown)}.".capitalize()) if grown else (sizes,)


def _between(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" (95% interval {interval[0]:.2f} to {interval[1]:.2f})"


def _found(inputs: ReportInputs, derived: Derived) -> str:
    found, peers = inputs.rosetta, listed([peer.name for peer in inputs.peers])
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
    by = _maker(inputs)
    if kept is None:
        return _foreseen(inputs, derived, by)
    quality = (
        "its precision and recall were not measured"
        if kept.precision is None or kept.recall is None
        else f"{kept.precision:.1%} of them are on target, and {kept.recall:.1%} of the target was found"
    )
    return (
        f"{by} kept {kept.kept:,} of {kept.pool:,} documents ({derived.kept_fraction:.1%}) for “{target}”: {quality}."
    )


def _maker(inputs: ReportInputs) -> str:
    """What the filter is made of, by the scorer that was chosen."""
    scorer = next((scorer.name for scorer in inputs.scorers if scorer.chosen), None)
    used = len(inputs.neuron_set)
    if not used:
        return "The filter"
    neurons = "one of them" if used == 1 or scorer == "single" else f"{used} of them"
    return f"A filter made of {neurons}" + (" and of the documents' wording" if scorer == "blended" else "")


def _foreseen(inputs: ReportInputs, derived: Derived, by: str) -> str:
    """What held-out documents say of a filter that was not run."""
    row = next((row for row in derived.operating if row.threshold == inputs.threshold), None)
    if row is None or row.precision is None or row.recall is None:
        return f"No filter for “{inputs.target_domain}” was run, so its precision and recall were not measured."
    return (
        f"{by} keeps {row.document_share:.1%} of held-out documents for “{inputs.target_domain}” at a probability of "
        f"{inputs.threshold:g}: {row.precision:.1%} of them are on target, and {row.recall:.1%} of the target is found."
    )
