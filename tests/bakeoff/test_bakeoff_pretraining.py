"""Continued pretraining learns, is a function of its seed, and leaves the base model alone; zeroing neurons is undone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from curator.bakeoff.ablation import zeroed
from curator.bakeoff.language import CausalModel, load_causal, read_language
from curator.bakeoff.pretraining import (
    Losses,
    PretrainingSettings,
    continue_pretraining,
    mean_loss,
    recovered_gain,
    token_budget,
)
from curator.bakeoff.selectors import Lesson
from curator.bakeoff.tuned import FirstWindows, PerplexityDifference
from curator.errors import InsufficientDataError, ModelNotFoundError
from curator.neuronset.identify import ModelChoice
from curator.zoo.trainer import held_out_loss

SETTINGS = PretrainingSettings(base="zoo:gpt2-32x2", sequences_per_step=2, peak_rate=3e-3)
CHANT = ["the quick brown fox jumps over the lazy dog and the cow jumps over the moon " * 12] * 6
PROSE = ["A statute is a written law passed by a legislature, and a court says what it means. " * 8] * 6


@pytest.fixture(scope="module")
def causal() -> CausalModel:
    return load_causal(ModelChoice(SETTINGS.base).load(), SETTINGS.base)


def test_training_on_a_text_lowers_its_loss_and_leaves_the_base_model_as_it_was(causal: CausalModel) -> None:
    before = mean_loss(causal, CHANT[:1]), mean_loss(causal, PROSE[:1])
    tokens = token_budget(causal, CHANT, SETTINGS)
    assert tokens % (2 * 128) == 0
    found = continue_pretraining(causal, [*CHANT, *PROSE], tokens, CHANT[:1], PROSE[:1], SETTINGS, seed=0)
    assert found.target < before[0] - 0.2
    assert found.documents <= 6 and found.tokens == tokens
    assert (mean_loss(causal, CHANT[:1]), mean_loss(causal, PROSE[:1])) == before
    assert continue_pretraining(causal, [*CHANT, *PROSE], tokens, CHANT[:1], PROSE[:1], SETTINGS, seed=0) == found
    other = continue_pretraining(causal, [*PROSE, *CHANT], tokens, CHANT[:1], PROSE[:1], SETTINGS, seed=0)
    assert isinstance(other, Losses) and other.target > found.target


def test_too_little_text_for_a_step_is_one_sentence(causal: CausalModel) -> None:
    with pytest.raises(InsufficientDataError, match="give the pool more text"):
        token_budget(causal, ["a few words"], SETTINGS)


def test_the_loss_is_that_of_the_zoos_own_measure(causal: CausalModel) -> None:
    text = PROSE[0][:300]
    expected = held_out_loss(causal.model, causal.backbone.tokenizer, [text])
    found = read_language(causal, [text], skip_tokens=0)
    assert found.hidden_DH.shape == (1, causal.backbone.hidden_size)
    # the zoo gives an end-of-text token before the text, and so predicts one token more
    assert found.nats_D[0] == pytest.approx(expected.nats_per_token, rel=0.1)


def test_a_text_without_a_scored_token_has_no_loss(causal: CausalModel) -> None:
    assert np.isnan(read_language(causal, ["", PROSE[0]], skip_tokens=4).nats_D).tolist() == [True, False]


def test_a_model_that_is_not_there_cannot_be_loaded_with_its_head(causal: CausalModel) -> None:
    with pytest.raises(ModelNotFoundError):
        load_causal(causal.backbone, "zoo:nothing")


def test_zeroed_neurons_raise_the_loss_and_come_back(causal: CausalModel) -> None:
    before = mean_loss(causal, PROSE[:2])
    with zeroed(causal, np.ones(causal.backbone.neurons, bool)):
        assert mean_loss(causal, PROSE[:2]) > before + 0.1
    with zeroed(causal, np.zeros(causal.backbone.neurons, bool)):
        assert mean_loss(causal, PROSE[:2]) == before
    assert mean_loss(causal, PROSE[:2]) == before


def test_zeroing_one_neuron_is_the_forward_pass_without_it(causal: CausalModel) -> None:
    mask_N = np.zeros(causal.backbone.neurons, bool)
    mask_N[3] = True
    ids = torch.arange(1, 9)[None]
    with torch.inference_mode(), zeroed(causal, mask_N):
        hooked, _ = causal.logits_and_hidden(ids)
    bare = causal.copy()
    weight = bare.model.transformer.h[0].mlp.c_proj.weight  # pyright: ignore[reportAttributeAccessIssue]
    with torch.inference_mode():
        weight[3] = 0
        direct, _ = bare.logits_and_hidden(ids)
    torch.testing.assert_close(hooked, direct)


def test_a_model_tuned_on_examples_prefers_text_like_them(causal: CausalModel) -> None:
    texts = [*CHANT, *PROSE]
    selector = PerplexityDifference("difference", "model", 1, FirstWindows(causal, texts, 4))
    score = selector.fit(Lesson("chant", np.arange(5), np.arange(6, 9), np.arange(12), seed=0))
    found = score(np.asarray([5, 11]))
    assert found[0] > found[1]


def test_the_gain_is_undefined_where_the_oracle_gains_nothing() -> None:
    assert recovered_gain(3.5, 3.0, 3.0) == 1.0 and recovered_gain(3.5, 3.0, 3.5) == 0.0
    assert np.isnan(recovered_gain(3.0, 3.0, 2.9))
