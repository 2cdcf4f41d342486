"""Verification over the whole corpus against float64, and against exact mode."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from curator.errors import FingerprintError
from curator.rosetta.exact import exact_matches
from curator.rosetta.matching import tabulate
from curator.rosetta.second_pass import corpus_verifier, match_with_second_pass
from curator.settings import MatchSettings
from tests.atlas.core_world import SETTINGS, make_atlas, make_backbone, make_corpus, raw_spans

CORPUS = make_corpus(20)


def test_sums_give_the_float64_correlation_in_the_order_of_the_pairs(world: Path) -> None:
    first, second = make_backbone("gpt2", world), make_backbone("llama", world)
    raw = [np.concatenate(list(raw_spans(backbone, CORPUS))) for backbone in (first, second)]
    both = ~np.isnan(raw[0][:, 0]) & ~np.isnan(raw[1][:, 0])
    pairs = np.asarray([(90, 3), (2, 70), (90, 1), (5, 70), (2, 0)])
    sums = corpus_verifier(first, second, CORPUS, SETTINGS)(pairs)
    expected = [np.corrcoef(raw[0][both, i], raw[1][both, j])[0, 1] for i, j in pairs]
    np.testing.assert_allclose(sums.correlation(np.ones(SETTINGS.folds, bool)), expected, atol=1e-5)
    assert sums.count_F.sum() == both.sum()
    assert (sums.jackknife_error() > 0).all()


@pytest.mark.parametrize("spans", ["universal", "shared"])
def test_with_all_pairs_as_candidates_it_is_exact_mode(spans: str, world: Path) -> None:
    first, second = make_backbone("gpt2", world), make_backbone("gpt_neox", world)
    exact = exact_matches(first, second, CORPUS, SETTINGS, MatchSettings(), spans=spans)
    alive = np.flatnonzero(exact.strongest > 0)
    partners = np.arange(second.neurons)
    pairs = np.stack([np.repeat(alive, len(partners)), np.tile(partners, len(alive))], axis=1)
    sums = corpus_verifier(first, second, CORPUS, SETTINGS, spans=spans, table_bytes=200_000)(pairs)
    table = tabulate(pairs, np.zeros(len(pairs)), sums, MatchSettings(), False, first.neurons)
    shared = np.isin(table.first * second.neurons + table.second, exact.first * second.neurons + exact.second)
    assert shared.sum() >= 0.95 * len(exact)  # dead neurons of the second model were left in
    rows = np.searchsorted(exact.first, table.first[shared])
    np.testing.assert_allclose(table.rho[shared], exact.rho[rows], atol=1e-5)
    np.testing.assert_allclose(table.error[shared], exact.error[rows], atol=1e-5)


def test_models_run_no_further_than_the_deepest_candidate(world: Path) -> None:
    first, second = make_backbone("gpt2", world), make_backbone("gpt_neox", world)
    calls: list[str] = []
    handles = [
        backbone.sites[1].down.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
        for name, backbone in (("first", first), ("second", second))
    ]
    try:
        corpus_verifier(first, second, CORPUS, SETTINGS)(np.asarray([(3, 4), (2, 60)]))
    finally:
        for handle in handles:
            handle.remove()
    assert set(calls) <= {"second"}


def test_the_match_carries_a_certificate_and_the_correlations_of_the_whole_corpus(world: Path) -> None:
    names = ("gpt2", "gpt_neox")
    backbones = (make_backbone(names[0], world), make_backbone(names[1], world))
    atlases = (make_atlas(names[0], world), make_atlas(names[1], world))
    table = match_with_second_pass(backbones, atlases, make_corpus(), MatchSettings(candidates=32))
    exact = exact_matches(*backbones, make_corpus(), SETTINGS, MatchSettings())
    assert table.first.tolist() == exact.first.tolist()
    assert table.second.tolist() == exact.second.tolist()
    np.testing.assert_allclose(table.rho, exact.rho, atol=1e-5)
    assert 0 < table.certificate < 1e-5
    assert 0 < exact.certificate < 1e-5


def test_a_corpus_or_a_model_that_the_atlas_is_not_of_is_refused(world: Path) -> None:
    gpt2, neox = make_backbone("gpt2", world), make_backbone("gpt_neox", world)
    atlases = (make_atlas("gpt2", world), make_atlas("gpt_neox", world))
    for backbones, corpus in (((gpt2, neox), CORPUS), ((neox, gpt2), make_corpus())):
        with pytest.raises(FingerprintError, match="another model or probe corpus"):
            match_with_second_pass(backbones, atlases, corpus, MatchSettings())


def test_no_candidates_cost_nothing_and_no_warning_escapes(world: Path) -> None:
    verify = corpus_verifier(make_backbone("gpt2", world), make_backbone("llama", world), CORPUS, SETTINGS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert verify(np.zeros((0, 2), np.int64)).correlation(np.ones(SETTINGS.folds, bool)).shape == (0,)
        assert verify(np.asarray([(0, 0)])).xy.shape == (1, SETTINGS.folds)
