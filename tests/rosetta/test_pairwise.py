"""Products of chosen pairs of rows: those of the dense product, from any number of blocks."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.errors import ConfigError
from curator.rosetta.index import Candidates, UnitRows, nearest
from curator.rosetta.pairwise import pair_products, row_blocks
from curator.rosetta.verify import HeldRows, pair_sums


def held(values: np.ndarray) -> HeldRows:
    return HeldRows(values, np.arange(values.shape[1]))


@settings(deadline=None, max_examples=50)
@given(
    sizes=st.tuples(*[st.integers(1, 40)] * 2), cuts=st.lists(st.integers(0, 24), max_size=3), seed=st.integers(0, 99)
)
def test_products_are_those_of_the_whole_matrices_whatever_the_blocks(
    sizes: tuple[int, int], cuts: list[int], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    a, b = (generator.standard_normal((size, 24)).astype(np.float16) for size in sizes)
    pairs = np.argwhere(generator.random(sizes) < 0.3)
    pairs = pairs[generator.permutation(len(pairs))]
    bounds = np.asarray([0, *sorted(cuts), 24])
    found = pair_products(held(a), held(b), pairs, bounds)
    for stretch, (low, high) in enumerate(pairwise(bounds.tolist())):
        dense = a[:, low:high].astype(float) @ b[:, low:high].T.astype(float)
        np.testing.assert_allclose(found[:, stretch], dense[pairs[:, 0], pairs[:, 1]], atol=1e-5)
    for rows in (1, 3, 7):
        blocked = pair_products(held(a), held(b), pairs, bounds, memory_bytes=rows * 4 * 4 * 24)
        np.testing.assert_array_equal(blocked, found)


def test_blocks_cover_all_rows_once() -> None:
    assert list(row_blocks(7, 3)) == [(0, 3), (3, 6), (6, 7)]
    assert list(row_blocks(0, 3)) == []


def test_a_budget_below_one_row_is_refused() -> None:
    values = np.ones((2, 24), np.float16)
    with pytest.raises(ConfigError, match="memory_bytes"):
        pair_products(held(values), held(values), np.zeros((1, 2), int), np.asarray([0, 24]), memory_bytes=100)


def _peak(work: object) -> int:
    tracemalloc.start()
    try:
        work()  # pyright: ignore[reportCallIssue]
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_neither_search_nor_verification_makes_an_array_of_all_pairs() -> None:
    neurons, budget = 4000, 2 << 20
    generator = np.random.default_rng(0)
    values = generator.standard_normal((neurons, 32)).astype(np.float32)
    rows, pairs = (
        UnitRows(values, np.arange(neurons)),
        np.stack([np.arange(neurons), generator.permutation(neurons)], 1),
    )
    all_pairs = 4 * neurons**2

    def search() -> Candidates:
        return nearest(rows, rows, 4, absolute=True, memory_bytes=budget)

    assert _peak(search) < all_pairs / 10
    assert _peak(lambda: pair_sums(values, values, pairs, np.arange(32) % 4, 4, memory_bytes=budget)) < all_pairs / 10
