"""What chance gives: q-values, decoys and rotations."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.atlas.store import Atlas
from curator.errors import StorageError
from curator.rosetta import null as null_module
from curator.rosetta.matching import match_atlases
from curator.rosetta.neurons import find_rosetta_neurons
from curator.rosetta.null import (
    deranged_matches,
    excess_over,
    null_of,
    q_values,
    rotated_matches,
    rotated_view,
    rotations_of,
)
from curator.settings import MatchSettings
from tests.atlas.core_world import make_atlas
from tests.rosetta.planted import mixing_atlas

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
        turned = np.nan_to_num(rotated.held_NV[rows])
        # X' = Q X with Q orthogonal: the Gram matrix over spans is kept, that over neurons is turned
        np.testing.assert_allclose(turned.T @ turned, held.T @ held, atol=0.05)
        np.testing.assert_array_equal(np.isnan(rotated.held_NV[rows]), np.isnan(atlas["held_NV"][rows]))
        product = rotated.signature_Nd[rows].T.astype(float) @ rotated.signature_Nd[rows]
        np.testing.assert_allclose(product, signature.T @ signature, atol=1e-4)
        assert np.abs(turned - held).max() > 1
        rotation = np.linalg.lstsq(held.T, turned.T.astype(float), rcond=None)[0]
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(48), atol=1e-3)
    np.testing.assert_array_equal(rotated.held_NV, rotated_view(atlas, seed=3).held_NV)
    assert not np.array_equal(rotated.held_NV, rotated_view(atlas, seed=4).held_NV)


def test_a_layer_wider_than_a_rotation_is_turned_in_parts_of_about_equal_size(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(null_module, "_ROTATED_TOGETHER", 20)  # 48 neurons a layer: 16 and 16 and 16
    atlas = make_atlas("gpt2", world)
    rotated = rotated_view(atlas, seed=3)
    for start in range(0, 96, 16):
        part = slice(start, start + 16)
        held, turned = (np.nan_to_num(np.array(rows[part], float)) for rows in (atlas["held_NV"], rotated.held_NV))
        np.testing.assert_allclose(turned.T @ turned, held.T @ held, atol=0.05)


def test_a_rotation_leaves_out_the_dead_and_lies_in_a_file_where_memory_is_short(world: Path) -> None:
    atlas = make_atlas("gpt2", world)
    alive = atlas["alive"].copy()
    alive[[5, 60]] = False
    half_dead = Atlas(atlas.manifest, atlas.arrays | {"alive": alive})
    whole, mapped = (rotated_view(half_dead, seed=1, memory_bytes=budget) for budget in (2 << 30, 1 << 10))
    assert isinstance(mapped.held_NV, np.memmap)
    assert not isinstance(whole.held_NV, np.memmap)
    np.testing.assert_array_equal(mapped.held_NV, whole.held_NV)
    np.testing.assert_array_equal(mapped.signature_Nd, whole.signature_Nd)
    assert not whole.held_NV[[5, 60]].any()


def test_a_full_temporary_folder_is_one_clear_error(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk:
        def write(self, _: bytes) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            """Nothing."""

    monkeypatch.setattr(null_module.tempfile, "TemporaryFile", FullDisk)
    with pytest.raises(StorageError, match="memory_bytes"):
        rotated_view(make_atlas("gpt2", world), seed=1, memory_bytes=1 << 10)


@pytest.mark.parametrize("peer", ["gpt_neox", "llama"])
def test_nulls_go_through_the_same_code_and_are_weaker_than_the_truth(world: Path, peer: str) -> None:
    first, second, wanted = make_atlas("gpt2", world), make_atlas(peer, world), MatchSettings(rotations=2)
    truth = np.abs(match_atlases(first, second, wanted).rho)
    deranged, rotated = (decoys(first, second, wanted) for decoys in (deranged_matches, rotated_matches))
    assert len(rotated) == 2
    for null in (*deranged, *rotated):
        assert len(null)
        assert null.first.max() < 96
    assert max(np.abs(null.rho).mean() for null in deranged) < truth.mean()


def test_rotations_are_many_for_small_models_unless_set() -> None:
    assert [rotations_of(MatchSettings(), neurons) for neurons in (0, 1024, 2048, 4096, 10**6)] == [8, 8, 4, 2, 2]
    assert rotations_of(MatchSettings(rotations=5), 10**6) == 5


def test_a_match_competes_by_what_it_has_above_the_decoys_of_its_own_neuron(world: Path) -> None:
    first, second, wanted = make_atlas("gpt2", world), make_atlas("gpt_neox", world), MatchSettings(rotations=3)
    matches, decoys = match_atlases(first, second, wanted), rotated_matches(first, second, wanted)
    null = null_of(matches, decoys, max_q=0.5, absolute=False)
    mean = np.mean([decoy.strongest for decoy in decoys], axis=0)
    np.testing.assert_allclose(null.baseline_N, mean)
    others = (decoys[0].strongest + decoys[2].strongest) / 2
    np.testing.assert_allclose(null.decoy_excess[1], decoys[1].rho - others[decoys[1].first])
    target = matches.rho - mean[matches.first]
    np.testing.assert_allclose(excess_over(matches, mean, absolute=False), target)
    np.testing.assert_allclose(null.q, q_values(target, null.decoy_excess))
    np.testing.assert_array_equal(null.passes(matches, absolute=False), null.q <= 0.5)


def test_models_that_mix_the_same_features_at_random_have_matches_but_no_strict_ones() -> None:
    """What untrained models share: token identity, in a basis of no meaning."""
    anchor, peer = (mixing_atlas(seed, shared=0) for seed in (1, 2))
    found = find_rosetta_neurons(anchor, [peer], MatchSettings())
    (only,) = found.peers
    assert found.counts()["paper"] > 20
    assert found.mean_rho.mean() > 0.5
    assert (only.derangement.q <= 0.01).all(), "they are no work of chance"
    assert found.counts()["strict"] == 0
    assert found.null_counts["rotated_paper"] > 20


def test_neurons_that_both_models_have_stay_strict_among_mixtures_of_the_same_features() -> None:
    anchor, peer = (mixing_atlas(seed, shared=40) for seed in (1, 2))
    found = find_rosetta_neurons(anchor, [peer], MatchSettings())
    strict = found.index[found.strict]
    assert np.isin(np.arange(40), strict).mean() > 0.9
    assert (strict < 40).mean() > 0.9, "rotations dilute what is not shared, so a few more pass than q says"
    assert found.null_counts["rotated_strict"] <= 1
    assert found.null_counts["deranged_strict"] == 0
