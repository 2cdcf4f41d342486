"""The k highest values, kept batch by batch, are those of a sort over everything."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.atlas.strongest import Strongest

CPU = torch.device("cpu")


@settings(deadline=None, max_examples=50)
@given(
    sizes=st.lists(st.integers(1, 150), min_size=1, max_size=6),
    wanted=st.integers(1, 24),
    levels=st.sampled_from([3, 1000, 10**6]),
    seed=st.integers(0, 1000),
)
def test_values_are_those_of_a_sort_and_places_hold_them(sizes: list[int], wanted: int, levels: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    total, width = sum(sizes), 5
    values = (generator.integers(0, levels, (total, width)) - levels // 2).astype(np.float32)
    kept, settled = Strongest(wanted, width, CPU), Strongest(wanted, width, CPU)
    start = 0
    for size in sizes:
        batch = values[start : start + size]
        place = torch.arange(start, start + size, dtype=torch.int32)
        high = kept.add(torch.from_numpy(batch), place // 7, place)
        np.testing.assert_array_equal(high, batch.max(axis=0))
        settled.add(torch.from_numpy(batch), place // 7, place)
        settled.settle()
        start += size
    kept.settle()
    assert torch.equal(kept.span_kU, settled.span_kU), "when it is settled changes nothing, ties included"
    filled = min(wanted, total)
    np.testing.assert_array_equal(kept.value_kU[:filled], -np.sort(-values, axis=0)[:filled])
    assert torch.isneginf(kept.value_kU[filled:]).all()
    assert (kept.span_kU[filled:] == -1).all()
    for unit in range(width):
        spans = kept.span_kU[:filled, unit].numpy()
        assert len(set(spans.tolist())) == filled, "no span is kept twice"
        np.testing.assert_array_equal(values[spans, unit], kept.value_kU[:filled, unit])
        np.testing.assert_array_equal(kept.document_kU[:filled, unit], spans // 7)
        np.testing.assert_array_equal(spans, np.argsort(-values[:, unit], kind="stable")[:filled])


def test_of_equal_values_the_earlier_stays_and_both_zeros_are_equal() -> None:
    kept = Strongest(3, 1, CPU)
    values = torch.tensor([[-0.0], [0.0], [-1.0], [-0.0], [0.0]])
    kept.add(values, torch.zeros(5, dtype=torch.int32), torch.arange(5, dtype=torch.int32))
    kept.settle()
    assert kept.span_kU[:, 0].tolist() == [0, 1, 3]
