"""Stars and cliques against their definitions, written out as loops."""

from itertools import combinations, product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.rosetta.intersect import clique, star, strongest_rows
from curator.rosetta.matching import MatchTable

NEURONS = 4
Drawn = dict[tuple[int, int], float]
MATCHES = st.dictionaries(
    st.tuples(st.integers(0, NEURONS - 1), st.integers(0, NEURONS - 1)),
    st.sampled_from([-0.1, 0.0, 0.2, 0.5]),
    max_size=10,
)


def table(matches: Drawn) -> MatchTable:
    """A match table with these margins; what intersections do not read is left at zero."""
    pairs = np.asarray(sorted(matches), dtype=np.int64).reshape(-1, 2)
    margin = np.asarray([matches[first, second] for first, second in pairs.tolist()])
    unread = ("rho", "error", "sketch_rho", "hubness", "replicated", "strongest", "even_half", "odd_half")
    rest = dict.fromkeys(unread, np.zeros(len(pairs)))
    return MatchTable(first=pairs[:, 0], second=pairs[:, 1], margin=margin, **rest)


def partners(matches: Drawn, neuron: int) -> list[int]:
    """The strongest first, of equals the lower."""
    return sorted((b for a, b in matches if a == neuron), key=lambda b: (-matches[neuron, b], b))


@settings(deadline=None, max_examples=100)
@given(drawn=st.lists(MATCHES, min_size=1, max_size=3), between=st.lists(MATCHES, min_size=3, max_size=3))
def test_a_clique_is_the_first_combination_of_partners_that_are_matched_with_each_other(
    drawn: list[Drawn], between: list[Drawn]
) -> None:
    peers = list(combinations(range(len(drawn)), 2))
    edges = dict(zip(peers, between, strict=False))
    tables = [table(matches) for matches in drawn]
    found = clique(tables, {pair: table(matches) for pair, matches in edges.items()}, NEURONS)
    for neuron in range(NEURONS):
        whole = [
            chosen
            for chosen in product(*(partners(matches, neuron) for matches in drawn))
            if all((chosen[i], chosen[j]) in edges[i, j] for i, j in peers)
        ]
        if whole:
            assert tuple(int(t.second[row]) for t, row in zip(tables, found[neuron], strict=True)) == whole[0]
            assert all(t.first[row] == neuron for t, row in zip(tables, found[neuron], strict=True))
        else:
            assert (found[neuron] == -1).all()


@settings(deadline=None, max_examples=50)
@given(drawn=st.lists(MATCHES, min_size=1, max_size=3))
def test_a_star_takes_the_strongest_partner_in_every_peer(drawn: list[Drawn]) -> None:
    found = star([table(matches) for matches in drawn], NEURONS)
    for neuron, column in product(range(NEURONS), range(len(drawn))):
        wanted = partners(drawn[column], neuron)
        row = found[neuron, column]
        assert (table(drawn[column]).second[row] == wanted[0]) if wanted else row == -1


def test_with_one_peer_a_clique_is_a_star() -> None:
    matches = {(0, 2): 0.1, (0, 1): 0.1, (3, 3): 0.0}
    np.testing.assert_array_equal(clique([table(matches)], {}, NEURONS), star([table(matches)], NEURONS))
    assert strongest_rows(table(matches), NEURONS).tolist() == [0, -1, -1, 2]
