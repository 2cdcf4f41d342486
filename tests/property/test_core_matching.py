"""Mutual nearest neighbours and specialisation against definitions written out as loops."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.atlas.domains import specialisation_N
from curator.rosetta.matching import mutual_nearest

STRENGTHS = st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.75])
CANDIDATES = st.dictionaries(st.tuples(st.integers(0, 6), st.integers(0, 6)), STRENGTHS, max_size=40)


@settings(deadline=None, max_examples=200)
@given(candidates=CANDIDATES, k=st.integers(1, 3), seed=st.integers(0, 99))
def test_a_pair_is_mutual_when_it_is_among_the_best_of_both_sides(
    candidates: dict[tuple[int, int], float], k: int, seed: int
) -> None:
    pairs = list(candidates)
    np.random.default_rng(seed).shuffle(pairs)
    strength = np.asarray([candidates[pair] for pair in pairs])
    found = mutual_nearest(np.asarray(pairs, dtype=np.int64).reshape(-1, 2), strength, k)

    def best(side: int, pair: tuple[int, int]) -> bool:
        rivals = [other for other in pairs if other[side] == pair[side]]
        return pair in sorted(rivals, key=lambda other: (-candidates[other], other[1 - side]))[:k]

    assert found.tolist() == [best(0, pair) and best(1, pair) for pair in pairs]


@settings(deadline=None, max_examples=100)
@given(
    tops=st.lists(st.tuples(st.integers(-1, 3), st.floats(-5, 50)), min_size=1, max_size=20),
    share=st.lists(st.floats(0.05, 1), min_size=4, max_size=4),
)
def test_specialisation_lies_between_zero_and_one(tops: list[tuple[int, float]], share: list[float]) -> None:
    domain, value = (np.asarray([column])[:1] for column in zip(*tops, strict=True))
    (found,) = specialisation_N(domain, value, np.asarray(share) / sum(share))
    assert np.isnan(found) if (domain >= 0).sum() < 2 else 0 <= found <= 1
