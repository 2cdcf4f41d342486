"""Pooling weights against a referee that loops over spans and tokens one by one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.atlas.pooling import overlaps


@st.composite
def documents(draw: st.DrawFn) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Spans that are a partition of some bytes, and windows of tokens that may share characters and leave gaps."""
    length = draw(st.integers(1, 40))
    cuts = sorted(draw(st.sets(st.integers(1, length), max_size=12)) | {0, length})
    spans = np.stack([cuts[:-1], cuts[1:]], axis=1).astype(np.int64)
    token_ranges, scored = [], []
    for _ in range(draw(st.integers(0, 3))):
        ranges = draw(
            st.lists(st.tuples(st.integers(0, length), st.integers(0, 9)).map(lambda p: (p[0], min(length, sum(p)))), max_size=12)
        )  # fmt: skip
        token_ranges.append(np.asarray(ranges, dtype=np.int64).reshape(-1, 2))
        scored.append(np.asarray(draw(st.lists(st.booleans(), min_size=len(ranges), max_size=len(ranges))), dtype=bool))
    return spans, token_ranges, scored


def referee(
    spans: np.ndarray, token_ranges: list[np.ndarray], scored: list[np.ndarray]
) -> list[dict[tuple[int, int], float]]:
    found: list[dict[tuple[int, int], float]] = [{} for _ in token_ranges]
    for span, (low, high) in enumerate(spans.tolist()):
        by_window = []
        for ranges, counts in zip(token_ranges, scored, strict=True):
            common = {}
            for token, (start, stop) in enumerate(ranges.tolist()):
                shared = min(high, stop) - max(low, start)
                if counts[token] and shared > 0:
                    common[token] = shared
            by_window.append(common)
        totals = [sum(common.values()) for common in by_window]
        if totals and max(totals) > 0:
            owner = totals.index(max(totals))
            for token, shared in by_window[owner].items():
                found[owner][span, token] = shared / totals[owner]
    return found


@settings(deadline=None, max_examples=200)
@given(documents())
def test_weights_equal_those_of_a_loop_over_spans_and_tokens(
    document: tuple[np.ndarray, list[np.ndarray], list[np.ndarray]],
) -> None:
    parts = overlaps(*document)
    expected = referee(*document)
    assert len(parts) == len(expected)
    for part, wanted in zip(parts, expected, strict=True):
        ours = {
            (int(part.spans[r]), int(t)): float(w) for r, t, w in zip(part.row, part.token, part.weight, strict=True)
        }
        assert ours.keys() == wanted.keys()
        assert len(ours) == len(part.row)  # no pair twice: the pooling matrix is coalesced by construction
        np.testing.assert_allclose([ours[k] for k in ours], [wanted[k] for k in ours], rtol=1e-6)


@settings(deadline=None, max_examples=100)
@given(documents())
def test_the_weights_of_a_span_sum_to_one_and_no_two_windows_own_one_span(
    document: tuple[np.ndarray, list[np.ndarray], list[np.ndarray]],
) -> None:
    parts = overlaps(*document)
    owned = [int(span) for part in parts for span in part.spans]
    assert len(owned) == len(set(owned))
    for part in parts:
        np.testing.assert_allclose(
            np.bincount(part.row, weights=part.weight, minlength=len(part.spans)), 1.0, rtol=1e-5
        )
