"""The sentences follow the numbers, and every weakness of the inputs becomes a doubt."""

from curator.report.findings import find
from curator.report.inputs import ReportInputs, ScorerEntry
from curator.scaling.points import NullCounts, Study


def all_doubts(inputs: ReportInputs) -> str:
    return "\n".join(find(inputs).doubts)


def changed(inputs: ReportInputs, part: str, **update) -> ReportInputs:
    return inputs.model_copy(update={part: getattr(inputs, part).model_copy(update=update)})


def test_the_headline_puts_the_strict_count_first_and_every_count_beside_its_null(inputs: ReportInputs):
    found, filtered = find(inputs).headline
    assert "66 of neox-128x4's 2,048 neurons (3.2%)" in found and "scrambled documents give 0" in found
    assert "Without a threshold there are 121; chance alone gives 5" in found
    assert "132 of 2,100 documents" in filtered and "94.7%" in filtered and "96.2%" in filtered


def test_the_headline_falls_back_to_the_paper_rule_where_the_strict_one_was_not_applied(inputs: ReportInputs):
    found, _ = find(changed(inputs, "rosetta", strict=None)).headline
    assert "121 of neox-128x4's 2,048 neurons (5.9%)" in found and "chance alone gives 5" in found


def test_the_headline_counts_the_neurons_of_the_set(inputs: ReportInputs):
    assert "A filter made of 3 of them" in find(inputs).headline[1]


def _by(inputs: ReportInputs, name: str) -> ReportInputs:
    scorers = [scorer.model_copy(update={"chosen": False}) for scorer in inputs.scorers if scorer.name != name]
    chosen = ScorerEntry.model_validate({"name": name, "test_ap": 0.98, "chosen": True})
    return inputs.model_copy(update={"scorers": (*scorers, chosen)})


def test_the_headline_says_where_the_filter_is_one_neuron_or_half_wording(inputs: ReportInputs):
    assert "A filter made of one of them kept" in find(_by(inputs, "single")).headline[1]
    assert "A filter made of 3 of them and of the documents' wording kept" in find(_by(inputs, "blended")).headline[1]


def test_wording_in_the_score_becomes_a_doubt_with_what_neurons_alone_do(inputs: ReportInputs):
    assert "wording" not in all_doubts(inputs)
    said = all_doubts(_by(inputs, "blended"))
    assert "average precision of 0.961 on held-out text, both together 0.980" in said
    assert "Half of the score" in all_doubts(_by(inputs, "blended").model_copy(update={"filter": None}))


def test_without_a_run_the_headline_says_what_held_out_documents_foretell(inputs: ReportInputs):
    sentence = find(inputs.model_copy(update={"filter": None})).headline[1]
    assert "keeps 23.8% of held-out documents" in sentence and "at a probability of 0.5" in sentence
    assert "63.2% of them are on target, and 75.0% of the target is found" in sentence


def test_the_headline_admits_what_was_not_measured(bare: ReportInputs):
    assert all("not measured" in sentence for sentence in find(bare).headline)


def test_a_split_by_document_becomes_a_doubt(inputs: ReportInputs):
    assert "both sides" not in all_doubts(inputs)
    said = all_doubts(inputs.model_copy(update={"split_by_document": ("legal", "prose")}))
    assert "legal and prose: too few sources" in said and "passages of one source may lie on both sides" in said


def test_the_doubt_about_tokens_has_numbers_where_token_identity_was_controlled_for(inputs: ReportInputs):
    assert "token identity was not controlled for" in all_doubts(inputs)
    plain, controlled = (0.9, 0.2, 0.8), (0.7, 0.4, 0.5)  # the second speaks against: turned, 0.8 and 0.6
    neurons = tuple(
        neuron.model_copy(update={"auroc_report": one, "auroc_controlled": two})
        for neuron, one, two in zip(inputs.neuron_set, plain, controlled, strict=True)
    )
    said = all_doubts(inputs.model_copy(update={"neuron_set": neurons}))
    assert "median AUROC is 0.60 in place of 0.80" in said and "was not controlled for" not in said


