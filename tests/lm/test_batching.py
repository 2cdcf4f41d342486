"""Windows cover each document once, byte ranges are right, batches keep to their budget and can be undone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from curator.errors import ConfigError, DocumentError
from curator.lm.backbone import load_backbone, tokenizer_fingerprint
from curator.lm.batching import Window, micro_batches, padding_ratio, start_tokens, windows
from curator.lm.taps import tap
from curator.zoo.catalog import resolve_model


def _byte_tokenizer(bos: bool) -> PreTrainedTokenizerFast:
    """One token a byte (plus 1); the offsets of a multi-byte character's tokens are all that character's."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({"<s>": 0} | {letter: place + 1 for place, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", model_max_length=16)


PLAIN, WITH_BOS = _byte_tokenizer(bos=False), _byte_tokenizer(bos=True)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=120)


def _window(length: int) -> Window:
    ids = np.arange(1, length + 1, dtype=np.int32)
    return Window(0, ids, np.zeros((length, 2), dtype=np.int64), np.ones(length, dtype=bool))


def test_start_tokens_are_those_that_the_tokenizer_adds() -> None:
    assert start_tokens(PLAIN) == ()
    assert start_tokens(WITH_BOS) == (0,)


@settings(deadline=None, max_examples=50)
@given(texts=st.lists(TEXT, max_size=4), longest=st.integers(6, 30), skip=st.integers(0, 5), bos=st.booleans())
def test_every_token_but_a_document_s_first_is_scored_exactly_once(
    texts: list[str], longest: int, skip: int, bos: bool
) -> None:
    tokenizer, lead = (WITH_BOS, max(0, skip - 1)) if bos else (PLAIN, skip)
    found = windows(tokenizer, texts, longest, skip)
    for place, text in enumerate(texts):
        mine = [window for window in found if window.document == place]
        whole = tokenizer([text], add_special_tokens=False)["input_ids"][0]
        scored = np.concatenate([window.input_ids[window.scored] for window in mine]) if mine else np.array([])
        assert scored.tolist() == whole[lead:]
        assert all(len(window) <= longest for window in mine)
        assert all(tuple(window.input_ids[:bos]) == (0,) * bos for window in mine)
        assert not any(window.scored[: max(skip, bos)].any() for window in mine)
        assert all(window.scored.any() for window in mine)


@settings(deadline=None, max_examples=50)
@given(text=TEXT, bos=st.booleans())
def test_byte_ranges_point_at_the_token_s_characters(text: str, bos: bool) -> None:
    data = text.encode()
    for window in windows(WITH_BOS if bos else PLAIN, [text], 24, skip=2):
        assert window.bytes_T2.shape == (len(window), 2)
        for start, end in window.bytes_T2[bos:]:
            assert len(data[start:end].decode()) == 1  # a whole character, cut at its boundaries
        assert np.all(np.diff(window.bytes_T2[bos:, 0]) >= 0)


@pytest.mark.parametrize("model", ["zoo:opt-32x2", "zoo:neox-32x2"])
def test_a_control_token_that_a_document_spells_is_read_as_its_characters(model: str) -> None:
    backbone = load_backbone(str(resolve_model(model)))
    before, special = tokenizer_fingerprint(backbone.tokenizer), backbone.tokenizer.all_special_tokens[0]
    text = f"one two {special} three four"
    (window,) = windows(backbone.tokenizer, [text], 64, skip=0)
    start = len(backbone.start_tokens)
    assert not set(window.input_ids[start:].tolist()) & set(backbone.tokenizer.all_special_ids)
    inside = (window.bytes_T2[start:, 0] >= 8) & (window.bytes_T2[start:, 1] <= 8 + len(special))
    assert inside.sum() > 1
    assert start_tokens(backbone.tokenizer) == backbone.start_tokens
    assert tokenizer_fingerprint(backbone.tokenizer) == before == backbone.tokenizer_fingerprint


def test_byte_ranges_of_a_mixed_text_are_exact() -> None:
    (window,) = windows(PLAIN, ["aß東🙂z"], 16, skip=0)
    ranges = [(0, 1)] + [(1, 3)] * 2 + [(3, 6)] * 3 + [(6, 10)] * 4 + [(10, 11)]
    assert window.bytes_T2.tolist() == [list(pair) for pair in ranges]


def test_special_tokens_have_no_bytes() -> None:
    (window,) = windows(WITH_BOS, ["abc"], 16, skip=0)
    assert window.bytes_T2.tolist() == [[0, 0], [0, 1], [1, 2], [2, 3]]
    assert window.scored.tolist() == [False, True, True, True]


