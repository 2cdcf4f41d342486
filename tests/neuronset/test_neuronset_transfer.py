"""A neuron set carried to another model: by correlation alone, one to one, measured and not fitted by labels."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.errors import ConfigError, FingerprintError, InsufficientDataError
from curator.neuronset.artifact import NeuronSet, load_neuron_set, save_neuron_set
from curator.neuronset.calibrate import Calibration, carried_calibration
from curator.neuronset.partners import Partners, _assigned, best_match_q
from curator.neuronset.parts import Part, part_of
from curator.neuronset.scorers import Linear, follow_linear, follow_single
from curator.neuronset.transfer import SourceScores, carry_neuron_set, source_scores
from curator.records import Document, Score
from curator.rosetta.neurons import RosettaNeurons, find_rosetta_neurons
from curator.scoring.scorer import NeuronSetScorer
from curator.settings import MatchSettings, TransferSettings
from curator.text.probe import ProbeCorpus
from tests.atlas.core_world import make_atlas, make_backbone, make_corpus
from tests.neuronset.made_set import TARGETS, make_set

METHODS = ("single", "linear", "signature", "blended")


@cache
def _shared(root: Path, to: str) -> RosettaNeurons:
    return find_rosetta_neurons(make_atlas("gpt2", root), [make_atlas(to, root)], MatchSettings())


@cache
def _scores(root: Path) -> SourceScores:
    return source_scores(make_set(root), make_backbone("gpt2", root), make_corpus())


def _carry(
    root: Path,
    to: str = "llama",
    *,
    source: NeuronSet | None = None,
    corpus: ProbeCorpus | None = None,
    floors: TransferSettings | None = None,
) -> NeuronSet:
    return carry_neuron_set(
        source or make_set(root), _scores(root), _shared(root, to), make_backbone(to, root), corpus or make_corpus(),
        name="carried", match_settings=MatchSettings(), settings=floors,
    )  # fmt: skip


@cache
def _carried(root: Path, to: str) -> NeuronSet:
    return _carry(root, to)


@cache
def _as_is(root: Path, to: str) -> NeuronSet:
    return _carry(root, to, floors=TransferSettings(refine=False, partners=1))


@pytest.mark.parametrize("to", ["llama", "gpt_neox"])
def test_a_carried_set_tells_the_targets_apart_in_a_model_where_no_label_was_read(world: Path, to: str) -> None:
    manifest = _carried(world, to).manifest
    assert set(manifest.targets) == set(TARGETS)
    for target in TARGETS:
        chosen, source = manifest.targets[target], make_set(world).manifest.targets[target]
        assert chosen.default == source.default
        assert (chosen.methods[chosen.default].report_average_precision or 0) > 0.9
        assert (chosen.methods["linear"].report_average_precision or 0) > 0.9
        assert chosen.methods["linear"].calibration.endswith("carried")


@pytest.mark.parametrize("to", ["llama", "gpt_neox"])
def test_every_carried_neuron_names_its_source_and_no_neuron_is_used_twice(world: Path, to: str) -> None:
    source, manifest = make_set(world).manifest, _carried(world, to).manifest
    origin, atlas = manifest.transferred_from, make_atlas(to, world)
    assert origin is not None
    assert (origin.etag, origin.model, origin.neurons) == (make_set(world).etag, source.model, len(source.neurons))
    sources = [neuron.carried_from.source for neuron in manifest.neurons if neuron.carried_from]
    assert {*sources, *origin.dropped} == {neuron.id for neuron in source.neurons} and not {*sources} & {
        *origin.dropped
    }
    assert max(sources.count(neuron) for neuron in sources) == origin.settings.partners == 2
    assert len({neuron.id for neuron in manifest.neurons}) == len(manifest.neurons) == len(sources)
    first, second = (make_atlas(kind, world)["held_NV"].astype(np.float64) for kind in ("gpt2", to))
    for neuron, place in zip(manifest.neurons, _carried(world, to).choice.neurons, strict=True):
        one = neuron.carried_from
        assert one is not None
        row = make_set(world).choice.neurons[[n.id for n in source.neurons].index(one.source)]
        x, y = first[make_atlas("gpt2", world).index(row)], second[atlas.index(place)]
        covered = ~np.isnan(x) & ~np.isnan(y)
        assert one.rho == pytest.approx(np.corrcoef(x[covered], y[covered])[0, 1], abs=0.02)
        assert abs(one.rho) >= origin.settings.min_rho and one.q <= origin.settings.max_q
        assert 0 < one.standard_error < 0.2


def test_the_sign_of_the_correlation_turns_the_neuron(world: Path) -> None:
    """Llama's neurons are gated: their sign is arbitrary, so about half of the partners correlate negatively."""
    source = {neuron.id: neuron for neuron in make_set(world).manifest.neurons}
    turned = 0
    for neuron in _carried(world, "llama").manifest.neurons:
        assert neuron.carried_from is not None
        sign = -1 if neuron.carried_from.rho < 0 else 1
        assert neuron.sign == source[neuron.carried_from.source].sign * sign
        turned += neuron.sign < 0
    assert turned > 0
    assert all(neuron.sign == 1 for neuron in _carried(world, "gpt_neox").manifest.neurons)


