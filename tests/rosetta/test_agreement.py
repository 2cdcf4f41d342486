"""Agreement of match tables: by hand, and of the sketch with exact mode on small models."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from curator.rosetta.agreement import agreement, match_every_way, recall_and_extra
from curator.rosetta.matching import MatchTable, tabulate
from curator.rosetta.verify import PairSums
from curator.settings import MatchSettings
from tests.atlas.core_world import make_atlas, make_backbone, make_corpus


def _table(*matches: tuple[int, int, float]) -> MatchTable:
    pairs = np.asarray([match[:2] for match in matches], np.int64).reshape(-1, 2)
    zeros, rows = np.zeros((len(pairs), 2)), np.arange(len(pairs))
    sums = PairSums(zeros, zeros, zeros, zeros, zeros, rows, rows, np.ones(2))
    table = tabulate(pairs, zeros[:, 0], sums, MatchSettings(), False, 99)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return replace(table, rho=np.asarray([match[2] for match in matches])[order])


def test_recall_extras_and_jaccard_are_counted_from_the_threshold_up() -> None:
    reference = _table((0, 5, 0.9), (1, 6, 0.5), (2, 7, 0.3), (3, 8, 0.1))
    other = _table((0, 5, 0.9), (1, 6, 0.4), (2, 9, 0.35), (4, 4, 0.05))
    found = agreement(reference, other, min_rho=0.15)
    assert (found.reference, found.other, found.missed, found.extra) == (3, 3, 1, 1)
    assert found.recalled == 2 / 3
    assert found.jaccard == 2 / 4
    assert found.extra_share == 1 / 3
    np.testing.assert_allclose(found.worst_difference, 0.1)


def test_a_pair_on_either_side_of_the_threshold_is_neither_missed_nor_extra() -> None:
    found = agreement(_table((0, 1, 0.151), (2, 2, 0.149)), _table((0, 1, 0.149), (2, 2, 0.151)), min_rho=0.15)
    assert (found.missed, found.extra, found.recalled, found.jaccard) == (0, 0, 1.0, 0.0)


def test_by_magnitude_a_strong_negative_pair_counts() -> None:
    reference, other = _table((0, 1, -0.8)), _table((0, 1, -0.7))
    assert agreement(reference, other, absolute=True).reference == 1
    assert agreement(reference, other).reference == 0


def test_empty_tables_agree() -> None:
    found = agreement(_table(), _table())
    assert (found.recalled, found.jaccard, found.extra, found.worst_difference) == (1.0, 1.0, 0, 0.0)
    assert agreement(_table((0, 0, 0.5)), _table()).recalled == 0.0


def test_on_small_models_the_sketch_finds_what_exact_mode_finds(world: Path) -> None:
    names = ("gpt2", "gpt_neox")
    backbones = (make_backbone(names[0], world), make_backbone(names[1], world))
    atlases = (make_atlas(names[0], world), make_atlas(names[1], world))
    study = match_every_way(backbones, atlases, make_corpus(), MatchSettings(candidates=32)).study()
    assert recall_and_extra([study]) == recall_and_extra([study], verification="held_back") == (1.0, 0)
    assert study.held_back.worst_difference < 1e-4
    assert study.second_pass.worst_difference < 1e-5
    assert study.second_pass.reference > 10
    assert 0.3 < study.shared_spans.recalled <= 1
    assert json.loads(json.dumps(study.as_json()))["second_pass"]["missed"] == 0


def test_without_a_study_the_published_numbers_are_those_of_nothing() -> None:
    assert recall_and_extra([]) == (1.0, 0)
