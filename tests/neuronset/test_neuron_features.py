"""Document features against a slow referee: plain hooks, one window at a time, spans one by one."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.atlas.pooling import window_overlaps
from curator.errors import DocumentError
from curator.lm.backbone import Backbone
from curator.lm.batching import windows
from curator.neuronset import groups
from curator.neuronset.features import PEAK_TOKENS, NeuronChoice, document_features, stream_features
from curator.records import NeuronId
from curator.text.segmentation import universal_spans
from tests.atlas.core_world import make_backbone, make_corpus

CHOICE = NeuronChoice(
    (NeuronId(1, 40), NeuronId(0, 3), NeuronId(1, 2), NeuronId(0, 47)), (1, -1, -1, 1)
)  # not in order of layer or unit, on purpose
SKIP = 4


def _referee(backbone: Backbone, text: str) -> np.ndarray:
    """(3, K): mean over spans, root mean square of the positive part, mean of the highest 16."""
    found = windows(backbone.tokenizer, [text], backbone.max_tokens, SKIP)
    values: list[tuple[int, tuple[int, int], np.ndarray]] = []  # (window, bytes, value of each neuron)
    captured: dict[int, torch.Tensor] = {}
    handles = [
        s.down.register_forward_pre_hook(lambda _, x, layer=s.layer: captured.__setitem__(layer, x[0].clone()))
        for s in backbone.sites
    ]
    for number, window in enumerate(found):
        with torch.no_grad():
            backbone.model(input_ids=torch.from_numpy(window.input_ids).long()[None], use_cache=False)
        columns = [
            captured[n.layer].reshape(len(window), -1)[:, n.unit] * s
            for n, s in zip(CHOICE.neurons, CHOICE.signs, strict=True)
        ]
        hidden = torch.stack(columns, dim=1).double().numpy()
        values += [(number, tuple(window.bytes_T2[t]), hidden[t]) for t in range(len(window)) if window.scored[t]]
    for handle in handles:
        handle.remove()
    span_values = []
    for low, high in universal_spans(text).tolist():
        shared = [(number, min(high, e) - max(low, s), v) for number, (s, e), v in values if min(high, e) > max(low, s)]
        if shared:
            totals = {number: sum(c for n, c, _ in shared if n == number) for number, _, _ in shared}
            owner = max(sorted(totals), key=lambda number: totals[number])
            span_values.append(sum(c * v for n, c, v in shared if n == owner) / totals[owner])
    tokens = np.stack([v for _, _, v in values])
    peak = -np.sort(-tokens, axis=0)[:PEAK_TOKENS].mean(axis=0)
    return np.stack([np.mean(span_values, axis=0), np.sqrt((np.maximum(tokens, 0) ** 2).mean(axis=0)), peak])


def _texts() -> list[str]:
    longest_first = sorted((d.text for d in make_corpus().documents), key=len, reverse=True)
    return [
        longest_first[0],
        "the sed ut 7 the",
        "seven words are in this short text",
        *longest_first[-3:],
        longest_first[1] * 2,
    ]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_features_equal_a_slow_referees_over_one_and_several_windows(world: Path, kind: str) -> None:
    backbone, texts = make_backbone(kind, world), _texts()
    found = document_features(backbone, texts, CHOICE, skip_tokens=SKIP)
    cut = windows(backbone.tokenizer, texts, backbone.max_tokens, SKIP)
    counts = np.bincount([window.document for window in cut])
    assert counts.max() > 3
    assert counts.min() == 1
    assert 0 < found.tokens_D[1] < PEAK_TOKENS  # the peak of a short text is the mean of all its tokens
    for row, text in enumerate(texts):
        np.testing.assert_allclose(found.values_DfK[row], _referee(backbone, text), rtol=1e-4, atol=1e-5)
        assert found.tokens_D[row] == sum(int(w.scored.sum()) for w in cut if w.document == row)


def test_a_document_does_not_feel_its_neighbours(world: Path) -> None:
    backbone = make_backbone("gpt2", world)
    texts = [document.text for document in make_corpus().documents[:30]]
    together = document_features(backbone, texts, CHOICE, skip_tokens=SKIP)
    for row in (0, 7, 29):
        alone = document_features(backbone, [texts[row]], CHOICE, skip_tokens=SKIP)
        np.testing.assert_allclose(together.values_DfK[row], alone.values_DfK[0], rtol=1e-4, atol=1e-5)
    turned = document_features(backbone, texts[::-1], CHOICE, skip_tokens=SKIP)
    np.testing.assert_allclose(turned.values_DfK[::-1], together.values_DfK, rtol=1e-4, atol=1e-5)


def test_more_documents_than_a_group_keep_their_order(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, seen = make_backbone("gpt2", world), []
    texts = [document.text[:60] for document in make_corpus().documents] * 2
    monkeypatch.setattr(groups, "_MOST_DOCUMENTS", 100)
    found = document_features(backbone, texts, CHOICE, skip_tokens=SKIP, progress=seen.append)
    assert seen == [100, 200, 300, 360]
    np.testing.assert_allclose(found.values_DfK[:180], found.values_DfK[180:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_threads_change_no_feature(world: Path, monkeypatch: pytest.MonkeyPatch, lanes: int) -> None:
    backbone, before = make_backbone("llama", world), torch.get_num_threads()
    texts = [document.text for document in make_corpus().documents[:60]]
    monkeypatch.setattr(groups, "batch_budget", lambda _: 256)
    monkeypatch.setattr(groups, "_MOST_DOCUMENTS", 25)
    alone = document_features(backbone, texts, CHOICE, skip_tokens=SKIP, lanes=1)
    found = document_features(backbone, texts, CHOICE, skip_tokens=SKIP, lanes=lanes)
    np.testing.assert_allclose(found.values_DfK, alone.values_DfK, rtol=1e-5, atol=1e-6)
    assert torch.get_num_threads() == before


def test_an_error_in_a_thread_ends_the_reading_and_leaves_no_hook(world: Path) -> None:
    backbone = make_backbone("gpt2", world)
    texts = [document.text for document in make_corpus().documents[:30]]
    with pytest.raises(DocumentError, match="lone surrogate"):
        document_features(backbone, [*texts, "broken \ud800 text"], CHOICE, skip_tokens=SKIP, lanes=2)
    assert not any(module._forward_pre_hooks for module in backbone.model.modules())


@settings(deadline=None, max_examples=50)
@given(
    lengths=st.lists(st.lists(st.integers(0, 300), max_size=40), max_size=4),
    budget=st.integers(1, 4),
)
def test_groups_cover_every_batch_once_in_order_and_stay_near_the_budget(lengths: list[list[int]], budget: int) -> None:
    batches = [["x" * length for length in part] for part in lengths]
    found = list(groups.pieces(batches, budget))
    ends = np.cumsum([0, *[last for _, last in found]]).tolist()
    joined = [
        [text for (part, _), at in zip(found, ends, strict=False) if at == number for text in part]
        for number in range(len(batches))
    ]
    assert joined == batches
    assert ends[-1] == len(batches)
    most = budget * groups._BATCHES * groups._CHARACTERS_PER_TOKEN
    assert all(len(part) == 1 or sum(map(len, part)) <= most for part, _ in found)


def test_the_first_groups_are_small_for_nothing_runs_before_they_are_prepared() -> None:
    sizes = [len(part) for part, _ in groups.pieces([["x" * 30] * 1_000], budget=10)]
    assert sizes[:6] == [2, 4, 8, 16, 16, 16]
    later = [len(part) for part, _ in groups.pieces([["x" * 30] * 3, ["x" * 30] * 500], budget=10)]
    assert later[:5] == [2, 1, 8, 16, 16]  # once begun, no batch of texts begins small again


def test_batches_of_texts_have_the_features_that_they_have_alone(world: Path) -> None:
    backbone = make_backbone("gpt2", world)
    texts = [document.text for document in make_corpus().documents[:40]]
    batches = [texts[:15], [], ["x"], texts[15:]]
    found = list(stream_features(backbone, batches, CHOICE, skip_tokens=SKIP))
    assert len(found) == len(batches)
    for part, batch in zip(found, batches, strict=True):
        alone = document_features(backbone, batch, CHOICE, skip_tokens=SKIP)
        np.testing.assert_allclose(part.values_DfK, alone.values_DfK, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(part.tokens_D, alone.tokens_D)


def test_a_batch_is_asked_for_before_the_one_ahead_of_it_is_handed_out(world: Path) -> None:
    backbone, asked = make_backbone("gpt2", world), []

    def batches() -> Iterator[list[str]]:
        for number, document in enumerate(make_corpus().documents[:5]):
            asked.append(number)
            yield [document.text]

    seen = [len(asked) for _ in stream_features(backbone, batches(), CHOICE, skip_tokens=SKIP)]
    assert seen == [3, 4, 5, 5, 5]


def test_a_reading_that_is_left_early_leaves_no_hook_and_no_thread(world: Path) -> None:
    backbone, before = make_backbone("gpt2", world), threading.active_count()
    reading = stream_features(backbone, [[text] for text in _texts()], CHOICE, skip_tokens=SKIP)
    next(reading)
    reading.close()
    assert not any(module._forward_pre_hooks for module in backbone.model.modules())
    assert threading.active_count() == before


def test_weights_of_a_whole_group_are_those_of_its_documents_one_by_one(world: Path) -> None:
    backbone, texts = make_backbone("gpt2", world), ["", *_texts(), "x"]
    found = windows(backbone.tokenizer, texts, backbone.max_tokens, SKIP)
    weights = groups.span_weights(texts, found, np.asarray([w.document for w in found]))
    covered = np.zeros(len(texts))
    for window, part in zip(found, window_overlaps(found, lambda d: universal_spans(texts[d])), strict=True):
        covered[window.document] += len(part.spans)
    for window, part, weight in zip(
        found, window_overlaps(found, lambda d: universal_spans(texts[d])), weights, strict=True
    ):
        expected = np.bincount(part.token, weights=part.weight, minlength=len(window)) / max(
            1, covered[window.document]
        )
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-8)
    total = np.zeros(len(texts))
    for window, weight in zip(found, weights, strict=True):
        total[window.document] += weight.sum()
    np.testing.assert_allclose(total[covered > 0], 1, rtol=1e-5)


def test_texts_without_a_scored_token_are_nan_and_harm_no_other(world: Path) -> None:
    backbone, text = make_backbone("gpt2", world), _texts()[2]
    found = document_features(backbone, ["", "x", text], CHOICE, skip_tokens=SKIP)
    assert np.isnan(found.values_DfK[:2]).all()
    assert found.tokens_D[:2].tolist() == [0, 0]
    np.testing.assert_allclose(found.values_DfK[2], _referee(backbone, text), rtol=1e-4, atol=1e-5)
    assert np.isnan(document_features(backbone, ["", "x"], CHOICE, skip_tokens=SKIP).values_DfK).all()
    assert document_features(backbone, [], CHOICE, skip_tokens=SKIP).values_DfK.shape == (0, 3, 4)


def test_the_sign_turns_the_neuron_before_anything_is_pooled(world: Path) -> None:
    backbone, text = make_backbone("llama", world), _texts()[0]
    plus, minus = (
        document_features(backbone, [text], NeuronChoice((NeuronId(1, 5),), (sign,)), skip_tokens=SKIP).values_DfK[
            0, :, 0
        ]
        for sign in (1, -1)
    )
    assert plus[0] == pytest.approx(-minus[0], rel=1e-5)
    assert plus[2] != pytest.approx(-minus[2])  # the highest of -a are the lowest of a