def test_few_sizes_become_a_doubt(inputs: ReportInputs):
    assert inputs.study is not None
    assert "Not enough sizes" not in all_doubts(inputs)
    short = Study(points=inputs.study.points[:3], probe_fingerprint="f")
    assert "Paper rule: Not enough sizes: 3" in all_doubts(inputs.model_copy(update={"study": short}))


def test_a_zero_count_becomes_a_doubt(inputs: ReportInputs):
    assert inputs.study is not None
    point = inputs.study.points[0].model_copy(update={"strict": 0})
    grown = inputs.model_copy(update={"study": inputs.study.with_point(point)})
    assert "32x2 had a count of zero" in all_doubts(grown)


def test_many_chance_matches_become_a_doubt(inputs: ReportInputs):
    assert "what chance gives" not in all_doubts(inputs)
    assert "about 50% of the matches" in all_doubts(changed(inputs, "rosetta", decoy_rotation=NullCounts(paper=60)))


def test_the_worse_null_counts(inputs: ReportInputs):
    derived = find(
        changed(inputs, "rosetta", decoy_derangement=NullCounts(paper=12), decoy_rotation=NullCounts(paper=3))
    ).derived
    assert derived.chance_share == 12 / 121


def test_unmeasured_controls_become_doubts(inputs: ReportInputs):
    text = all_doubts(
        changed(
            inputs,
            "rosetta",
            certificate=None,
            half_jaccard=None,
            decoy_derangement=NullCounts(),
            decoy_rotation=NullCounts(),
        )
    )
    assert "float64" in text and "two halves" in text and "No decoy was matched" in text


def test_low_agreement_of_the_halves_becomes_a_doubt(inputs: ReportInputs):
    assert "Jaccard 0.31" in all_doubts(changed(inputs, "rosetta", half_jaccard=0.31))


def test_a_neuron_that_fell_on_the_reported_half_is_named(inputs: ReportInputs):
    fallen = inputs.neuron_set[0].model_copy(update={"auroc_report": 0.8})
    assert "L1/U317: the AUROC fell" in all_doubts(inputs.model_copy(update={"neuron_set": (fallen,)}))


def test_of_many_weak_neurons_some_are_named_and_all_are_counted(inputs: ReportInputs):
    fallen = tuple(inputs.neuron_set[0].model_copy(update={"id": f"L0/U{n}", "auroc_report": 0.5}) for n in range(9))
    assert "L0/U4, L0/U5 and 3 more: the AUROC fell" in all_doubts(inputs.model_copy(update={"neuron_set": fallen}))


def test_a_set_that_the_strict_rule_could_not_fill_becomes_a_doubt(inputs: ReportInputs):
    assert "Too few neurons pass the strict rule" not in all_doubts(inputs)
    assert "Too few neurons pass the strict rule" in all_doubts(inputs.model_copy(update={"set_rule": "paper"}))


def test_a_match_that_may_be_a_coincidence_becomes_a_doubt(inputs: ReportInputs):
    neuron = inputs.neuron_set[0]
    weak = neuron.model_copy(update={"matches": (neuron.matches[0].model_copy(update={"q": 0.2}),)})
    assert f"{neuron.id}: a match has a q-value above 0.05" in all_doubts(
        inputs.model_copy(update={"neuron_set": (weak,)})
    )


def test_other_targets_of_the_set_are_named(inputs: ReportInputs):
    assert "also filters for biology" in all_doubts(inputs.model_copy(update={"other_targets": ("biology",)}))


def test_few_targets_in_the_pool_become_a_doubt(inputs: ReportInputs):
    assert "only 12 documents" in all_doubts(changed(inputs, "filter", oracle=12))


def test_the_limits_of_every_report_are_always_stated(inputs: ReportInputs, bare: ReportInputs):
    for given in (inputs, bare):
        assert "token identity was not controlled for" in all_doubts(given) and "no model was trained" in all_doubts(
            given
        )