def test_as_is_weights_votes_and_the_single_neuron_are_the_sources(world: Path) -> None:
    source, carried = make_set(world), _as_is(world, "gpt_neox")
    assert carried.manifest.transferred_from is not None and carried.manifest.transferred_from.refined == ()
    ids = [neuron.id for neuron in source.manifest.neurons]
    places = [ids.index(n.carried_from.source) for n in carried.manifest.neurons if n.carried_from]
    for target in TARGETS:
        weight = source.arrays[f"{target}.linear.weight"].reshape(3, -1)[:, places].ravel()
        np.testing.assert_array_equal(carried.arrays[f"{target}.linear.weight"], weight)
        vote = source.arrays[f"{target}.signature.vote"][places]
        np.testing.assert_array_equal(carried.arrays[f"{target}.signature.vote"], vote)
        single = carried.manifest.targets[target].single_neuron
        assert places[single] == source.manifest.targets[target].single_neuron


@pytest.mark.parametrize("to", ["llama", "gpt_neox"])
def test_refined_scores_follow_the_sources_on_documents_that_refined_nothing(world: Path, to: str) -> None:
    origin, corpus = _carried(world, to).manifest.transferred_from, make_corpus()
    assert origin is not None and origin.refined == TARGETS
    documents = [d for d in corpus.documents if part_of(d.source, make_set(world).manifest.settings) is Part.REPORT]
    for target in TARGETS:
        source, as_is, refined = (
            np.asarray([
                result.value
                for result in NeuronSetScorer(make_backbone(kind, world), made, target, "linear").score(documents)
                if isinstance(result, Score)
            ])
            for kind, made in (("gpt2", make_set(world)), (to, _as_is(world, to)), (to, _carried(world, to)))
        )  # fmt: skip
        assert np.corrcoef(source, refined)[0, 1] > max(0.9, np.corrcoef(source, as_is)[0, 1])


def test_labels_decide_nothing_but_the_report(world: Path) -> None:
    """The same documents under rotated labels: every number that scores is equal, the stated quality is not."""
    corpus = make_corpus()
    turn = dict(zip(corpus.domains, (*corpus.domains[1:], corpus.domains[0]), strict=True))
    relabelled = replace(corpus, documents=tuple(replace(d, domain=turn[d.domain]) for d in corpus.documents))
    one, other = _carried(world, "llama"), _carry(world, "llama", corpus=relabelled)
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        if not name.endswith(".report.label"):  # what the stated quality is measured with
            np.testing.assert_array_equal(array, other.arrays[name], err_msg=name)
    assert [n.id for n in one.manifest.neurons] == [n.id for n in other.manifest.neurons]
    for target in TARGETS:
        true, false = one.manifest.targets[target], other.manifest.targets[target]
        assert (true.default, true.single_neuron) == (false.default, false.single_neuron)
        assert true.methods["linear"].report_average_precision != false.methods["linear"].report_average_precision


def test_a_corpus_without_the_target_carries_the_set_and_states_no_quality(world: Path) -> None:
    corpus = make_corpus()
    unlabelled = replace(corpus, documents=tuple(replace(d, domain="unknown") for d in corpus.documents))
    manifest = _carry(world, "gpt_neox", corpus=unlabelled).manifest
    for target in TARGETS:
        for quality in manifest.targets[target].methods.values():
            assert quality.report_average_precision is None and quality.report_auroc is None
            assert quality.operating_points == () and quality.report_positives == 0
    assert all(neuron.targets == {} for neuron in manifest.neurons)


