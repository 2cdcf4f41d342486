"""Candidate search: every kind of index against the definition, whatever the memory budget."""

from pathlib import Path

import faiss
import numpy as np
import pytest

from curator.errors import ConfigError
from curator.rosetta import index as index_module
from curator.rosetta.index import FLAT_UP_TO, Candidates, UnitRows, nearest, resolved, unit_norm

WIDTH = 64


def rows(values: np.ndarray) -> UnitRows:
    return UnitRows(values.astype(np.float32), np.arange(len(values)))


def clustered(count: int, seed: int, *, clusters: int = 40) -> tuple[UnitRows, UnitRows]:
    """Two models whose neurons lie about common centres, as activation patterns do, and are near-copies of each other."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((clusters, WIDTH))
    first = centres[generator.integers(clusters, size=count)] + generator.standard_normal((count, WIDTH))
    return rows(first), rows(first[generator.permutation(count)] + 0.5 * generator.standard_normal((count, WIDTH)))


def same(one: Candidates, other: Candidates) -> None:
    np.testing.assert_array_equal(one.neighbour, other.neighbour)
    np.testing.assert_array_equal(one.similarity, other.similarity)


@pytest.mark.parametrize("absolute", [False, True])
def test_candidates_are_the_nearest_signatures_of_either_sign(absolute: bool) -> None:
    generator = np.random.default_rng(11)
    queries, searched = (rows(generator.standard_normal((n, WIDTH))) for n in (20, 90))
    found = nearest(queries, searched, 5, absolute=absolute)
    product = queries.block(0, 20).astype(float) @ searched.block(0, 90).T
    strength = np.abs(product) if absolute else product
    np.testing.assert_array_equal(found.neighbour, np.argsort(-strength, axis=1)[:, :5])
    np.testing.assert_allclose(found.similarity, -np.sort(-strength, axis=1)[:, :5], atol=1e-6)


@pytest.mark.parametrize("absolute", [False, True])
def test_asked_for_more_than_there_are_every_row_comes_once(absolute: bool) -> None:
    queries, searched = (rows(np.random.default_rng(n).standard_normal((n, WIDTH))) for n in (7, 9))
    found = nearest(queries, searched, 50, absolute=absolute)
    np.testing.assert_array_equal(np.sort(found.neighbour, axis=1), np.tile(np.arange(9), (7, 1)))


def test_of_equal_signatures_the_lower_index_comes_first_across_shards() -> None:
    values = np.random.default_rng(0).standard_normal((40, WIDTH))
    values[[3, 17, 31]] = values[25]
    found = nearest(rows(values[[25]]), rows(values), 4, absolute=False, memory_bytes=8 * 4 * WIDTH)
    assert found.neighbour[0].tolist() == [3, 17, 25, 31]


def test_a_row_of_zeros_stays_zero_when_normed() -> None:
    assert unit_norm(np.zeros((1, 3))).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
@pytest.mark.parametrize("absolute", [False, True])
def test_an_approximate_index_finds_nearly_what_the_exact_one_finds(kind: str, absolute: bool) -> None:
    queries, searched = clustered(1000, seed=1)
    exact = nearest(queries, searched, 8, absolute=absolute, kind="flat").neighbour
    found = nearest(queries, searched, 8, absolute=absolute, kind=kind).neighbour  # pyright: ignore[reportArgumentType]
    recalled = [len(np.intersect1d(a, b)) for a, b in zip(exact, found, strict=True)]
    assert np.sum(recalled) > 0.95 * exact.size
    assert (found == exact[:, :1]).any(axis=1).mean() > 0.99, "the nearest of all"


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_a_search_repeated_gives_the_same_and_a_seed_changes_only_the_centroids(kind: str) -> None:
    queries, searched = clustered(600, seed=2)
    one, two, other = (
        nearest(queries, searched, 4, absolute=True, kind=kind, seed=seed)  # pyright: ignore[reportArgumentType]
        for seed in (0, 0, 1)
    )
    same(one, two)
    if kind != "ivf":
        same(one, other)


def test_building_a_graph_leaves_the_number_of_threads_as_it_was() -> None:
    before = faiss.omp_get_max_threads()
    nearest(*clustered(200, seed=3), 4, absolute=False, kind="hnsw")
    assert faiss.omp_get_max_threads() == before


@pytest.mark.parametrize("absolute", [False, True])
def test_candidates_do_not_depend_on_the_memory_budget(absolute: bool) -> None:
    queries, searched = clustered(700, seed=4)
    whole = nearest(queries, searched, 6, absolute=absolute)
    for rows_at_once in (8, 50, 333):
        part = nearest(queries, searched, 6, absolute=absolute, memory_bytes=8 * 4 * WIDTH * rows_at_once)
        np.testing.assert_array_equal(part.neighbour, whole.neighbour)
        np.testing.assert_allclose(part.similarity, whole.similarity, atol=1e-6)


def test_lists_in_shards_give_the_candidates_of_lists_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_POINTS_PER_LIST", 4)  # else the sample is as large as so small a model
    queries, searched = clustered(1500, seed=4)
    whole = nearest(queries, searched, 6, absolute=False, kind="ivf")
    part = nearest(queries, searched, 6, absolute=False, kind="ivf", memory_bytes=2 * 4 * WIDTH * 640)
    np.testing.assert_array_equal(part.neighbour, whole.neighbour)


def test_candidates_from_a_memory_map_are_those_from_memory(tmp_path: Path) -> None:
    queries, searched = clustered(500, seed=5)
    np.save(tmp_path / "rows.npy", searched.signature_Nd)
    mapped = UnitRows(np.load(tmp_path / "rows.npy", mmap_mode="r"), searched.neurons)
    same(nearest(queries, mapped, 4, absolute=False), nearest(queries, searched, 4, absolute=False))


def test_what_an_index_needs_at_once_must_fit_the_budget() -> None:
    queries, searched = clustered(2000, seed=6)
    with pytest.raises(ConfigError, match="memory"):
        nearest(queries, searched, 4, absolute=False, kind="hnsw", memory_bytes=100 * 4 * WIDTH)


def test_lists_are_trained_on_what_fits_where_the_budget_does_not_hold_the_whole_sample() -> None:
    """As with two GiB above a million neurons of 2,048 dimensions, whose sample is a gigabyte and more."""
    queries, searched = clustered(3000, seed=6)
    exact = nearest(queries, searched, 1, absolute=False, kind="flat")
    for rows_at_once in (1500, 600):
        found = nearest(queries, searched, 1, absolute=False, kind="ivf", memory_bytes=2 * 4 * WIDTH * rows_at_once)
        assert (found.neighbour == exact.neighbour).mean() > 0.95


def test_a_small_training_sample_makes_lists_fewer_before_it_makes_them_thin() -> None:
    _, searched = clustered(3000, seed=6)
    lists = [
        index_module._Lists.trained(searched, 0, 4 * WIDTH * rows_at_once).lists for rows_at_once in (3000, 2000, 160)
    ]
    assert lists == [219, 125, 10]


def test_the_automatic_index_is_flat_unless_the_model_is_large_and_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index_module, "_gpus", lambda: 0)
    assert resolved("auto", FLAT_UP_TO) == "flat"
    assert resolved("auto", FLAT_UP_TO + 1) == "ivf"
    assert resolved("hnsw", 1) == "hnsw"
    monkeypatch.setattr(index_module, "_gpus", lambda: 1)
    assert resolved("auto", FLAT_UP_TO + 1) == "flat"


def test_a_flat_index_is_put_on_a_gpu_where_the_build_sees_one(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = []
    monkeypatch.setattr(index_module, "_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: "resources", raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", lambda *a: moved.append(a[:2]) or a[2], raising=False)
    queries, searched = clustered(50, seed=7)
    nearest(queries, searched, 4, absolute=False)
    assert moved == [("resources", 0)]
