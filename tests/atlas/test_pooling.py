"""Pooling in the cases that matter by name."""

import numpy as np
import torch

from curator.atlas.pooling import bags, overlaps


def _one_window(spans: list[tuple[int, int]], tokens: list[tuple[int, int]]) -> dict[tuple[int, int], float]:
    (part,) = overlaps(np.asarray(spans), [np.asarray(tokens)], [np.ones(len(tokens), bool)])
    return {(int(part.spans[r]), int(t)): float(w) for r, t, w in zip(part.row, part.token, part.weight, strict=True)}


def test_a_token_that_crosses_two_spans_counts_in_both_by_its_bytes() -> None:
    weights = _one_window([(0, 3), (3, 8)], [(0, 1), (1, 4), (4, 8)])
    assert weights == {
        (0, 0): np.float32(1 / 3), (0, 1): np.float32(2 / 3), (1, 1): np.float32(0.2), (1, 2): np.float32(0.8),
    }  # fmt: skip


def test_several_tokens_that_cover_one_character_share_its_span() -> None:
    assert _one_window([(0, 4)], [(0, 4), (0, 4)]) == {(0, 0): 0.5, (0, 1): 0.5}


def test_a_span_cut_by_a_window_belongs_to_the_window_with_more_bytes() -> None:
    first, second = overlaps(
        np.asarray([(0, 10)]), [np.asarray([(0, 4)]), np.asarray([(4, 10)])], [np.ones(1, bool), np.ones(1, bool)]
    )
    assert first.spans.tolist() == []
    assert second.spans.tolist() == [0]


def test_a_span_cut_in_the_middle_belongs_to_the_earlier_window() -> None:
    first, second = overlaps(
        np.asarray([(0, 10)]), [np.asarray([(0, 5)]), np.asarray([(5, 10)])], [np.ones(1, bool), np.ones(1, bool)]
    )
    assert (first.spans.tolist(), second.spans.tolist()) == ([0], [])


def test_spans_that_only_unscored_tokens_touch_are_uncovered() -> None:
    (part,) = overlaps(np.asarray([(0, 2), (2, 4)]), [np.asarray([(0, 2), (2, 4)])], [np.asarray([False, True])])
    assert part.spans.tolist() == [1]


def test_a_document_without_windows_has_no_overlaps() -> None:
    assert overlaps(np.asarray([(0, 2)]), [], []) == []


def test_bags_are_weighted_sums_whatever_the_order_of_their_entries() -> None:
    generator = np.random.default_rng(0)
    row, column = np.asarray([2, 0, 1, 0]), np.asarray([3, 1, 2, 0])
    weight = np.asarray([1, 0.25, 1, 0.75], np.float32)
    values = torch.from_numpy(generator.standard_normal((4, 5)).astype(np.float32))
    made = bags(row, column, weight, 4, torch.device("cpu"))
    pooled = made.sum(values)
    np.testing.assert_allclose(pooled[0], 0.25 * values[1] + 0.75 * values[0], rtol=1e-6)
    assert torch.equal(pooled[1:3], values[2:])
    assert (pooled[3] == 0).all(), "a bag without entries is zero"
    assert made.sum_double(values).dtype == torch.float64
    np.testing.assert_allclose(made.sum_double(values), pooled, atol=1e-6)


def test_bags_without_entries_or_rows_are_zeros_or_nothing() -> None:
    none = np.zeros(0, np.int64)
    table = torch.ones(3, 2)
    assert torch.equal(bags(none, none, none, 2, torch.device("cpu")).sum(table), torch.zeros(2, 2))
    assert bags(none, none, none, 0, torch.device("cpu")).sum(table).shape == (0, 2)