def test_a_carried_set_is_saved_loaded_and_scores_like_any_other(world: Path, tmp_path: Path) -> None:
    carried = _carried(world, "llama")
    saved = save_neuron_set(carried, tmp_path / "set")
    loaded = load_neuron_set(tmp_path / "set")
    assert loaded.etag == saved.etag and loaded.manifest == carried.manifest
    unseen = list(make_corpus(20, seed=9).documents)
    for method in METHODS:
        results = NeuronSetScorer(make_backbone("llama", world), loaded, "digits", method).score(unseen)
        assert all(isinstance(result, Score) for result in results)
        assert all(0 < result.probability < 1 for result in results if isinstance(result, Score))
    with pytest.raises(FingerprintError):
        NeuronSetScorer(make_backbone("gpt2", world), loaded, "digits")


def test_carrying_twice_gives_one_etag(world: Path) -> None:
    assert _carry(world, "llama").etag == _carried(world, "llama").etag


def test_a_single_neuron_without_a_partner_is_replaced_by_the_targets_best_that_has_one(world: Path) -> None:
    source = make_set(world)
    rhos = sorted(abs(n.carried_from.rho) for n in _as_is(world, "gpt_neox").manifest.neurons if n.carried_from)
    floors = TransferSettings(min_rho=round(rhos[len(rhos) // 2], 3), refine=False, partners=1)
    partial = _carry(world, "gpt_neox", floors=floors)
    origin = partial.manifest.transferred_from
    assert origin is not None and origin.dropped
    lost = [n.id for n in source.manifest.neurons].index(origin.dropped[0])
    targets = {t: f.model_copy(update={"single_neuron": lost}) for t, f in source.manifest.targets.items()}
    orphaned = replace(source, manifest=source.manifest.model_copy(update={"targets": targets}))
    found = _carry(world, "gpt_neox", source=orphaned, floors=floors).manifest
    for target in TARGETS:
        kept = {n.carried_from.source for n in found.neurons if n.carried_from}
        mine = [n for n in source.manifest.neurons if target in n.targets and n.id in kept]
        best = max(mine, key=lambda neuron: neuron.targets[target].auroc_fit)
        single = found.neurons[found.targets[target].single_neuron].carried_from
        assert single is not None and single.source == best.id


def test_what_does_not_belong_together_is_refused(world: Path) -> None:
    with pytest.raises(InsufficientDataError, match="No neuron"):
        _carry(world, "llama", floors=TransferSettings(min_rho=0.999))
    with pytest.raises(FingerprintError, match="made for"):
        source_scores(make_set(world), make_backbone("llama", world), make_corpus())
    with pytest.raises(FingerprintError, match="probe corpus"):
        _carry(world, "llama", corpus=make_corpus(20, seed=5))
    arguments = {"name": "x", "match_settings": MatchSettings()}
    with pytest.raises(ConfigError, match="already"):
        carry_neuron_set(
            make_set(world), _scores(world), _shared(world, "llama"), make_backbone("gpt2", world), make_corpus(),
            **arguments,
        )  # fmt: skip
    with pytest.raises(FingerprintError, match="atlas"):
        carry_neuron_set(
            make_set(world), _scores(world), _shared(world, "llama"), make_backbone("gpt_neox", world), make_corpus(),
            **arguments,
        )  # fmt: skip


def test_source_scores_are_those_of_the_scorer_and_no_report_document_is_read(world: Path) -> None:
    source, corpus = make_set(world), make_corpus()
    scores_D = _scores(world)["digits", "linear"]
    read = np.flatnonzero(~np.isnan(scores_D))
    parts = {part_of(corpus.documents[row].source, source.manifest.settings) for row in read}
    assert parts == {Part.FIT, Part.VALIDATE}
    documents: list[Document] = [corpus.documents[row] for row in read[:8]]
    results = NeuronSetScorer(make_backbone("gpt2", world), source, "digits", "linear").score(documents)
    values = [result.value for result in results if isinstance(result, Score)]
    np.testing.assert_allclose(scores_D[read[:8]], values, atol=1e-3)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(-1, 1, allow_nan=False), st.booleans()),
        max_size=20,
        unique_by=lambda row: row[:2],
    )
)
def test_no_neuron_is_taken_twice_and_nothing_better_is_passed_over(rows: list[tuple[int, int, float, bool]]) -> None:
    first, second, rho, mutual = (
        (np.asarray(column) for column in zip(*rows, strict=True)) if rows else [np.zeros(0)] * 4
    )
    pairs = Partners(first.astype(int), second.astype(int), rho.astype(float), rho, rho, mutual.astype(bool), rho > 2)
    taken = _assigned(pairs, 1).tolist()
    assert len({pairs.first[row] for row in taken}) == len({pairs.second[row] for row in taken}) == len(taken)
    rank = {row: (bool(pairs.mutual[row]), abs(float(pairs.rho[row]))) for row in range(len(rows))}
    for row in set(range(len(rows))) - set(taken):
        rivals = [t for t in taken if pairs.first[t] == pairs.first[row] or pairs.second[t] == pairs.second[row]]
        assert any(rank[rival] >= rank[row] for rival in rivals)
    more = _assigned(pairs, 2).tolist()
    assert more[: len(taken)] == taken, "a second partner takes nobody's first"
    assert len({pairs.second[row] for row in more}) == len(more)
    assert all(pairs.first[more].tolist().count(neuron) <= 2 for neuron in pairs.first[more])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-5, 5, allow_nan=False), min_size=4, max_size=40), st.integers(0, 10))
