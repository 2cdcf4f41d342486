"""Streamed span values against plain hooks, one window and one span at a time."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.atlas import spanvalues
from curator.atlas.spankeys import SpanKeys
from curator.atlas.spanvalues import Reading, SpanTable, shared_boundaries, span_values
from curator.errors import ConfigError, ModelError
from curator.lm.backbone import Backbone
from curator.lm.batching import Window, micro_batches, windows
from tests.atlas.core_world import SETTINGS, make_backbone, make_corpus, raw_spans

KEYS = SpanKeys(make_corpus(12), SETTINGS)


def _gathered(tables: list[SpanTable], model: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(document, span) of every row, sorted, and the values in that order."""
    places = np.concatenate([np.stack([table.document_K, table.span_K], axis=1) for table in tables])
    values = np.concatenate([table.values[model].numpy() for table in tables])
    order = np.lexsort((places[:, 1], places[:, 0]))
    return places[order], values[order]


def _raw(backbone: Backbone) -> tuple[np.ndarray, np.ndarray]:
    values = list(raw_spans(backbone, make_corpus(12)))
    places = [(document, span) for document, table in enumerate(values) for span in range(len(table))]
    stacked = np.concatenate(values)
    covered = ~np.isnan(stacked[:, 0])
    return np.asarray(places)[covered], stacked[covered]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_universal_values_are_those_of_plain_hooks_and_uncovered_spans_are_absent(kind: str, world: Path) -> None:
    backbone = make_backbone(kind, world)
    places, values = _gathered(list(span_values([Reading(backbone)], KEYS)))
    raw_places, raw_values = _raw(backbone)
    np.testing.assert_array_equal(places, raw_places)
    np.testing.assert_allclose(values, raw_values, atol=2e-5)


def test_tables_are_bounded_and_of_one_fold_and_their_size_changes_nothing(world: Path) -> None:
    backbone = make_backbone("gpt_neox", world)
    row_bytes = 4 * backbone.neurons
    small = list(span_values([Reading(backbone)], KEYS, table_bytes=150 * row_bytes))
    large = list(span_values([Reading(backbone)], KEYS))
    assert len(large) <= SETTINGS.folds < len(small)
    assert max(len(table.span_K) for table in small) <= 150
    assert [table.fold for table in small] == sorted(table.fold for table in small)
    for table in small:
        assert {KEYS.places(int(document)).fold for document in table.document_K} == {table.fold}
        assert set(table.fold_K.tolist()) == {table.fold}
    np.testing.assert_array_equal(_gathered(small)[0], _gathered(large)[0])
    np.testing.assert_allclose(_gathered(small)[1], _gathered(large)[1], atol=2e-5)


def test_wanted_neurons_are_columns_of_all_neurons_and_the_layers_above_are_not_computed(world: Path) -> None:
    backbone = make_backbone("gpt2", world)
    wanted = np.asarray([0, 5, 30])
    assert wanted[-1] < backbone.sites[0].width
    places, every = _gathered(list(span_values([Reading(backbone)], KEYS)))
    calls: list[int] = []
    handle = backbone.sites[1].down.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        some_places, some = _gathered(list(span_values([Reading(backbone, wanted)], KEYS)))
    finally:
        handle.remove()
    assert calls == []
    np.testing.assert_array_equal(places, some_places)
    np.testing.assert_allclose(some, every[:, wanted], atol=2e-5)


def test_wanted_neurons_of_several_layers_keep_their_flat_order(world: Path) -> None:
    backbone = make_backbone("llama", world)
    wanted = np.asarray([2, 47, 48, 90])
    _, every = _gathered(list(span_values([Reading(backbone)], KEYS)))
    _, some = _gathered(list(span_values([Reading(backbone, wanted)], KEYS)))
    np.testing.assert_allclose(some, every[:, wanted], atol=2e-5)


def test_two_models_are_given_on_the_spans_that_both_cover(world: Path) -> None:
    names = ("gpt2", "llama")
    tables = list(span_values([Reading(make_backbone(name, world)) for name in names], KEYS))
    raw = {
        name: dict(zip(map(tuple, p.tolist()), v, strict=True))
        for name in names
        for p, v in [_raw(make_backbone(name, world))]
    }
    both = sorted(set(raw["gpt2"]) & set(raw["llama"]))
    assert len(both) < max(len(raw["gpt2"]), len(raw["llama"]))
    for model, name in enumerate(names):
        places, values = _gathered(tables, model)
        assert list(map(tuple, places.tolist())) == both
        np.testing.assert_allclose(values, np.stack([raw[name][place] for place in both]), atol=2e-5)


def _plain_boundaries(tokens: list[list[tuple[int, int]]], size: int) -> list[int]:
    """Byte by byte: places where some token of each model ends and none of any model crosses."""
    return [
        place
        for place in range(1, size)
        if all(
            any(end == place for start, end in ranges if end > start)
            and not any(start < place < end for start, end in ranges)
            for ranges in tokens
        )
    ]


def _hidden(backbone: Backbone, window: Window) -> np.ndarray:
    """All neurons of every token of a window, (T, N) float64, by plain hooks."""
    captured: list[torch.Tensor] = []
    handles = [
        site.down.register_forward_pre_hook(lambda _, x: captured.append(x[0].reshape(len(window), -1)))
        for site in backbone.sites
    ]
    backbone.model(input_ids=torch.from_numpy(window.input_ids).long()[None], use_cache=False)
    for handle in handles:
        handle.remove()
    return torch.cat(captured, dim=1).double().numpy()


