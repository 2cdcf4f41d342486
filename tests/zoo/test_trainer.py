"""Training: resumption reaches the same weights, the schedule, the blockwise loss, packing and held-out loss."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from curator.zoo import trainer
from curator.zoo.architectures import END_OF_TEXT_ID, train_tokenizer
from curator.zoo.recipe import SEQUENCES_PER_STEP, ZooModel, zoo_model
from curator.zoo.trainer import held_out_loss, learning_rate, pack, smaller, train_model

VOCABULARY = 280
STEPS = 50


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Rows of 8 tokens with something to learn: each token is followed by the next one most of the time."""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, VOCABULARY, size=(STEPS * SEQUENCES_PER_STEP, 1))
    return ((starts + np.arange(8)) % VOCABULARY).astype(np.uint16)


@pytest.fixture(scope="module")
def uninterrupted(rows: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("whole")
    return {
        name: train_model(_spec(name), rows, folder / name, checkpoint_every=1000).state_dict()
        for name in ("gpt2-32x2", "neox-32x2")
    }


def _spec(name: str) -> ZooModel:
    return smaller(zoo_model(name), VOCABULARY)


class _KilledError(Exception):
    pass


@pytest.mark.parametrize("name", ["gpt2-32x2", "neox-32x2"])
def test_a_killed_training_resumes_from_its_checkpoint_and_reaches_the_same_weights(
    name: str, rows: np.ndarray, uninterrupted: dict[str, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    checkpoint, seen = tmp_path / "checkpoint.safetensors", []

    def kill(step: int, steps: int, loss: float) -> None:
        raise _KilledError

    with pytest.raises(_KilledError):
        train_model(_spec(name), rows, checkpoint, progress=kill, checkpoint_every=20)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.name]  # step 20's, nothing half-written beside it
    resumed = train_model(
        _spec(name), rows, checkpoint, progress=lambda step, *_: seen.append(step), checkpoint_every=20
    ).state_dict()
    assert seen == [25, 50]
    assert resumed.keys() == uninterrupted[name].keys()
    assert all(torch.equal(resumed[key], value) for key, value in uninterrupted[name].items())


def test_checkpoints_do_not_change_the_result(
    rows: np.ndarray, uninterrupted: dict[str, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    name = "gpt2-32x2"
    often = train_model(_spec(name), rows, tmp_path / "c", checkpoint_every=7).state_dict()
    assert all(torch.equal(often[key], value) for key, value in uninterrupted[name].items())


def test_training_learns(rows: np.ndarray, tmp_path: Path) -> None:
    losses: list[float] = []
    train_model(_spec("opt-32x2"), rows, tmp_path / "c", progress=lambda _, __, loss: losses.append(loss))
    assert losses[-1] < losses[0] < math.log(VOCABULARY) + 0.1


def test_a_loss_that_is_no_number_stops_the_training(
    rows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "training_step", lambda *_: math.nan)
    with pytest.raises(FloatingPointError, match="gpt2-32x2 became nan at step 24"):
        train_model(_spec("gpt2-32x2"), rows, tmp_path / "c")


def test_the_learning_rate_warms_up_and_falls_to_a_tenth() -> None:
    rates = [learning_rate(step, 1954, 3e-3) for step in range(1954)]
    assert rates[0] == pytest.approx(3e-5)
    assert rates[99] == pytest.approx(3e-3) == max(rates)
    assert np.all(np.diff(rates[:100]) > 0)
    assert np.all(np.diff(rates[100:]) < 0)
    assert rates[-1] == pytest.approx(3e-4, rel=1e-3)


@pytest.mark.parametrize("steps", [1, 5, 30])
def test_the_learning_rate_of_a_short_run_stays_in_its_range(steps: int) -> None:
    rates = [learning_rate(step, steps, 1.0) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    assert max(rates) == pytest.approx(1.0)


@pytest.mark.parametrize("rows_N", [1, 255, 256, 700])
def test_the_blockwise_head_loss_equals_cross_entropy_and_its_gradients(rows_N: int) -> None:
    generator = torch.Generator().manual_seed(rows_N)
    hidden = torch.randn(rows_N, 24, generator=generator).requires_grad_()
    head = (0.3 * torch.randn(90, 24, generator=generator)).requires_grad_()
    targets = torch.randint(0, 90, (rows_N,), generator=generator)
    expected = functional.cross_entropy(hidden @ head.T, targets)
    wanted = torch.autograd.grad(3 * expected, [hidden, head])
    loss = trainer._head_loss(hidden, head, targets)
    found = torch.autograd.grad(3 * loss, [hidden, head])
    assert loss.item() == pytest.approx(expected.item(), rel=5e-3)
    for actual, reference in zip(found, wanted, strict=True):
        assert (actual - reference).norm() < 0.02 * reference.norm()  # bf16 keeps eight bits


def test_packing_fills_rows_in_the_seed_s_order_with_a_separator_before_each_text() -> None:
    texts = [f"text number {number} with a few words" for number in range(200)]
    tokenizer = train_tokenizer(_spec("gpt2-32x2").family, texts)
    packed = pack(tokenizer, texts, seed=7, rows=6)
    assert (packed.shape, packed.dtype) == ((6, 128), np.uint16)
    assert packed[0, 0] == END_OF_TEXT_ID
    first = texts[int(np.random.default_rng(7).permutation(200)[0])]
    assert tokenizer.decode(packed[0, 1 : np.flatnonzero(packed[0] == END_OF_TEXT_ID)[1]]) == first
    assert np.array_equal(packed, pack(tokenizer, texts, seed=7, rows=6))
    assert not np.array_equal(packed, pack(tokenizer, texts, seed=8, rows=6))
    with pytest.raises(ValueError, match="add text or lower the token budget"):
        pack(tokenizer, texts, seed=7, rows=10_000)


def test_held_out_loss_of_a_uniform_model_is_the_logarithm_of_the_vocabulary() -> None:
    texts = ["some plain words ", "some more of them, ünusual ones "] * 5
    tokenizer = train_tokenizer(_spec("gpt2-32x2").family, texts)
    model = trainer.build_model(_spec("gpt2-32x2"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    loss = held_out_loss(model.eval(), tokenizer, texts)
    assert loss.nats_per_token == pytest.approx(math.log(VOCABULARY), rel=1e-5)
    tokens = sum(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])
    assert loss.tokens == tokens
    measured = sum(len(text.encode()) for text in texts)
    assert loss.bits_per_byte == pytest.approx(math.log2(VOCABULARY) * tokens / measured, rel=1e-5)
