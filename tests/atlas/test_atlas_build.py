"""A whole atlas of a tiny model against activations read one window at a time and pooled in float64."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from curator.atlas.build import build_atlas
from curator.atlas.spankeys import SpanKeys
from curator.atlas.store import require_comparable, save_atlas
from curator.errors import FingerprintError, InsufficientDataError
from curator.rosetta.verify import pair_sums
from curator.text.segmentation import universal_spans
from tests.atlas.core_world import SETTINGS, make_atlas, make_backbone, make_corpus, raw_spans, split_spans


def _correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's correlation of all pairs of columns, over the rows that both have."""
    both = ~np.isnan(first[:, 0]) & ~np.isnan(second[:, 0])
    a, b = ((x[both] - x[both].mean(axis=0)) / x[both].std(axis=0) for x in (first, second))
    return a.T @ b / both.sum()


def test_moments_are_those_of_raw_hooks_pooled_in_float64(world: Path) -> None:
    atlas = make_atlas("gpt2", world)
    sketched, _ = split_spans(make_backbone("gpt2", world), make_corpus())
    sketched = sketched[~np.isnan(sketched[:, 0])]
    assert atlas.manifest.spans == len(sketched)
    np.testing.assert_allclose(atlas["mean"], sketched.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(atlas["deviation"], sketched.std(axis=0), rtol=1e-4)
    np.testing.assert_allclose(atlas["excess_kurtosis"], stats.kurtosis(sketched, axis=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(atlas["positive_fraction"], (sketched > 0).mean(axis=0), atol=2 / len(sketched))
    assert atlas.manifest.certificate < 1e-5
    assert atlas.manifest.dead_neurons == 0


def test_signatures_and_held_back_values_give_pearsons_correlation_across_tokenizers(world: Path) -> None:
    names = ("gpt2", "gpt_neox")
    first, second = (make_atlas(name, world) for name in names)
    (a, held_a), (b, held_b) = (split_spans(make_backbone(name, world), make_corpus()) for name in names)
    pairs = np.stack(np.meshgrid(np.arange(0, 96, 5), np.arange(0, 96, 7)), axis=-1).reshape(-1, 2)

    exact = _correlations(a, b)[pairs[:, 0], pairs[:, 1]]
    estimate = (first["signature_Nd"].astype(float) @ second["signature_Nd"].T.astype(float))[pairs[:, 0], pairs[:, 1]]
    error = np.sqrt(((estimate - exact) ** 2).mean()) * np.sqrt(SETTINGS.sketch_dimensions)
    assert error < 1.6, "root mean square error of the sketch in units of 1/sqrt(d)"

    both = ~np.isnan(held_a[:, 0]) & ~np.isnan(held_b[:, 0])
    exact_held = _correlations(held_a[both], held_b[both])[pairs[:, 0], pairs[:, 1]]
    sums = pair_sums(first["held_NV"], second["held_NV"], pairs, first["held_fold_V"], SETTINGS.folds)
    verified = sums.correlation(np.ones(SETTINGS.folds, bool))
    np.testing.assert_allclose(verified, exact_held, atol=1e-3)
    assert np.abs(exact_held).max() > 0.2, "the world has something to correlate"


def test_document_means_and_top_contexts_are_those_of_the_raw_spans(world: Path) -> None:
    atlas, backbone, corpus = make_atlas("gpt2", world), make_backbone("gpt2", world), make_corpus()
    raw = list(raw_spans(backbone, corpus))
    means = np.stack([np.nanmean(values, axis=0) for values in raw])
    np.testing.assert_allclose(atlas["document_mean_DN"], means, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(atlas["document_spans_D"], [(~np.isnan(values[:, 0])).sum() for values in raw])
    highest = -np.sort(-np.concatenate([values[~np.isnan(values[:, 0])] for values in raw]), axis=0)[
        : SETTINGS.top_contexts
    ]
    np.testing.assert_allclose(atlas["top_value_Nk"], highest.T, rtol=1e-4, atol=1e-6)
    for neuron in (0, 50, 95):
        for value, document, span in zip(
            atlas["top_value_Nk"][neuron], atlas["top_document_Nk"][neuron], atlas["top_span_Nk"][neuron], strict=True
        ):
            assert raw[document][span, neuron] == pytest.approx(value, rel=1e-4)


def test_two_runs_give_the_same_bytes(world: Path, tmp_path: Path) -> None:
    atlas = make_atlas("gpt2", world)
    again = build_atlas(make_backbone("gpt2", world), make_corpus(), SETTINGS, tmp_path / "again")
    save_atlas(atlas, tmp_path / "one")
    save_atlas(again, tmp_path / "two")
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_atlases_of_different_tokenizers_are_over_the_same_spans(world: Path) -> None:
    atlases = [make_atlas(kind, world) for kind in ("gpt2", "gpt_neox", "llama")]
    assert len({atlas.manifest.tokenizer_fingerprint for atlas in atlases}) == 3
    assert len({atlas.manifest.tokens for atlas in atlases}) == 3
    total = sum(len(universal_spans(document.text)) for document in make_corpus().documents)
    ignored = SETTINGS.skip_spans * len(make_corpus().documents)
    for atlas in atlases:
        manifest = atlas.manifest
        np.testing.assert_array_equal(atlas["held_fold_V"], atlases[0]["held_fold_V"])
        lost = int(np.isnan(atlas["held_NV"][0]).sum())
        assert manifest.spans + manifest.held_back - lost + manifest.uncovered_spans == total - ignored
        assert manifest.uncovered_spans < 0.01 * total
        assert atlas["signature_Nd"].shape == (96, SETTINGS.sketch_dimensions)
        assert manifest.gated == (manifest.model.rsplit("core-", 1)[1].startswith("llama"))


def test_a_signatures_length_is_near_one(world: Path) -> None:
    norm = np.linalg.norm(make_atlas("gpt2", world)["signature_Nd"], axis=1)
    assert 0.6 < norm.min() < norm.max() < 1.4


@pytest.mark.parametrize("decoy", [False, True])
def test_sketches_and_held_back_values_are_those_of_a_loop_over_documents(world: Path, decoy: bool) -> None:
    atlas, keys, neurons = make_atlas("gpt2", world), SpanKeys(make_corpus(), SETTINGS), [0, 47, 48, 95]
    signature = np.zeros((SETTINGS.sketch_dimensions, len(neurons)))
    held = np.full((keys.held_back, len(neurons)), np.nan)
    for index, values in enumerate(raw_spans(make_backbone("gpt2", world), make_corpus())):
        z = (values[:, neurons] - atlas["mean"][neurons]) / atlas["deviation"][neurons]
        places = keys.places(index, decoy=decoy)
        for span in np.flatnonzero(~np.isnan(values[:, 0])):
            if places.slot[span] >= 0:
                held[places.slot[span]] = z[span]
            else:
                signature[places.bucket[span]] += places.sign[span] * z[span]
    names = ("decoy_Nd", "decoy_held_NV") if decoy else ("signature_Nd", "held_NV")
    np.testing.assert_allclose(atlas[names[0]][neurons], signature.T / np.sqrt(atlas.manifest.spans), atol=1e-5)
    np.testing.assert_allclose(atlas[names[1]][neurons], held.T, atol=5e-3)


def test_decoy_signatures_keep_the_moments_and_lose_the_correlation(world: Path) -> None:
    atlas = make_atlas("gpt2", world)
    own = (atlas["signature_Nd"] * atlas["decoy_Nd"]).sum(axis=1)
    assert np.abs(own).mean() < 0.5, "a neuron and its own decoy share the domain at most"
    held, decoy = atlas["held_NV"].astype(float), atlas["decoy_held_NV"].astype(float)
    both = ~np.isnan(held) & ~np.isnan(decoy)
    assert both.mean() > 0.7
    assert np.mean([np.corrcoef(h[m], d[m])[0, 1] for h, d, m in zip(held, decoy, both, strict=True)]) < 0.7


def test_a_corpus_with_fewer_spans_than_sketch_dimensions_is_refused(world: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"sketch_dimensions": 65_536})
    with pytest.raises(InsufficientDataError, match="token budget"):
        build_atlas(make_backbone("gpt2", world), make_corpus(), settings, tmp_path / "atlas")
    assert not list(tmp_path.iterdir())


def test_atlases_of_different_corpora_or_settings_cannot_be_compared(world: Path, tmp_path: Path) -> None:
    atlas, backbone = make_atlas("gpt2", world), make_backbone("gpt2", world)
    other_corpus = build_atlas(backbone, make_corpus(20, seed=5), SETTINGS, tmp_path / "corpus")
    other = SETTINGS.model_copy(update={"sketch_dimensions": 128})
    other_settings = build_atlas(backbone, make_corpus(), other, tmp_path / "settings")
    for other, what in ((other_corpus, "probe_fingerprint"), (other_settings, "settings")):
        with pytest.raises(FingerprintError, match=what):
            require_comparable(atlas, other)
    require_comparable(atlas, make_atlas("llama", world))


def test_progress_rises_and_ends_at_the_number_of_documents(world: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    build_atlas(
        make_backbone("gpt2", world),
        make_corpus(),
        SETTINGS,
        tmp_path / "atlas",
        progress=lambda *step: seen.append(step),
        snapshot_seconds=0,
    )
    done = [documents for documents, _ in seen]
    assert done == sorted(set(done)) and len(done) > 2
    assert seen[-1] == (180, 180)
