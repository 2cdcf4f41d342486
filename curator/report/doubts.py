"""Every doubt in words: what a careful reader should hold against a report, from its own numbers.

Pure: inputs, fits and derived numbers in, sentences out. It does not know what would be a good result, only which results
cannot be trusted far, and what a report of this kind can never show.
"""

from __future__ import annotations

from collections.abc import Iterator

from curator.report.derived import Derived
from curator.report.inputs import FilterResult, ReportInputs
from curator.report.parts import NeuronEntry
from curator.scaling.analysis import StudyAnalysis

_FEW_TARGETS = 50
_CHANCE_SHARE = 0.1
_SELECTION_LOSS = 0.05
_LOW_AGREEMENT = 0.5
_UNSURE_Q = 0.05
_NAMED = 6

_TOKENS = (
    "A high AUROC says that a neuron separates these domains in this probe corpus. Whether it follows the subject or "
    "only some frequent tokens of it is not shown here: token identity was not controlled for."
)
_WORDS = (
    "Much of what neurons tell is which words there are. Where of every word only counts how its value differs from that of the "
    "same word elsewhere, the neurons' median AUROC is {controlled:.2f} in place of {plain:.2f} (0.5 is chance). A word that one "
    "domain alone has counts for nothing there, so the truth lies between."
)
_TRAINING = "That the kept text is better to train on is not shown here: no model was trained on it."
_SOME_TEXT = "All counts are of one probe corpus; other text, or more of it, gives others."


def doubts(inputs: ReportInputs, study: StudyAnalysis | None, derived: Derived) -> tuple[str, ...]:
    """Everything a careful reader should hold against the page, most general last."""
    of_study = tuple(_doubts_of_scaling(inputs, study))
    if inputs.subject == "study":
        return (*of_study, _SOME_TEXT)
    return (
        *of_study,
        *_doubts_of_matching(inputs, derived),
        *_doubts_of_neurons(inputs),
        *_doubts_of_filter(inputs),
        _doubt_of_words(derived),
        _TRAINING,
    )


def doubts_of_set(inputs: ReportInputs, derived: Derived) -> tuple[str, ...]:
    """Those of them that its own numbers raise against a neuron set; what holds of every set without a study is left out."""
    return (
        *_doubts_of_matching(inputs, derived),
        *_doubts_of_neurons(inputs),
        *_doubts_of_wording(inputs),
        _doubt_of_words(derived),
    )


def _doubt_of_words(derived: Derived) -> str:
    plain, controlled = derived.auroc_median, derived.auroc_controlled_median
    return _TOKENS if plain is None or controlled is None else _WORDS.format(plain=plain, controlled=controlled)


def _doubts_of_scaling(inputs: ReportInputs, study: StudyAnalysis | None) -> list[str]:
    if inputs.study is None or study is None:
        return ["How the count grows with model size was not measured."]
    found = [f"{fit.rule.capitalize()} rule: {fit.verdict}" for fit in study.fits.values() if not fit.enough]
    for fit in study.fits.values():
        if fit.excluded:
            names = ", ".join(fit.excluded)
            found.append(
                f"{fit.rule.capitalize()} rule: {names} had a count of zero and could not enter the power-law fit."
            )
    apart = sorted(
        {name for point in inputs.study.points for part in point.specialisation for name in part.by_document}
    )
    if apart:
        found.append(
            f"{listed(apart)}: single documents were split in the study, so passages of one source may lie on both sides."
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


def _doubts_of_neurons(inputs: ReportInputs) -> list[str]:
    neurons, found = inputs.neuron_set, []
    fell = [neuron.id for neuron in neurons if _loss(neuron) > _SELECTION_LOSS]
    if fell:
        found.append(
            f"{_some(fell)}: the AUROC fell by more than {_SELECTION_LOSS} on the documents that did not choose."
        )
    if inputs.set_rule == "paper":
        found.append(
            "Too few neurons pass the strict rule, so the set was chosen by the paper's rule: some of its neurons may "
            "be matched by chance."
        )
    unsure = [neuron.id for neuron in neurons if any((match.q or 0.0) > _UNSURE_Q for match in neuron.matches)]
    if unsure:
        found.append(f"{_some(unsure)}: a match has a q-value above {_UNSURE_Q}, so it may be a coincidence.")
    if any(match.q is None for neuron in neurons for match in neuron.matches):
        found.append("Some matches carry no q-value, so their chance of being a coincidence is not stated.")
    if inputs.other_targets:
        found.append(
            f"The set also filters for {listed(list(inputs.other_targets))}; scorers, thresholds and samples here are "
            f"those for {inputs.target_domain} alone."
        )
    if inputs.split_by_document:
        found.append(
            f"{listed(list(inputs.split_by_document))}: too few sources, or one that holds most of the text, so single documents "
            "were split; passages of one source may lie on both sides, and what is stated of held-out text may be too good."
        )
    return found


def _some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    shown = names[:_NAMED]
    return ", ".join(shown) if len(names) == len(shown) else f"{', '.join(shown)} and {len(names) - len(shown)} more"


def _loss(neuron: NeuronEntry) -> float:
    if neuron.auroc_choose is None or neuron.auroc_report is None:
        return 0.0
    return neuron.auroc_choose - neuron.auroc_report


def _doubts_of_filter(inputs: ReportInputs) -> list[str]:
    result: FilterResult | None = inputs.filter
    found = list(_doubts_of_wording(inputs))
    if result is None:
        return [*found, "The filter's precision and recall were not measured."]
    if result.oracle is not None and result.oracle < _FEW_TARGETS:
        found.append(
            f"The pool held only {result.oracle} documents of the target; the intervals of its shares are wide."
        )
    if not inputs.calibration:
        found.append("How far the predicted probabilities can be taken at their word was not measured.")
    return found


def _doubts_of_wording(inputs: ReportInputs) -> Iterator[str]:
    precision = {scorer.name: scorer.test_ap for scorer in inputs.scorers}
    chosen = [scorer.name for scorer in inputs.scorers if scorer.chosen]
    alone, both = precision.get("linear"), precision.get("blended")
    if chosen == ["blended"] and alone is not None and both is not None:
        yield (
            "Half of the score is the documents' wording, which knows the vocabulary of its examples only. Neurons alone (the "
            f"linear scorer) have an average precision of {alone:.3f} on held-out text, both together {both:.3f}."
        )


def listed(names: list[str]) -> str:
    """Names in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
