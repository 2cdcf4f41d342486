"""Choosing neurons: on one part of the sources, measured on another, within the limits asked for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curator.atlas.domains import auroc_N
from curator.atlas.store import Atlas
from curator.errors import InsufficientDataError
from curator.neuronset.measures import by_domain
from curator.neuronset.parts import Part, document_parts, part_of
from curator.neuronset.select import choose_neurons
from curator.settings import NeuronSetSettings
from tests.atlas.core_world import make_atlas, make_corpus
from tests.neuronset.made_set import SET_SETTINGS, make_rosetta


def test_a_source_lies_in_one_part_and_parts_have_their_shares() -> None:
    settings = NeuronSetSettings(fit_share=0.5)
    parts = [part_of(f"book-{number}", settings) for number in range(4000)]
    shares = {part: parts.count(part) / 4000 for part in Part}
    assert shares[Part.FIT] == pytest.approx(0.5, abs=0.03)
    assert shares[Part.VALIDATE] == pytest.approx(0.25, abs=0.03)
    assert shares[Part.REPORT] == pytest.approx(0.25, abs=0.03)
    assert parts == [part_of(f"book-{number}", settings) for number in range(4000)]
    other = NeuronSetSettings(fit_share=0.5, seed=1)
    assert parts != [part_of(f"book-{number}", other) for number in range(4000)]


def test_documents_of_one_source_are_in_one_part(world: Path) -> None:
    atlas = make_atlas("gpt2", world)
    parts = document_parts(atlas, SET_SETTINGS)
    by_source: dict[str, set[str]] = {}
    for entry, part in zip(atlas.manifest.documents, parts, strict=True):
        by_source.setdefault(entry.source, set()).add(str(part))
    assert all(len(found) == 1 for found in by_source.values())
    assert {str(part) for part in parts} == {str(part) for part in Part}


def _one_source_for(atlas: Atlas, domain: str) -> Atlas:
    documents = tuple(
        entry.model_copy(update={"source": "c4"}) if entry.domain == domain else entry
        for entry in atlas.manifest.documents
    )
    return replace(atlas, manifest=atlas.manifest.model_copy(update={"documents": documents}))


def test_a_source_that_names_the_data_set_leaves_documents_of_its_domain_in_every_part(world: Path) -> None:
    rosetta = make_rosetta("gpt2", world)
    given = replace(rosetta, anchor=_one_source_for(rosetta.anchor, "digits"))
    parts = document_parts(given.anchor, SET_SETTINGS)
    domain = np.asarray([entry.domain for entry in given.anchor.manifest.documents])
    assert all(5 < (parts[domain == "digits"] == part).sum() < 45 for part in Part)
    others = domain != "digits"
    np.testing.assert_array_equal(parts[others], document_parts(rosetta.anchor, SET_SETTINGS)[others])
    assert len(choose_neurons(given, "digits", SET_SETTINGS).index)


@pytest.mark.parametrize("most", [1, 3, 12, 1000])
def test_at_most_so_many_neurons_are_chosen_each_once(world: Path, most: int) -> None:
    rosetta = make_rosetta("gpt2", world)
    chosen = choose_neurons(rosetta, "digits", SET_SETTINGS.model_copy(update={"max_neurons": most}))
    eligible = len(rosetta.chosen_by(chosen.rule))
    assert len(chosen.index) == min(most, eligible)
    assert len(set(chosen.index.tolist())) == len(chosen.index)
    np.testing.assert_array_equal(rosetta.index[chosen.position], chosen.index)


def test_the_first_neuron_is_the_best_on_the_fit_documents(world: Path) -> None:
    rosetta = make_rosetta("gpt2", world)
    chosen = choose_neurons(rosetta, "digits", SET_SETTINGS)
    fit = document_parts(rosetta.anchor, SET_SETTINGS) == Part.FIT
    positive = np.asarray([d.domain == "digits" for d in make_corpus().documents])
    eligible = rosetta.index[rosetta.chosen_by(chosen.rule)]
    auroc = auroc_N(rosetta.anchor["document_mean_DN"][:, eligible][fit], positive[fit])
    assert chosen.index[0] == eligible[np.argmax(np.abs(auroc - 0.5))]
    assert abs(chosen.auroc_fit[0] - 0.5) == pytest.approx(np.abs(auroc - 0.5).max())


def test_report_numbers_come_from_report_documents_alone(world: Path) -> None:
    rosetta = make_rosetta("gpt2", world)
    chosen = choose_neurons(rosetta, "digits", SET_SETTINGS)
    report = document_parts(rosetta.anchor, SET_SETTINGS) == Part.REPORT
    positive = np.asarray([d.domain == "digits" for d in make_corpus().documents])
    values = rosetta.anchor["document_mean_DN"][:, chosen.index] * chosen.sign
    np.testing.assert_allclose(chosen.report.auroc, auroc_N(values[report], positive[report]))


def test_only_gated_neurons_are_turned_and_then_point_at_the_target(world: Path) -> None:
    assert (choose_neurons(make_rosetta("gpt2", world), "digits", SET_SETTINGS).sign == 1).all()
    gated = choose_neurons(make_rosetta("llama", world), "digits", SET_SETTINGS)
    assert set(gated.sign.tolist()) == {-1, 1}
    assert (gated.auroc_fit >= 0.5).all()


def test_no_neuron_lies_deeper_than_asked_for(world: Path) -> None:
    rosetta = make_rosetta("gpt2", world)
    everywhere = choose_neurons(rosetta, "digits", SET_SETTINGS.model_copy(update={"max_neurons": 100}))
    shallow = choose_neurons(rosetta, "digits", SET_SETTINGS.model_copy(update={"max_neurons": 100, "max_depth": 1}))
    assert rosetta.anchor.layer_of[everywhere.index].max() == 1
    assert (rosetta.anchor.layer_of[shallow.index] == 0).all()


def test_a_rule_that_leaves_too_few_neurons_gives_way_to_the_papers(world: Path) -> None:
    rosetta = make_rosetta("gpt2", world)
    strict = rosetta.counts()["strict"]
    wide = choose_neurons(rosetta, "digits", SET_SETTINGS.model_copy(update={"min_neurons": strict + 1}))
    assert wide.rule == "paper"
    if strict:
        kept = choose_neurons(rosetta, "digits", SET_SETTINGS.model_copy(update={"min_neurons": strict}))
        assert kept.rule == "strict"


def test_a_target_with_too_little_text_is_refused(world: Path) -> None:
    with pytest.raises(InsufficientDataError, match="more text"):
        choose_neurons(make_rosetta("gpt2", world), "poetry", SET_SETTINGS)


def _fire_by_definition(atlas: Atlas, index: np.ndarray, domain: str, side: str) -> np.ndarray:
    """Share of the top contexts of documents that did not choose over the domain's share of the spans of these documents."""
    domain_D = np.asarray([entry.domain for entry in atlas.manifest.documents])
    other_D = np.isin(document_parts(atlas, SET_SETTINGS), [Part.VALIDATE, Part.REPORT])
    spans_D = atlas["document_spans_D"] * other_D
    share = spans_D[domain_D == domain].sum() / spans_D.sum()
    found = []
    for row in atlas[f"{side}_document_Nk"][index]:
        kept = [document for document in row if document >= 0 and other_D[document]]
        found.append(np.mean(domain_D[kept] == domain) / share if kept else np.nan)
    return np.asarray(found)


