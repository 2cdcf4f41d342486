"""Exact mode against a referee in float64 that holds every span of both models at once."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from curator.atlas.spankeys import SpanKeys
from curator.errors import ConfigError, InsufficientDataError
from curator.records import NO_METADATA, Document
from curator.rosetta.exact import Tile, all_pairs, exact_matches, exact_views
from curator.rosetta.matching import MatchTable, match_views
from curator.rosetta.products import BlockProducts, PairAudit, leaders
from curator.settings import AtlasSettings, MatchSettings
from curator.text.probe import ProbeCorpus, probe_fingerprint
from tests.atlas.core_world import SETTINGS, make_backbone, make_corpus, raw_spans
from tests.rosetta.planted import FOLDS, fold_V, planted

DIALS = AtlasSettings(sketch_dimensions=64 * FOLDS, folds=FOLDS, min_active_spans=20)
CORPUS = make_corpus(20)


def _pairs(table: MatchTable) -> set[tuple[int, int]]:
    return set(zip(table.first.tolist(), table.second.tolist(), strict=True))


@cache
def _raw(kind: str, world: Path) -> np.ndarray:
    return np.concatenate(list(raw_spans(make_backbone(kind, world), CORPUS)))


def _folds() -> np.ndarray:
    keys = SpanKeys(CORPUS, SETTINGS)
    return np.repeat(keys.fold_D, keys.length_D)


def _alive(values_TN: np.ndarray) -> np.ndarray:
    return (values_TN.std(axis=0) > 1e-6) & ((values_TN != 0).sum(axis=0) >= SETTINGS.min_active_spans)


def _mutual(strength: np.ndarray, k: int) -> set[tuple[int, int]]:
    rows = np.argsort(-strength, axis=1, kind="stable")[:, :k]
    columns = np.argsort(-strength, axis=0, kind="stable")[:k]
    return {
        (i, int(j)) for i in range(len(strength)) for j in rows[i] if i in columns[:, j] and np.isfinite(strength[i, j])
    }


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = ((v - v.mean(axis=0)) / np.where(v.std(axis=0) > 0, v.std(axis=0), np.inf) for v in (a, b))
    return a.T @ b / len(a)


@pytest.mark.parametrize(("second", "k"), [("gpt_neox", 1), ("gpt_neox", 3), ("llama", 1)])
def test_matches_correlations_and_errors_are_those_of_float64(second: str, k: int, world: Path) -> None:
    raw_a, raw_b, folds = _raw("gpt2", world), _raw(second, world), _folds()
    both = ~np.isnan(raw_a[:, 0]) & ~np.isnan(raw_b[:, 0])
    a, b, folds = raw_a[both], raw_b[both], folds[both]
    rho = _correlations(a, b)
    strength = np.abs(rho) if second == "llama" else rho.copy()
    strength[~_alive(a)] = strength[:, ~_alive(b)] = -np.inf
    table = exact_matches(
        make_backbone("gpt2", world), make_backbone(second, world), CORPUS, SETTINGS, MatchSettings(neighbours=k)
    )
    assert _pairs(table) == _mutual(strength, k)
    assert len(table) > 10
    np.testing.assert_allclose(table.rho, rho[table.first, table.second], atol=1e-5)
    np.testing.assert_array_equal(table.rho, table.sketch_rho)
    filled = np.unique(folds)
    left_out = np.stack([_correlations(a[folds != f], b[folds != f])[table.first, table.second] for f in filled])
    error = np.sqrt((len(filled) - 1) / len(filled) * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    np.testing.assert_allclose(table.error, error, atol=1e-5)
    best = np.where(np.isfinite(strength).any(axis=1), strength.max(axis=1), 0)
    np.testing.assert_allclose(table.strongest, np.maximum(best, 0), atol=1e-5)


@pytest.mark.parametrize("half", [0, 1])
def test_the_halves_are_the_mutual_pairs_of_half_the_folds(half: int, world: Path) -> None:
    raw_a, raw_b, folds = _raw("gpt2", world), _raw("gpt_neox", world), _folds()
    both = ~np.isnan(raw_a[:, 0]) & ~np.isnan(raw_b[:, 0])
    chosen = both & (folds % 2 == half)
    strength = _correlations(raw_a[chosen], raw_b[chosen])
    strength[~_alive(raw_a[both])] = strength[:, ~_alive(raw_b[both])] = -np.inf
    table = exact_matches(
        make_backbone("gpt2", world), make_backbone("gpt_neox", world), CORPUS, SETTINGS, MatchSettings()
    )
    found = (table.even_half, table.odd_half)[half]
    assert found.tolist() == sorted({i for i, _ in _mutual(strength, 1)})


def test_blocks_of_a_small_budget_give_the_same_table_in_several_passes(world: Path) -> None:
    first, second = make_backbone("gpt2", world), make_backbone("llama", world)
    whole = exact_matches(first, second, CORPUS, SETTINGS, MatchSettings())
    one_row = second.neurons * (8 * SETTINGS.folds + 4)
    calls: list[int] = []
    handle = second.sites[0].down.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        parts = exact_matches(first, second, CORPUS, SETTINGS, MatchSettings(), memory_bytes=25 * one_row)
        passes = len(calls)
        calls.clear()
        exact_matches(first, second, CORPUS, SETTINGS, MatchSettings())
    finally:
        handle.remove()
    assert passes == 4 * len(calls)
    for name in MatchTable.__dataclass_fields__:
        ours, theirs = getattr(whole, name), getattr(parts, name)
        if isinstance(ours, np.ndarray):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_on_held_back_spans_exact_is_what_matching_finds_with_all_neurons_as_candidates() -> None:
    first, second, _ = planted([(3, 30), (7, 2), (19, 11)], (60, 50), 0.4, seed=0, random_signs=True)
    settings_ = MatchSettings(candidates=60)
    table = match_views(first, second, fold_V(), settings_, True)
    for view in (first, second):
        for array in (view.held_NV, view.alive):  # as in an atlas that is read from disk
            array.setflags(write=False)
    exact = exact_views(first, second, fold_V(), DIALS, settings_, True)
    assert _pairs(exact) == _pairs(table)
    for name in ("rho", "error", "margin", "hubness", "strongest", "even_half", "odd_half", "replicated"):
        np.testing.assert_allclose(getattr(exact, name), getattr(table, name), atol=1e-5)


def _tiles_of(a_TN: np.ndarray, b_TM: np.ndarray, folds_T: np.ndarray, size: int = 50):
    def tiles(rows: np.ndarray):
        for fold in np.unique(folds_T):
            chosen = np.flatnonzero(folds_T == fold)
            for start in range(0, len(chosen), size):
                part = chosen[start : start + size]
                tile: Tile = (
                    int(fold),
                    torch.from_numpy(a_TN[part][:, rows].astype(np.float32)),
                    torch.from_numpy(b_TM[part].astype(np.float32)),
                )
                yield tile

    return tiles


def test_equal_neurons_tie_and_the_lower_index_wins() -> None:
    generator = np.random.default_rng(0)
    a = generator.standard_normal((600, 4))
    a[:, 2] = a[:, 1]
    b = a[:, [3, 1, 1, 0]]
    table = all_pairs(_tiles_of(a, b, np.arange(600) % FOLDS), (4, 4), DIALS, MatchSettings(), False)
    assert _pairs(table) == {(0, 3), (1, 1), (3, 0)}


def test_a_large_mean_and_a_small_spread_leave_the_correlation_right() -> None:
    generator = np.random.default_rng(1)
    common = generator.standard_normal((6000, 1))
    a, b = (common + generator.standard_normal((6000, 5)) for _ in range(2))
    a, b = (100 + 0.1 * a).astype(np.float32), (-300 + 1e-2 * b).astype(np.float32)
    table = all_pairs(_tiles_of(a, b, np.arange(6000) % FOLDS, 700), (5, 5), DIALS, MatchSettings(neighbours=5), False)
    expected = _correlations(a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(table.rho, expected[table.first, table.second], atol=2e-6)
    assert len(table) == 25


def test_the_certificate_passes_float32_tiles_and_fails_a_sum_kept_in_bf16() -> None:
    generator = torch.Generator().manual_seed(4)
    common = torch.randn(30_000, 1, generator=generator)
    a, b = (common + 0.5 * torch.randn(30_000, 3, generator=generator) for _ in range(2))
    index = torch.arange(3)
    products, audit, kept_in_bf16 = BlockProducts(FOLDS), PairAudit(index, index), torch.zeros(3, dtype=torch.bfloat16)
    for number, (x, y) in enumerate(zip(a.split(50), b.split(50), strict=True)):
        products.add(number % FOLDS, x, y)
        audit.add(x, y)
        kept_in_bf16 += (x * y).sum(dim=0)
    assert products.certificate() < 1e-6
    assert audit.worst_difference(kept_in_bf16.double().numpy() / len(a) / (a.std(0) * b.std(0)).numpy()) > 0.1
    assert audit.worst_difference(np.corrcoef(a.T, b.T)[[0, 1, 2], [3, 4, 5]]) < 1e-12


def test_dead_neurons_match_nothing() -> None:
    generator = np.random.default_rng(2)
    a, b = generator.standard_normal((600, 6)), generator.standard_normal((600, 6))
    b[:, 1:4] = a[:, 1:4]
    a[:, 1] = 0.0
    a[10:, 2] = 0.0
    b[:, 3] = 7.0 + 1e-9 * b[:, 3]
    table = all_pairs(_tiles_of(a, b, np.arange(600) % FOLDS), (6, 6), DIALS, MatchSettings(neighbours=6), False)
    assert set(table.first.tolist()) == {0, 3, 4, 5}
    assert set(table.second.tolist()) == {0, 1, 2, 4, 5}
    assert table.strongest[[1, 2]].tolist() == [0, 0]


def test_a_budget_below_one_neuron_is_refused() -> None:
    nothing = np.zeros((FOLDS, 3))
    with pytest.raises(ConfigError, match="does not hold one neuron"):
        all_pairs(_tiles_of(nothing, nothing, np.arange(FOLDS)), (3, 3), DIALS, MatchSettings(), False, memory_bytes=50)


def test_models_without_a_span_in_common_are_refused(world: Path) -> None:
    documents = (Document("a", "lorem", "letters", "a", NO_METADATA),)
    corpus = ProbeCorpus(documents, ("letters",), probe_fingerprint(documents), {"letters": 1})
    backbone = make_backbone("gpt2", world)
    with pytest.raises(InsufficientDataError, match="no span in common"):
        exact_matches(backbone, backbone, corpus, SETTINGS, MatchSettings())


@given(
    values=arrays(
        np.float64, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=st.sampled_from([-1.0, 0.0, 0.5])
    ),
    wanted=st.integers(1, 12),
)
@settings(deadline=None, max_examples=50)
def test_leaders_are_a_stable_sort_cut_short(values: np.ndarray, wanted: int) -> None:
    found, columns = leaders(torch.from_numpy(values), wanted)
    order = np.argsort(-values, axis=1, kind="stable")[:, :wanted]
    np.testing.assert_array_equal(columns.numpy(), order)
    np.testing.assert_array_equal(found.numpy(), np.take_along_axis(values, order, axis=1))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_table_of_the_cpu() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.standard_normal((900, 20)), generator.standard_normal((900, 20))
    on_cpu = _tiles_of(a, b, np.arange(900) % FOLDS)

    def on_gpu(rows: np.ndarray):
        for fold, a_KR, b_KM in on_cpu(rows):
            yield fold, a_KR.cuda(), b_KM.cuda()

    tables = [all_pairs(tiles, (20, 20), DIALS, MatchSettings(), False) for tiles in (on_cpu, on_gpu)]
    assert _pairs(tables[0]) == _pairs(tables[1])
    np.testing.assert_allclose(tables[0].rho, tables[1].rho, atol=1e-5)
