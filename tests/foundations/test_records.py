"""Records are frozen values; a neuron's name reads back."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.records import Document, NeuronId, Rejection, RejectReason, Score, Span


@given(st.integers(0, 10_000), st.integers(0, 10_000_000))
@settings(deadline=None, max_examples=50)
def test_a_neuron_name_reads_back(layer: int, unit: int) -> None:
    neuron = NeuronId(layer, unit)
    assert NeuronId.parse(str(neuron)) == neuron


@pytest.mark.parametrize("text", ["", "L3", "L3/U", "3/17/2", "Lx/U1", "L1/U2/U3"])
def test_anything_else_is_no_neuron_name(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        NeuronId.parse(text)


def test_neurons_sort_by_layer_then_unit() -> None:
    assert sorted([NeuronId(2, 0), NeuronId(1, 9), NeuronId(1, 10)]) == [(1, 9), (1, 10), (2, 0)]
    assert str(NeuronId(1, 10)) == "L1/U10"


def test_records_are_frozen_and_metadata_is_empty_by_default() -> None:
    document = Document("a", "text")
    assert not document.metadata
    for record, name in ((document, "text"), (Span(0, 1), "end"), (Score("a", 1.0, 0.5, 3), "value")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, name, None)
    with pytest.raises(TypeError):
        document.metadata["x"] = 1  # type: ignore[index]


def test_reject_reasons_are_stable_words_in_shards() -> None:
    assert [str(reason) for reason in RejectReason] == [
        "invalid_utf8",
        "invalid_json",
        "not_a_record",
        "missing_field",
        "field_not_text",
        "empty_text",
        "record_too_large",
        "stream_truncated",
        "below_threshold",
        "over_budget",
        "no_spans",
        "scoring_failed",
        "duplicate",
        "near_duplicate",
        "contaminated",
        "prefiltered",
    ]
    assert Rejection("x:1", RejectReason("empty_text")).detail == ""
