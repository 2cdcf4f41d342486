"""Controls are as many neurons of the same layers; matched ones are the nearest in activity and never the neurons themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.atlas.store import Atlas
from curator.bakeoff.populations import best_single, mask_of, matched_like, random_like
from curator.neuronset.scorers import Background, fit_linear
from curator.settings import NeuronSetSettings

LAYER_N = np.repeat([0, 1, 2], 10)


@dataclass
class FakeAtlas:
    """The few arrays that populations are made of."""

    arrays: dict[str, np.ndarray]
    layer_of: np.ndarray = field(default_factory=lambda: LAYER_N)
    manifest: Any = None

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]


def atlas(**arrays: np.ndarray) -> Atlas:
    given = {"positive_fraction": np.linspace(0, 1, 30), "alive": np.ones(30, bool)} | arrays
    return cast(Atlas, FakeAtlas(given))


MASKS = st.sets(st.integers(0, 29), max_size=15).map(lambda index: mask_of(np.asarray(sorted(index), int), 30))


@given(MASKS, st.integers(0, 5))
def test_random_controls_have_as_many_neurons_of_each_layer(mask_N: np.ndarray, seed: int) -> None:
    drawn_N = random_like(mask_N, LAYER_N, seed)
    assert np.array_equal(np.bincount(LAYER_N[drawn_N], minlength=3), np.bincount(LAYER_N[mask_N], minlength=3))
    assert np.array_equal(drawn_N, random_like(mask_N, LAYER_N, seed))


@given(MASKS)
def test_matched_controls_are_other_living_neurons_of_the_same_layers(mask_N: np.ndarray) -> None:
    alive_N = np.arange(30) % 7 != 0
    found_N = matched_like(mask_N, atlas(alive=alive_N))
    assert not (found_N & mask_N).any() and not (found_N & ~alive_N).any()
    for layer in range(3):
        of_layer = layer == LAYER_N
        free = int((of_layer & alive_N & ~mask_N).sum())
        assert (found_N & of_layer).sum() == min(free, int((mask_N & of_layer).sum()))


def test_the_nearest_in_activity_is_taken() -> None:
    assert np.flatnonzero(matched_like(mask_of(np.asarray([0]), 30), atlas())).tolist() == [1]


def test_the_probe_chooses_the_neuron_that_ranks_the_target_first() -> None:
    values_DN = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    values_DN[:10, 17] += 9
    values_DN[:10, 4] += 99
    entries = [SimpleNamespace(domain="on" if row < 10 else "off") for row in range(40)]
    made = FakeAtlas({"document_mean_DN": values_DN, "document_spans_D": np.ones(40, int)})
    made.manifest = SimpleNamespace(documents=entries, gated=False)
    allowed = mask_of(np.asarray([2, 17, 20]), 30)
    assert best_single(cast(Atlas, made), allowed, "on") == (17, 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_whitened_documents_vary_least_where_all_documents_vary(seed: int) -> None:
    random = np.random.default_rng(seed)
    known = random.normal(size=(60, 9)) * np.asarray([30.0, *[1.0] * 8])
    background = Background.of(known, 0.01)
    white = background.whiten(known)
    assert np.isclose((white**2).sum(axis=1).mean(), 9)
    assert (
        white[:, 0].var() / white[:, 1:].var(axis=0).mean() < 0.1 * known[:, 0].var() / known[:, 1:].var(axis=0).mean()
    )


def test_a_plain_ridge_is_the_limit_of_large_shrinkage() -> None:
    random = np.random.default_rng(0)
    z = random.normal(size=(50, 12))
    positive = z[:, 0] + 0.3 * random.normal(size=50) > 0
    dials = NeuronSetSettings(regularisation=0.02)
    method = fit_linear(z, positive, dials, Background.of(z, 1e9))
    from sklearn.linear_model import LogisticRegression

    scale = np.sqrt(12 / (z**2).sum(axis=1).mean())
    plain = LogisticRegression(C=0.02, class_weight="balanced", max_iter=2000).fit(z * scale, positive)
    np.testing.assert_allclose(method.weight, plain.coef_[0] * scale, atol=1e-3)


def test_few_examples_are_told_apart_better_where_the_background_is_known() -> None:
    random = np.random.default_rng(1)
    loud = random.normal(size=(4, 40)) * 4
    quiet = random.normal(size=40) / np.sqrt(40)

    def draw(count: int, on: bool) -> np.ndarray:
        return random.normal(size=(count, 4)) @ loud + random.normal(size=(count, 40)) + 6 * on * quiet

    background = Background.of(draw(400, False), 0.01)
    z, positive = np.concatenate([draw(4, True), draw(40, False)]), np.arange(44) < 4
    pool, truth = np.concatenate([draw(100, True), draw(300, False)]), np.arange(400) < 100
    hits = [
        truth[np.argsort(-fit_linear(z, positive, NeuronSetSettings(), one).score(pool))[:100]].mean()
        for one in (background, Background.of(z, 1e9))
    ]
    assert hits[0] > hits[1] + 0.1
