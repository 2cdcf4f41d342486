"""Numbers that must never move: were they to, atlases and neuron sets made before could no longer be compared with new ones."""

import numpy as np

from curator.atlas.spankeys import SpanKeys, _mixed
from curator.neuronset.parts import part_of
from curator.records import Document
from curator.rosetta.null import q_values
from curator.settings import AtlasSettings, MatchSettings, NeuronSetSettings
from curator.text.probe import ProbeCorpus

_TEXT = "one two three four five six seven eight nine ten"


def _keys(documents_wanted: int = 3) -> SpanKeys:
    documents = tuple(Document(f"d{number}", _TEXT, "x") for number in range(documents_wanted))
    settings = AtlasSettings(sketch_dimensions=64, folds=4, held_back_spans=256)
    return SpanKeys(ProbeCorpus(documents, ("x",), "f" * 64, {"x": 30}), settings)


def test_the_hash_is_splitmix64_by_its_published_first_values() -> None:
    found = _mixed(0, 3, np.uint64(0x9E3779B97F4A7C15))
    assert [hex(value) for value in found.tolist()] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]


def test_places_of_spans() -> None:
    places = _keys().places(1)
    assert places.fold == 2
    assert places.bucket.tolist() == [41, 47, 38, 47, 34, 44, 34, 46, 42, 34]
    assert places.sign.tolist() == [-1, 1, 1, -1, -1, 1, 1, -1, -1, -1]
    assert places.slot.tolist() == [-1, -1, -1, -1, -1, -1, -1, 2, -1, -1]
    assert _keys().places(2).slot.tolist() == [-1, -1, -1, -1, -1, -1, -1, 0, 1, -1]


def test_decoy_partners_and_folds_of_held_back_spans() -> None:
    keys = _keys(9)
    assert keys.fold_D.tolist() == [3, 2, 1, 1, 2, 2, 2, 3, 1]
    assert keys.order_D.tolist() == [2, 3, 8, 1, 4, 5, 6, 0, 7]
    assert keys.decoy_D.tolist() == [7, 4, 8, 2, 5, 6, 1, 0, 3]
    assert keys.held_back_folds.tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3]


def test_parts_of_sources() -> None:
    parts = "".join(part_of(f"s{number}", NeuronSetSettings())[0] for number in range(8))
    assert parts == "fffrrfff"


def test_q_values_worked_by_hand() -> None:
    found = q_values(np.asarray([0.9, 0.5, 0.7, 0.2]), [np.asarray([0.6, 0.1]), np.asarray([0.3, 0.1])])
    # at 0.9: 1/2/1; at 0.7: 1/2/2; at 0.5: 2/2/3; at 0.2: 3/2/4, and then the least of it and of all below
    np.testing.assert_allclose(found, [0.25, 1 / 3, 0.25, 0.375])


def test_the_defaults_that_reports_state() -> None:
    atlas, match, chosen = AtlasSettings(), MatchSettings(), NeuronSetSettings()
    assert (atlas.sketch_dimensions, atlas.folds, atlas.held_back_spans) == (2048, 8, 8192)
    assert (match.candidates, match.neighbours, match.max_q, match.min_excess) == (32, 1, 0.01, 0.5)
    assert (chosen.max_neurons, chosen.rosetta_rule, chosen.fit_share) == (256, "strict", 0.5)
