"""Which neurons of an anchor have partners in every peer: a star, or a clique whose partners are matched with each other too.

With k = 1 a neuron has at most one partner in a peer. With more, the star takes the strongest of each peer; the clique takes the
first combination that holds together, partners tried from the strongest down in the order of the peers. Cost: of a clique at most
k to the number of peers combinations a neuron, cut short where two partners do not match. It does not match.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from curator.rosetta.matching import MatchTable

Pairs = Mapping[tuple[int, int], MatchTable]
"""Matches of peer i with peer j, for i < j."""


def star(tables: Sequence[MatchTable], neurons: int) -> np.ndarray:
    """Row of each anchor neuron's strongest match in each peer's table, -1 where it has none. (N, P) int64."""
    return np.stack([strongest_rows(table, neurons) for table in tables], axis=1)


def strongest_rows(table: MatchTable, neurons: int) -> np.ndarray:
    """Row of each neuron's strongest match (the greatest margin; of equals the lower partner), -1 where unmatched. (N,)."""
    rows = np.full(neurons, -1, dtype=np.int64)
    weakest_first = np.lexsort((-table.second, table.margin))
    rows[table.first[weakest_first]] = weakest_first
    return rows


def clique(tables: Sequence[MatchTable], between: Pairs, neurons: int) -> np.ndarray:
    """Row of each anchor neuron's match in each peer's table such that all partners match, else -1s. (N, P) int64."""
    found = np.full((neurons, len(tables)), -1, dtype=np.int64)
    matched = {
        pair: set(zip(table.first.tolist(), table.second.tolist(), strict=True)) for pair, table in between.items()
    }
    rows_of = [_rows_by_neuron(table) for table in tables]
    partner_of = [table.second.tolist() for table in tables]
    for neuron in np.flatnonzero((star(tables, neurons) >= 0).all(axis=1)).tolist():
        rows = _completed([], [rows[neuron] for rows in rows_of], partner_of, matched)
        if rows is not None:
            found[neuron] = rows
    return found


def _rows_by_neuron(table: MatchTable) -> dict[int, list[int]]:
    """The rows of each neuron, the strongest first."""
    rows: dict[int, list[int]] = {}
    for row in np.lexsort((table.second, -table.margin)).tolist():
        rows.setdefault(int(table.first[row]), []).append(row)
    return rows


def _completed(
    taken: list[int],
    choices: Sequence[Sequence[int]],
    partner_of: Sequence[Sequence[int]],
    matched: Mapping[tuple[int, int], set[tuple[int, int]]],
) -> list[int] | None:
    """The first way to go on from the rows taken so far, one for each further peer; None when there is none."""
    peer = len(taken)
    if peer == len(choices):
        return taken
    for row in choices[peer]:
        partner = partner_of[peer][row]
        agrees = all((partner_of[other][taken[other]], partner) in matched[other, peer] for other in range(peer))
        rest = _completed([*taken, row], choices, partner_of, matched) if agrees else None
        if rest is not None:
            return rest
    return None
