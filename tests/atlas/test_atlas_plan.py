"""The price list agrees with arrays of those shapes, with the numbers of the paper, and with itself as sizes grow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.atlas.forecast import Machine, ModelPlan, Products, Text, plan_model, plan_pair
from curator.atlas.plan import atlas_cost, largest_sketch, match_cost, paper_cost, pass_flop
from curator.lm.shape import ModelShape
from curator.lm.speed import Speed
from curator.settings import AtlasSettings, MatchSettings

SETTINGS = AtlasSettings()
OPT_30B, QWEN_32B = (28_672,) * 48, (27_648,) * 64
SHAPE = ModelShape(
    hidden_size=768,
    widths=(3072,) * 12,
    gated=False,
    parameters=124_000_000,
    layer_parameters=7_087_872,
    linear_weights=12 * 12 * 768**2 - 4 * 768**2,
    attention_width=12 * 768,
    max_positions=1024,
)
widths = st.lists(st.integers(1, 5000), min_size=1, max_size=6)
some_settings = st.builds(
    lambda folds, power, held, k: AtlasSettings(
        folds=folds, sketch_dimensions=folds * 64 << power, held_back_spans=held, top_contexts=k
    ),
    st.integers(2, 16),
    st.integers(0, 5),
    st.integers(256, 9000),
    st.integers(1, 40),
)


@pytest.mark.parametrize("gated", [False, True])
def test_the_bytes_of_an_atlas_are_those_of_arrays_of_its_shapes(gated: bool) -> None:
    n, d, v, documents, k = 5, 128, 300, 7, 6
    dials = AtlasSettings(sketch_dimensions=d, folds=4, held_back_spans=v, top_contexts=k)
    cost = atlas_cost((2, 3), gated, dials, documents)
    contexts = [np.zeros((n, k), kind) for kind in (np.float32, np.int64, np.int64)] * (2 if gated else 1)
    sketch = [np.zeros((n, d), np.float32)] * 2
    held = [np.zeros((n, v), np.float16)] * 2
    finished = [*sketch, *held, np.zeros((documents, n), np.float32), *contexts]
    assert cost.neurons == n
    assert cost.artifact_bytes == sum(array.nbytes for array in finished) + 80 * n
    work = [np.zeros((n, d), np.float64), np.zeros((n, v), np.float32)] * 2 + [np.zeros((documents, n), np.float32)]
    assert cost.work_bytes == sum(array.nbytes for array in work)
    fold = [np.zeros((n, d // 4), np.float64)] * 2 + [np.zeros((n, 4), np.float64), np.zeros((n, 8), np.float64)]
    assert cost.pass_bytes == sum(array.nbytes for array in (*fold, *contexts))
    assert cost.disk_bytes == cost.work_bytes + cost.artifact_bytes


def test_a_pass_over_opt_30b_needs_a_tenth_of_what_one_sketch_of_doubles_would() -> None:
    cost = atlas_cost(OPT_30B, False, SETTINGS, 9766)
    assert cost.neurons == 1_376_256
    assert cost.memory_bytes < 8e9 < 0.1 * 2 * 8 * SETTINGS.sketch_dimensions * cost.neurons * 2


@settings(deadline=None, max_examples=50)
@given(widths=widths, gated=st.booleans(), dials=some_settings, documents=st.integers(1, 10_000))
def test_bytes_add_up_over_layers_and_grow_with_every_size(
    widths: list[int], gated: bool, dials: AtlasSettings, documents: int
) -> None:
    whole = atlas_cost(widths, gated, dials, documents)
    parts = [atlas_cost([width], gated, dials, documents) for width in widths]
    for name in ("neurons", "pass_bytes", "work_bytes", "artifact_bytes"):
        assert getattr(whole, name) == sum(getattr(part, name) for part in parts)
    more = atlas_cost(widths, gated, dials, documents + 1)
    assert more.disk_bytes - whole.disk_bytes == 8 * whole.neurons  # twice a mean of four bytes
    assert more.pass_bytes == whole.pass_bytes  # memory does not know how much text there is


@settings(deadline=None, max_examples=50)
@given(
    widths=widths,
    gated=st.booleans(),
    dials=some_settings,
    documents=st.integers(1, 1000),
    memory=st.integers(1, 1 << 36),
    disk=st.integers(1, 1 << 36),
)
def test_the_largest_sketch_fits_and_its_double_does_not(
    widths: list[int], gated: bool, dials: AtlasSettings, documents: int, memory: int, disk: int
) -> None:
    def fits(dimensions: int) -> bool:
        cost = atlas_cost(widths, gated, dials.model_copy(update={"sketch_dimensions": dimensions}), documents)
        return cost.memory_bytes <= memory and cost.disk_bytes <= disk

    found = largest_sketch(widths, gated, dials, documents, memory=memory, disk=disk)
    if found is None:
        assert not fits(max(64, dials.folds))
        return
    assert found >= 64
    assert found % dials.folds == 0
    assert (found // dials.folds).bit_count() == 1
    assert fits(found)
    assert found == dials.folds << 20 or not fits(2 * found)


def test_a_sketch_is_no_larger_than_the_text() -> None:
    assert largest_sketch((10,), False, SETTINGS, 1, spans=5000) == 4096
    assert largest_sketch((10,), False, SETTINGS, 1, spans=63) is None


def test_the_paper_s_cost_is_that_of_its_released_code() -> None:
    cost = paper_cost(sum(OPT_30B), QWEN_32B, 10_000_000)
    assert cost.passes == 33
    assert cost.gemm_flop == pytest.approx(4.9e19, rel=0.01)
    assert cost.accumulator_bytes == pytest.approx(
        2 * 76e9, rel=0.01
    )  # 76 GB for one layer a block; the default is two
    small = paper_cost(36_864, (3072,) * 12, 10_000_000)
    assert (small.passes, small.gemm_flop) == (7, 2 * 36_864**2 * 10_000_000)
    assert small.accumulator_bytes == pytest.approx(0.5e9, rel=0.1)
    assert paper_cost(10, (3, 3, 3), 7).passes == 3  # an odd layer is a block of its own
    assert paper_cost(10, (3, 3, 3), 7).accumulator_bytes == 10 * 6 * 2


def test_matching_searches_five_times_both_ways() -> None:
    dials, match = AtlasSettings(sketch_dimensions=1024, held_back_spans=1000), MatchSettings(candidates=4)
    cost = match_cost(100, (20, 30), dials, match)
    assert cost.search_flop == 5 * 2 * (2 * 100 * 50 * 1024)
    assert cost.verify_flop == 5 * (2 * 5 * 1000) * (4 * 150)
    assert cost.rotation_flop == sum(2 * w * w * 2024 + 4 * w**3 for w in (20, 30))
    assert cost.read_bytes == 150 * (2 * 1024 * 4 + 2 * 1000 * 2)
    assert cost.flop == cost.search_flop + cost.verify_flop + cost.rotation_flop


def test_the_pass_s_own_arithmetic_is_small_beside_the_forward() -> None:
    tokens = 1_000_000
    assert pass_flop(SHAPE.neurons, tokens) < 0.01 * SHAPE.forward_flop(1024) * tokens


def _plan(memory: int | None = 10**11, itemsize: int = 4, window: int = 1024, speed: Speed | None = None) -> ModelPlan:
    return plan_model("m", SHAPE, Text(10_000_000, window), Machine(itemsize, memory, 10**12), SETTINGS, speed)


def test_a_model_that_its_device_holds_fits_and_one_byte_less_is_too_little() -> None:
    needed = SHAPE.parameters * 4 + 2 * (256 << 20)
    assert _plan(memory=needed).fits
    assert not _plan(memory=needed - 1).fits
    assert _plan(memory=needed - 1, itemsize=2).fits
    assert _plan(memory=None).fits
    assert _plan(memory=needed).sketch_in_memory is None  # no byte is left for the sums
    assert _plan(memory=10**10).sketch_in_memory == 65_536


def test_a_window_is_no_longer_than_the_model_reads() -> None:
    assert _plan(window=4096).window == 1024
    assert _plan(window=4096).forward_flop == SHAPE.forward_flop(1024) * 10_000_000
    assert _plan(window=128).forward_flop == SHAPE.forward_flop(128) * 10_000_000


def test_times_follow_from_speeds_and_are_left_out_without_them() -> None:
    text, speed = Text(10_000_000, 1024), Speed(1e12, "layer", 512)
    one = _plan(speed=speed)
    seconds = one.forward_flop / 1e12
    assert one.seconds == seconds
    pair = plan_pair(one, one, text, SETTINGS, MatchSettings(), Products(1e11, 5e11))
    assert pair.seconds == pair.match.flop / 1e11
    assert pair.our_seconds == pytest.approx(2 * seconds + pair.match.flop / 1e11)
    assert pair.paper_seconds == pytest.approx(7 * 2 * seconds + pair.paper.gemm_flop / 5e11)
    silent = plan_pair(_plan(), one, text, SETTINGS, MatchSettings(), Products(1e11, 5e11))
    assert (silent.seconds, silent.our_seconds, silent.paper_seconds) == (None, None, None)
    assert plan_pair(one, one, text, SETTINGS, MatchSettings()).our_seconds is None


def test_a_pair_of_twelve_layers_costs_less_than_a_tenth_of_the_paper_s_flop() -> None:
    one = _plan()
    pair = plan_pair(one, one, Text(10_000_000, 1024), SETTINGS, MatchSettings())
    assert pair.our_flop == 2 * (one.forward_flop + one.pass_flop) + pair.match.flop
    assert pair.paper_flop == 14 * one.forward_flop + pair.paper.gemm_flop
    assert pair.paper_flop > 10 * pair.our_flop