def test_later_windows_repeat_as_many_tokens_as_they_skip() -> None:
    first, second = windows(PLAIN, ["abcdefghijkl"], 8, skip=3)
    assert first.bytes_T2[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert second.bytes_T2[:, 0].tolist() == [5, 6, 7, 8, 9, 10, 11]
    assert second.scored.tolist() == [False] * 3 + [True] * 4


def test_only_the_first_windows_are_kept_when_asked() -> None:
    found = windows(PLAIN, ["a" * 100, "b" * 100, "c"], 8, skip=0, max_windows=2)
    assert [window.document for window in found] == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("text", ["", "abc", "abcd"])
def test_a_text_with_nothing_to_score_has_no_window(text: str) -> None:
    assert windows(PLAIN, [text], 8, skip=4) == []


def test_a_text_over_the_limit_of_the_tokenizer_does_not_warn(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("transformers").propagate = True
    try:
        assert len(windows(PLAIN, ["word " * 100], 16)) > 1
    finally:
        logging.getLogger("transformers").propagate = False
    assert caplog.records == []


def test_truncation_set_by_an_earlier_call_is_not_inherited() -> None:
    tokenizer = _byte_tokenizer(bos=False)
    tokenizer(["abcdef"], truncation=True, max_length=3)
    (window,) = windows(tokenizer, ["abcdefgh"], 16, skip=0)
    assert len(window) == 8


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(DocumentError, match="Text 1 holds a lone surrogate"):
        windows(PLAIN, ["fine", "bro\ud800ken"], 16)


@pytest.mark.parametrize(("longest", "skip"), [(4, 4), (1, 0), (0, 0), (8, -1)])
def test_a_window_without_room_is_refused(longest: int, skip: int) -> None:
    with pytest.raises(ConfigError):
        windows(WITH_BOS, ["text"], longest, skip)


@settings(deadline=None, max_examples=50)
@given(lengths=st.lists(st.integers(1, 40), max_size=60), budget=st.integers(1, 200), even=st.booleans())
def test_batches_hold_each_window_once_within_the_budget(lengths: list[int], budget: int, even: bool) -> None:
    items = [_window(length) for length in lengths]
    restored: dict[int, list[int]] = {}
    for batch in micro_batches(items, budget, even=even):
        assert batch.input_ids.shape == batch.attention_mask.shape == (len(batch.indices), batch.input_ids.shape[1])
        assert batch.input_ids.numel() <= budget or len(batch.indices) == 1
        for row, index in enumerate(batch.indices):
            assert index not in restored
            mask = batch.attention_mask[row]
            assert torch.all(mask[:-1] >= mask[1:])  # padding on the right only
            restored[index] = batch.input_ids[row][mask.bool()].tolist()
    assert [restored[index] for index in range(len(items))] == [item.input_ids.tolist() for item in items]


def test_batching_depends_on_nothing_but_lengths() -> None:
    items = [_window(length) for length in (3, 9, 3, 7, 9)]
    assert [batch.indices for batch in micro_batches(items, 18)] == [(1, 4), (3,), (0, 2)]


@settings(deadline=None, max_examples=50)
@given(lengths=st.lists(st.integers(1, 40), max_size=60), budget=st.integers(40, 400))
def test_even_batches_are_as_many(lengths: list[int], budget: int) -> None:
    items = [_window(length) for length in lengths]
    assert len(list(micro_batches(items, budget, even=True))) <= len(list(micro_batches(items, budget)))


def test_even_batches_leave_no_small_one_over() -> None:
    items = [_window(10)] * 21
    assert [len(batch.indices) for batch in micro_batches(items, 100)] == [10, 10, 1]
    assert [len(batch.indices) for batch in micro_batches(items, 100, even=True)] == [7, 7, 7]


def test_sorting_by_length_saves_most_padding() -> None:
    rng = np.random.default_rng(3)
    items = [_window(int(length)) for length in rng.integers(8, 129, size=400)]
    arrival = [batch for at in range(0, 400, 16) for batch in micro_batches(items[at : at + 16], 1 << 20)]
    assert padding_ratio(micro_batches(items, 2048)) < 0.05
    assert padding_ratio(micro_batches(items, 16_384)) < 0.15
    assert padding_ratio(arrival) > 0.4
    assert padding_ratio([]) == 0.0


@pytest.mark.parametrize("kind", ["gpt2", "opt", "llama", "gpt_neox", "falcon"])
def test_activations_do_not_depend_on_the_batch(kind: str, tiny_folder: Callable[[str], Path]) -> None:
    backbone = load_backbone(str(tiny_folder(kind)), device="cpu")
    texts = ["A first text.", "A second, rather longer text, with more of everything in it.", "Third!", "x = [1, 2]"]
    items = windows(backbone.tokenizer, texts, 24, skip=1)
    results: list[dict[int, torch.Tensor]] = []
    with tap(backbone, [1]) as tapped:
        for budget in (1, 4096):
            values: dict[int, torch.Tensor] = {}
            for batch in micro_batches(items, budget):
                hidden = tapped.run(batch.input_ids, batch.attention_mask)[1]
                values |= {index: hidden[row, : len(items[index])] for row, index in enumerate(batch.indices)}
            results.append(values)
    alone, together = results
    assert sorted(alone) == sorted(together) == list(range(len(items)))
    for index in alone:
        torch.testing.assert_close(alone[index], together[index], rtol=1e-4, atol=1e-5)