def test_a_carried_calibration_never_falls_and_keeps_the_mean_probability(theirs: list[float], seed: int) -> None:
    scores = np.asarray(theirs)
    own = scores + np.random.default_rng(seed).standard_normal(len(scores))
    calibration = Calibration("platt", np.linspace(-5, 5, 21), np.linspace(0.01, 0.99, 21))
    found = carried_calibration(calibration, own, scores)
    grid = found(np.linspace(-9, 9, 50))
    assert (np.diff(grid) >= 0).all() and grid.min() > 0 and grid.max() < 1
    assert found(own).mean() == pytest.approx(calibration(scores).mean(), abs=1e-6)
    if len(set(theirs)) == len(theirs):
        np.testing.assert_allclose(
            carried_calibration(calibration, scores, scores)(scores), calibration(scores), atol=1e-6
        )


def test_stronger_best_matches_are_surer(world: Path) -> None:
    shared = _shared(world, "llama")
    q = best_match_q(shared.peers[0], shared.anchor["alive"], np.linspace(0, 1, 50))
    assert (np.diff(q) <= 0).all() and q[0] == 1.0 and q[-1] == pytest.approx(q.min())


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_weights_move_only_as_far_as_the_scores_ask(seed: int, neurons: int) -> None:
    generator = np.random.default_rng(seed)
    z = generator.standard_normal((60, 3 * neurons))
    true = Linear(generator.standard_normal(3 * neurons), 0.7)
    prior = Linear(generator.standard_normal(3 * neurons), 0.0)
    scores = true.score(z)
    exact, held = (follow_linear(prior, z, scores, shrinkage) for shrinkage in (1e-9, 1e9))
    np.testing.assert_allclose(exact.weight, true.weight, atol=1e-6)
    assert exact.intercept == pytest.approx(0.7, abs=1e-6)
    np.testing.assert_allclose(held.weight, prior.weight, atol=1e-5)
    assert held.score(z).mean() == pytest.approx(scores.mean(), abs=1e-4), "the intercept is free"
    np.testing.assert_allclose(follow_linear(true, z, scores, 1.0).weight, true.weight, atol=1e-9)


def test_the_single_neuron_may_follow_downwards_only_where_signs_are_arbitrary() -> None:
    generator = np.random.default_rng(0)
    expected = generator.random(80)
    z = generator.standard_normal((80, 9))
    z[:, 0], z[:, 2] = expected + 0.5 * generator.standard_normal(80), -expected
    assert (follow_single(z, expected).position, follow_single(z, expected).direction) == (0, 1)
    turned = follow_single(z, expected, either_direction=True)
    assert (turned.position, turned.direction) == (2, -1)