def test_shares_of_the_text_are_of_spans_not_of_documents(world: Path) -> None:
    rosetta = make_rosetta("gpt2", world)
    chosen, atlas = choose_neurons(rosetta, "marks", SET_SETTINGS), rosetta.anchor
    domain = np.asarray([entry.domain for entry in atlas.manifest.documents])
    spans = atlas["document_spans_D"]
    share = spans[domain == "marks"].sum() / spans.sum()
    assert share < 0.3  # a third of the documents, but they are the short ones
    expected = _fire_by_definition(atlas, chosen.index, "marks", "top")
    np.testing.assert_allclose(chosen.report.normalized_fire, expected)
    assert np.isfinite(expected).any()


def test_no_context_of_a_document_that_chose_enters_what_is_stated_of_a_neuron(world: Path) -> None:
    rosetta = make_rosetta("gpt2", world)
    chosen = choose_neurons(rosetta, "digits", SET_SETTINGS)
    parts = document_parts(rosetta.anchor, SET_SETTINGS)
    top = rosetta.anchor["top_document_Nk"][chosen.index]
    other = (top >= 0) & np.isin(parts[top], [Part.VALIDATE, Part.REPORT])
    np.testing.assert_array_equal(chosen.contexts.number, other.sum(axis=1))
    assert (chosen.contexts.number < (top >= 0).sum(axis=1)).any()
    distinct = [len(set(row[kept].tolist())) for row, kept in zip(top, other, strict=True)]
    assert chosen.contexts.documents.tolist() == distinct
    np.testing.assert_array_equal(np.isnan(chosen.contexts.specialisation), np.asarray(distinct) < 2)


def test_a_table_by_domain_has_every_domain_for_every_neuron(world: Path) -> None:
    rosetta = make_rosetta("gpt2", world)
    chosen, atlas = choose_neurons(rosetta, "digits", SET_SETTINGS), rosetta.anchor
    table = by_domain(atlas, chosen.index, chosen.sign, document_parts(atlas, SET_SETTINGS))
    assert list(table) == list(atlas.manifest.domains)
    np.testing.assert_allclose(table["digits"].auroc, chosen.report.auroc)
    assert set(table["marks"].of(0)) == {
        "auroc",
        "average_precision",
        "d_prime",
        "mutual_information",
        "normalized_fire",
    }
    best = np.argmax(np.abs(table["digits"].auroc - 0.5))
    assert table["digits"].mutual_information[best] > 0.3


def test_the_top_contexts_of_a_turned_neuron_are_those_of_its_lowest_values(world: Path) -> None:
    rosetta = make_rosetta("llama", world)
    chosen, atlas = choose_neurons(rosetta, "digits", SET_SETTINGS), rosetta.anchor
    low, top = (_fire_by_definition(atlas, chosen.index, "digits", side) for side in ("low", "top"))
    np.testing.assert_allclose(chosen.report.normalized_fire, np.where(chosen.sign < 0, low, top))
    assert (np.diff(atlas["low_value_Nk"], axis=1) >= 0).all(), "lowest first"
    np.testing.assert_allclose(atlas["low_value_Nk"][:, 0], atlas["low"])