def test_shared_values_are_the_unweighted_means_of_the_tokens_between_shared_boundaries(world: Path) -> None:
    """One short document, whose tokens fit one window, read by hand."""
    corpus = make_corpus(12)
    backbones = [make_backbone(name, world) for name in ("gpt2", "gpt_neox")]
    document = replace(corpus.documents[0], text=corpus.documents[0].text[:60])
    keys = SpanKeys(replace(corpus, documents=(document,)), SETTINGS.model_copy(update={"skip_spans": 0}))
    tables = list(span_values([Reading(backbone) for backbone in backbones], keys, spans="shared"))
    found = [windows(backbone.tokenizer, [document.text], 60, SETTINGS.skip_tokens) for backbone in backbones]
    assert [len(mine) for mine in found] == [1, 1]
    tokens = [list(map(tuple, mine[0].bytes_T2.tolist())) for mine in found]
    size = len(document.text.encode())
    spans = list(pairwise([0, *_plain_boundaries(tokens, size), size]))
    means: list[dict[int, np.ndarray]] = []
    for backbone, (window,), ranges in zip(backbones, found, tokens, strict=True):
        hidden = _hidden(backbone, window)
        members = [
            [t for t, (a, b) in enumerate(ranges) if start <= a < b <= stop and window.scored[t]]
            for start, stop in spans
        ]
        means.append({span: hidden[inside].mean(axis=0) for span, inside in enumerate(members) if inside})
    both = sorted(set(means[0]) & set(means[1]))
    assert len(both) > 5
    for model in range(2):
        places, values = _gathered(tables, model)
        assert places[:, 1].tolist() == both
        np.testing.assert_allclose(values, np.stack([means[model][span] for span in both]), atol=2e-5)


def test_shared_spans_are_coarser_than_either_tokenization(world: Path) -> None:
    backbones = [make_backbone(name, world) for name in ("gpt2", "llama")]
    shared = sum(len(table.span_K) for table in span_values([Reading(b) for b in backbones], KEYS, spans="shared"))
    tokens = [
        sum(int(window.scored.sum()) for window in windows(b.tokenizer, [d.text for d in KEYS.documents], 40, 4))
        for b in backbones
    ]
    assert 0 < shared < min(tokens)


def test_a_token_that_crosses_or_a_space_left_out_makes_no_boundary_of_its_own() -> None:
    first = np.asarray([[0, 3], [3, 7], [7, 9]])
    left_out = np.asarray([[0, 3], [4, 7], [8, 9]])
    inside_a_character = np.asarray([[0, 3], [3, 7], [4, 9]])
    assert shared_boundaries([first, left_out], 9)[:, 1].tolist() == [3, 7, 9]
    assert shared_boundaries([first, inside_a_character], 9)[:, 1].tolist() == [3, 9]
    assert shared_boundaries([first, np.zeros((0, 2), np.int64)], 9).tolist() == [[0, 9]]
    assert shared_boundaries([first], 0).shape == (0, 2)


_RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=12).map(
    lambda pairs: np.asarray([(start, min(30, start + size)) for start, size in pairs], np.int64).reshape(-1, 2)
)


@given(first=_RANGES, second=_RANGES)
@settings(deadline=None, max_examples=50)
def test_shared_boundaries_are_those_found_byte_by_byte_in_either_order(first: np.ndarray, second: np.ndarray) -> None:
    spans = shared_boundaries([first, second], 30)
    tokens = [list(map(tuple, ranges.tolist())) for ranges in (first, second)]
    assert spans[:-1, 1].tolist() == _plain_boundaries(tokens, 30)
    assert spans[0, 0] == 0
    assert spans[-1, 1] == 30
    np.testing.assert_array_equal(spans[1:, 0], spans[:-1, 1])
    np.testing.assert_array_equal(spans, shared_boundaries([second, first, first], 30))


def test_batches_are_as_large_as_a_layer_allows_however_many_layers_there_are(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, budgets = make_backbone("gpt2", world), []

    def watched(found: list[Window], budget: int):
        budgets.append(budget)
        return micro_batches(found, budget)

    _, whole = _gathered(list(span_values([Reading(backbone)], KEYS)))
    monkeypatch.setattr(spanvalues, "micro_batches", watched)
    monkeypatch.setattr(spanvalues, "_BATCH_BYTES", 4 * backbone.sites[0].width * 300)
    _, values = _gathered(list(span_values([Reading(backbone)], KEYS)))
    assert set(budgets) == {300}
    np.testing.assert_allclose(values, whole, atol=2e-5)


@pytest.mark.parametrize("wanted", [[], [3, 3], [5, 2], [-1], [96]])
def test_neurons_that_the_model_does_not_have_are_refused(wanted: list[int], world: Path) -> None:
    with pytest.raises(ConfigError, match="distinct ones of them in order"):
        Reading(make_backbone("gpt2", world), np.asarray(wanted, np.int64))


def test_an_activation_that_is_not_finite_is_an_error_that_names_the_model(world: Path) -> None:
    backbone = make_backbone("gpt2", world)
    handle = backbone.sites[1].down.register_forward_pre_hook(lambda _, x: (x[0] * torch.inf,), prepend=True)
    try:
        with pytest.raises(ModelError, match="not finite"):
            list(span_values([Reading(backbone)], KEYS))
    finally:
        handle.remove()
