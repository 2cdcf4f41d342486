"""Rosetta neurons of an anchor: the star, its three named sets, and what nulls leave of them."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from curator.atlas.store import Atlas
from curator.errors import ConfigError, FingerprintError
from curator.rosetta.matching import match_atlases, ranks_by_magnitude
from curator.rosetta.neurons import RosettaNeurons, find_rosetta_neurons
from curator.rosetta.resampling import peer_draws
from curator.settings import MatchSettings
from tests.atlas.core_world import make_atlas
from tests.rosetta.planted import mixing_atlas

WANTED = MatchSettings()


@cache
def _found(world: Path, neighbours: int = 1) -> RosettaNeurons:
    peers = [make_atlas(kind, world) for kind in ("gpt_neox", "llama")]
    return find_rosetta_neurons(make_atlas("gpt2", world), peers, MatchSettings(neighbours=neighbours))


def test_the_star_is_the_intersection_of_the_anchors_matches(world: Path) -> None:
    found = _found(world)
    sides = [set(match_atlases(found.anchor, peer.peer, WANTED).first.tolist()) for peer in found.peers]
    assert set(found.index.tolist()) == sides[0] & sides[1]
    assert 0 < len(found.index) < len(sides[0])
    for column, peer in enumerate(found.peers):
        np.testing.assert_array_equal(peer.matches.first[found.row_RP[:, column]], found.index)
    rho = np.stack([peer.matches.rho[found.row_RP[:, c]] for c, peer in enumerate(found.peers)])
    np.testing.assert_allclose(found.mean_rho, np.abs(rho).mean(axis=0))


def _retrained(atlas: Atlas) -> Atlas:
    """The atlas of a model of other weights that happens to do the same."""
    return Atlas(atlas.manifest.model_copy(update={"model_fingerprint": "other"}), atlas.arrays)


def test_the_same_weights_under_another_name_are_no_peer(world: Path) -> None:
    anchor, peer = make_atlas("gpt2", world), make_atlas("gpt_neox", world)
    renamed, again = (
        Atlas(one.manifest.model_copy(update={"model": "another-name"}), one.arrays) for one in (anchor, peer)
    )
    for peers in ([peer, renamed], [peer, again]):
        with pytest.raises(ConfigError, match=r"another-name is .* itself, weight for weight"):
            find_rosetta_neurons(anchor, peers, WANTED)
    with pytest.raises(ConfigError, match="itself"):
        peer_draws(anchor, renamed, WANTED, np.ones((1, 4)))


def test_an_atlas_matched_with_itself_is_all_rosetta_neurons(world: Path) -> None:
    anchor = make_atlas("gpt2", world)
    found = find_rosetta_neurons(anchor, [_retrained(anchor)], WANTED)
    np.testing.assert_array_equal(found.index, np.arange(96))
    np.testing.assert_array_equal(found.peers[0].matches.second, np.arange(96))
    np.testing.assert_allclose(found.mean_rho, 1.0, atol=1e-3)
    assert found.strict.all(), "96 matches above all decoys reach q = 1 / 192"
    assert found.half_jaccard == 1.0


def test_what_holds_in_one_half_of_the_corpus_alone_is_not_strict(world: Path) -> None:
    anchor = make_atlas("gpt2", world)
    held, odd = anchor["held_NV"].copy(), anchor["held_fold_V"] % 2 == 1
    held[:, odd] = np.random.default_rng(0).standard_normal((96, int(odd.sum())))
    half = _retrained(Atlas(anchor.manifest, anchor.arrays | {"held_NV": held}))
    found = find_rosetta_neurons(anchor, [half], MatchSettings(max_q=0.99))
    assert found.counts()["paper"] > 60
    assert (found.q <= 0.99).sum() > 60
    assert found.counts()["strict"] < 8
    assert found.half_jaccard < 0.7, "one half matches every neuron, the other as many as chance gives"


def test_the_named_sets_are_nested_in_the_paper_set_and_their_rules_hold(world: Path) -> None:
    found = _found(world)
    counts = found.counts()
    assert counts["paper"] == len(found.index) >= max(counts["strict"], counts["universal"])
    assert (found.q[found.strict] <= WANTED.max_q).all()
    for column, peer in enumerate(found.peers):
        assert peer.matches.replicated[found.row_RP[found.strict, column]].all()
    excess = np.stack([peer.excess[found.index] for peer in found.peers]).mean(axis=0)
    np.testing.assert_array_equal(found.universal, excess > WANTED.min_excess)
    np.testing.assert_array_equal(found.chosen_by("strict"), np.flatnonzero(found.strict))


def test_q_is_the_worse_of_both_nulls_and_excess_is_over_the_mean_rotation(world: Path) -> None:
    for peer in _found(world).peers:
        np.testing.assert_array_equal(peer.q, np.maximum(peer.derangement.q, peer.rotation.q))
        assert len(peer.derangement.decoys) == 2
        assert len(peer.rotation.decoys) == 8
        mean = np.mean([decoy.strongest for decoy in peer.rotation.decoys], axis=0)
        np.testing.assert_allclose(peer.excess, peer.matches.strongest - mean)


def test_a_clique_keeps_what_the_peers_match_among_themselves() -> None:
    anchor, *peers = (mixing_atlas(seed, shared=40) for seed in (1, 2, 3))
    star, clique = (
        find_rosetta_neurons(anchor, peers, MatchSettings(intersect=rule, rotations=2)) for rule in ("star", "clique")
    )
    between = match_atlases(*peers, WANTED)
    edges = set(zip(between.first.tolist(), between.second.tolist(), strict=True))
    partners = [peer.matches.second[star.row_RP[:, column]].tolist() for column, peer in enumerate(star.peers)]
    wanted = [pair in edges for pair in zip(*partners, strict=True)]
    np.testing.assert_array_equal(clique.index, star.index[wanted])
    np.testing.assert_array_equal(clique.row_RP, star.row_RP[wanted])
    assert set(range(40)) <= set(clique.index.tolist()), "what all three share holds together"
    assert len(clique.index) < len(star.index)


def test_a_small_memory_budget_changes_nothing(world: Path) -> None:
    anchor, peer = (make_atlas(kind, world) for kind in ("gpt2", "gpt_neox"))
    settings = MatchSettings(rotations=2)
    whole, part = (
        find_rosetta_neurons(anchor, [peer], settings, memory_bytes=budget) for budget in (2 << 30, 8 * 8 * 1200 * 4)
    )
    for name in ("index", "row_RP", "strict", "universal"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name))
    np.testing.assert_allclose(part.q, whole.q)
    np.testing.assert_allclose(part.mean_rho, whole.mean_rho, atol=1e-6)
    assert part.null_counts == whole.null_counts


def test_the_certificate_is_the_worst_of_the_peers(world: Path) -> None:
    found = _found(world)
    assert 0 < found.certificate < 1e-5
    assert found.certificate == max(peer.matches.certificate for peer in found.peers)


def test_the_null_counts_stand_beside_the_counts(world: Path) -> None:
    found = _found(world)
    assert set(found.null_counts) == {"deranged_paper", "deranged_strict", "rotated_paper", "rotated_strict"}
    assert found.null_counts["deranged_strict"] <= found.null_counts["deranged_paper"] <= 96


def test_every_rosetta_neuron_names_its_partners(world: Path) -> None:
    found = _found(world)
    entries = found.matches_of(0)
    assert [entry["peer"] for entry in entries] == [peer.peer.manifest.model for peer in found.peers]
    for column, entry in enumerate(entries):
        row = found.row_RP[0, column]
        assert entry["neuron"] == str(found.peers[column].peer.neuron(int(found.peers[column].matches.second[row])))
        assert entry["rho"] == pytest.approx(float(found.peers[column].matches.rho[row]))
        assert 0 < entry["standard_error"] < 0.5


def test_of_several_partners_the_strongest_counts(world: Path) -> None:
    found = _found(world, neighbours=3)
    for column, peer in enumerate(found.peers):
        for neuron, row in zip(found.index, found.row_RP[:, column], strict=True):
            strength = np.abs(peer.matches.rho) if column else peer.matches.rho  # the second peer is gated
            own = strength[peer.matches.first == neuron]
            assert strength[row] == own.max()
    assert len(found.index) >= len(_found(world).index)


def test_the_sign_counts_unless_a_model_is_gated(world: Path) -> None:
    plain, other, gated = (make_atlas(kind, world) for kind in ("gpt2", "gpt_neox", "llama"))
    assert not ranks_by_magnitude(plain, other, WANTED)
    assert ranks_by_magnitude(plain, gated, WANTED)
    assert ranks_by_magnitude(gated, plain, WANTED)
    assert ranks_by_magnitude(plain, other, MatchSettings(sign="absolute"))
    assert not ranks_by_magnitude(plain, gated, MatchSettings(sign="signed"))


def test_rosetta_neurons_need_a_peer_of_the_same_corpus(world: Path) -> None:
    anchor = make_atlas("gpt2", world)
    with pytest.raises(ConfigError, match="peer"):
        find_rosetta_neurons(anchor, [], WANTED)
    foreign = _retrained(Atlas(anchor.manifest.model_copy(update={"probe_fingerprint": "0" * 64}), anchor.arrays))
    with pytest.raises(FingerprintError):
        find_rosetta_neurons(anchor, [foreign], WANTED)


def test_an_unmatched_anchor_neuron_has_no_row(world: Path) -> None:
    peer = _found(world).peers[0]
    rows = peer.partner_of(96)
    unmatched = np.setdiff1d(np.arange(96), peer.matches.first)
    assert len(unmatched)
    assert (rows[unmatched] == -1).all()


def test_stages_are_told_by_the_peers_names(world: Path) -> None:
    anchor, told = make_atlas("gpt2", world), []
    find_rosetta_neurons(anchor, [_retrained(anchor)], WANTED, on_stage=told.append)
    assert told == [anchor.manifest.model]
