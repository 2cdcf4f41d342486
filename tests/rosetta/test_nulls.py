"""What chance gives: q-values, decoys and rotations."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.rosetta.null import deranged_matches, q_values, rotated_matches, rotated_view
from curator.settings import MatchSettings
from tests.atlas.core_world import make_atlas

STRENGTHS = st.lists(st.sampled_from(np.linspace(0, 1, 9).tolist()), max_size=30)


@settings(deadline=None, max_examples=100)
@given(targets=STRENGTHS.filter(len), decoys=st.lists(STRENGTHS, min_size=1, max_size=3))
def test_q_values_equal_their_definition(targets: list[float], decoys: list[list[float]]) -> None:
    found = q_values(np.asarray(targets), [np.asarray(strengths) for strengths in decoys])
    pooled = [strength for strengths in decoys for strength in strengths]

    def rate(t: float) -> float:
        return (1 + sum(d >= t for d in pooled)) / len(decoys) / sum(x >= t for x in targets)

    expected = [min(1.0, *(rate(t) for t in targets if t <= s), 1.0) for s in targets]
    np.testing.assert_allclose(found, expected)
    order = np.argsort(targets, kind="stable")
    assert (np.diff(found[order]) <= 1e-15).all(), "a stronger match never has a higher q"
    assert found.min() >= 1 / (len(decoys) * len(targets)) - 1e-15
    assert found.max() <= 1


def test_no_match_has_no_q_value_and_no_decoy_gives_the_smallest() -> None:
    assert q_values(np.zeros(0), [np.ones(3)]).shape == (0,)
    np.testing.assert_allclose(q_values(np.asarray([0.1, 0.9]), [np.zeros(0), np.zeros(0)]), [1 / 4, 1 / 4])


def test_q_controls_the_false_discovery_rate_where_the_truth_is_known() -> None:
    generator, shares = np.random.default_rng(0), []
    for _ in range(60):
        true, false, decoy = (generator.normal(mean, 1, size) for mean, size in ((4, 100), (0, 300), (0, 300)))
        q = q_values(np.concatenate([true, false]), [decoy])
        shares.append((q[100:] <= 0.1).sum() / max(1, (q <= 0.1).sum()))
    assert np.mean(shares) < 0.12


def test_a_rotation_keeps_lengths_and_angles_within_a_layer(world: Path) -> None:
    atlas = make_atlas("gpt2", world)
    rotated = rotated_view(atlas, seed=3)
    for layer in range(2):
        rows = atlas.layer_of == layer
        held, signature = np.nan_to_num(atlas["held_NV"][rows].astype(float)), atlas["signature_Nd"][rows].astype(float)
        # X' = Q X with Q orthogonal: the Gram matrix over spans is kept, that over neurons is turned
        np.testing.assert_allclose(rotated.held_NV[rows].T @ rotated.held_NV[rows], held.T @ held, atol=0.05)
        product = rotated.signature_Nd[rows].T.astype(float) @ rotated.signature_Nd[rows]
        np.testing.assert_allclose(product, signature.T @ signature, atol=1e-4)
        assert np.abs(rotated.held_NV[rows] - held).max() > 1
        rotation = np.linalg.lstsq(held.T, rotated.held_NV[rows].T.astype(float), rcond=None)[0]
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(48), atol=1e-3)
    np.testing.assert_array_equal(rotated.held_NV, rotated_view(atlas, seed=3).held_NV)
    assert not np.array_equal(rotated.held_NV, rotated_view(atlas, seed=4).held_NV)


@pytest.mark.parametrize("peer", ["gpt_neox", "llama"])
def test_nulls_go_through_the_same_code_and_are_weaker_than_the_truth(world: Path, peer: str) -> None:
    from curator.rosetta.matching import match_atlases

    first, second, wanted = make_atlas("gpt2", world), make_atlas(peer, world), MatchSettings()
    truth = np.abs(match_atlases(first, second, wanted).rho)
    for null in (*deranged_matches(first, second, wanted), rotated_matches(first, second, wanted)):
        assert len(null)
        assert null.first.max() < 96
    deranged = deranged_matches(first, second, wanted)
    assert max(np.abs(null.rho).mean() for null in deranged) < truth.mean()
