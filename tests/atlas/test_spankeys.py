"""Places of spans: a function of identity alone, held-back spans apart, decoys of the same kind."""

from dataclasses import replace

import numpy as np

from curator.atlas.spankeys import SpanKeys, derange
from curator.records import Document
from tests.atlas.core_world import SETTINGS, make_corpus


def _keys() -> SpanKeys:
    return SpanKeys(make_corpus(), SETTINGS)


def test_places_do_not_depend_on_the_order_of_the_documents() -> None:
    corpus = make_corpus()
    turned = replace(corpus, documents=corpus.documents[::-1])  # same fingerprint: same identities
    forward, backward = SpanKeys(corpus, SETTINGS), SpanKeys(turned, SETTINGS)
    last = len(corpus.documents) - 1
    for index in range(len(corpus.documents)):
        here, there = forward.places(index), backward.places(last - index)
        assert here.fold == there.fold
        np.testing.assert_array_equal(here.bucket, there.bucket)
        np.testing.assert_array_equal(here.sign, there.sign)
        np.testing.assert_array_equal(here.slot >= 0, there.slot >= 0)
        assert forward.decoy_D[index] == last - backward.decoy_D[last - index]


def test_places_change_with_the_seed_and_with_the_corpus() -> None:
    other_seed = SpanKeys(make_corpus(), SETTINGS.model_copy(update={"seed": 1}))
    other_corpus = SpanKeys(replace(make_corpus(), fingerprint="0" * 64), SETTINGS)
    for other in (other_seed, other_corpus):
        assert (other.places(0).bucket != _keys().places(0).bucket).mean() > 0.9


def test_every_fold_owns_a_block_of_dimensions_and_documents_fill_all_folds() -> None:
    keys = _keys()
    width = SETTINGS.sketch_dimensions // SETTINGS.folds
    folds = set()
    for index in range(len(keys.documents)):
        places = keys.places(index)
        folds.add(places.fold)
        assert (places.bucket // width == places.fold).all()
    assert folds == set(range(SETTINGS.folds))


def test_buckets_and_signs_are_even() -> None:
    keys = _keys()
    places = [keys.places(index) for index in range(len(keys.documents))]
    within = np.concatenate([p.bucket for p in places]) % (SETTINGS.sketch_dimensions // SETTINGS.folds)
    counts = np.bincount(within)
    assert abs(counts.std() / np.sqrt(counts.mean()) - 1) < 0.4  # Poisson
    signs = np.concatenate([p.sign for p in places])
    assert set(signs.tolist()) == {-1.0, 1.0}
    assert abs(signs.mean()) < 4 / np.sqrt(len(signs))


def test_held_back_slots_are_a_numbering_without_gaps_and_leave_leading_spans_out() -> None:
    keys = _keys()
    slots = []
    for index in keys.order_D:
        places = keys.places(index)
        assert not places.used[: SETTINGS.skip_spans].any()
        assert (places.slot[: SETTINGS.skip_spans] == -1).all()
        chosen = places.slot[places.slot >= 0]
        assert (keys.held_back_folds[chosen] == places.fold).all()
        slots.append(chosen)
    np.testing.assert_array_equal(np.concatenate(slots), np.arange(keys.held_back))
    assert abs(keys.held_back - SETTINGS.held_back_spans) < 5 * np.sqrt(SETTINGS.held_back_spans)


def test_at_most_one_span_in_four_is_held_back() -> None:
    keys = SpanKeys(make_corpus(), SETTINGS.model_copy(update={"held_back_spans": 10**6}))
    assert keys.held_back_rate == 0.25
    assert keys.held_back / keys.total_spans < 0.27


def test_decoy_places_are_those_of_a_partner_of_the_same_domain() -> None:
    keys = _keys()
    for index, partner in enumerate(keys.decoy_D):
        assert partner != index
        assert keys.documents[partner].domain == keys.documents[index].domain
        assert keys.fold_D[partner] == keys.fold_D[index]
        decoy, own = keys.places(index, decoy=True), keys.places(partner)
        shared = min(len(decoy.bucket), len(own.bucket))
        np.testing.assert_array_equal(decoy.bucket[:shared], own.bucket[:shared])
        np.testing.assert_array_equal(decoy.sign[:shared], own.sign[:shared])
        np.testing.assert_array_equal(decoy.slot[:shared], own.slot[:shared])
        assert (decoy.slot[shared:] == -1).all()
        assert decoy.fold == own.fold


def test_no_two_documents_share_a_partner_and_partners_are_of_similar_length() -> None:
    keys = _keys()
    lengths = keys.length_D
    assert sorted(keys.decoy_D.tolist()) == list(range(len(keys.documents)))
    ratio = lengths / lengths[keys.decoy_D]
    assert np.median(np.abs(np.log(ratio))) < 0.25


def test_the_only_document_of_a_domain_has_no_decoy_places() -> None:
    documents = [Document("a", "x", "one"), Document("b", "x", "two"), Document("c", "x", "two")]
    assert derange(documents, np.ones(3, int), np.zeros(3, int), seed=0) == [-1, 2, 1]
    assert derange(documents, np.ones(3, int), np.asarray([0, 0, 1]), seed=0) == [-1, -1, -1]
    corpus = make_corpus()
    alone = replace(corpus, documents=(replace(corpus.documents[0], domain="alone"), *corpus.documents[1:]))
    places = SpanKeys(alone, SETTINGS).places(0, decoy=True)
    assert not places.used.any()
    assert (places.slot == -1).all()
