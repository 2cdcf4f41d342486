"""Running sums against float64, whatever the batches; the sketch's error; what the numerics certificate catches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import stats

from curator.atlas.accumulators import LayerSums, moments, signatures_wU
from curator.atlas.audit import WORST_ALLOWED, Audit, Compared, audited_units, certificate
from curator.atlas.batches import Tensors
from curator.atlas.pooling import bags
from curator.settings import AtlasSettings

SETTINGS = AtlasSettings(sketch_dimensions=128, folds=2, min_active_spans=5, top_contexts=5)
ROWS = SETTINGS.sketch_dimensions // SETTINGS.folds
SPANS, WIDTH, HELD, DOCUMENTS = 3000, 7, 300, 40
VARYING = [0, 1, 3, 4, 5, 6]
CPU = torch.device("cpu")


def _values(seed: int = 0) -> np.ndarray:
    """Heavy-tailed, with a mean far from zero in one column and a constant in another. (K, U) float32."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((SPANS, WIDTH)) ** 3
    values[:, 1] += 50
    values[:, 2] = 3
    return values.astype(np.float32)


@dataclass(frozen=True)
class _World:
    """Where the spans go; the held-back ones come last in every batch, as in a real one."""

    held: np.ndarray
    bucket_2K: np.ndarray
    sign_2K: np.ndarray
    document: np.ndarray

    @classmethod
    def make(cls, seed: int = 1) -> _World:
        generator = np.random.default_rng(seed)
        held = np.zeros(SPANS, bool)
        held[generator.permutation(SPANS)[:HELD]] = True
        return cls(
            held,
            generator.integers(0, ROWS, (2, SPANS)),
            generator.choice([-1.0, 1.0], (2, SPANS)),
            np.sort(generator.integers(0, DOCUMENTS, SPANS)),
        )

    def batch(self, start: int, stop: int) -> tuple[np.ndarray, Tensors, int]:
        """The order of the spans of a batch, its tensors and how many enter the moments."""
        order = start + np.argsort(self.held[start:stop], kind="stable")
        here, sketched = np.arange(stop - start), np.flatnonzero(~self.held[order])
        sketch = [
            bags(self.bucket_2K[i][order][sketched], sketched, self.sign_2K[i][order][sketched], ROWS, CPU)
            for i in range(2)
        ]
        held_row = torch.from_numpy(np.flatnonzero(self.held[order]))
        tensors = Tensors(
            pool=bags(here, here, np.ones(len(here)), len(here), CPU),
            documents=bags(self.document[order], here, np.ones(len(here)), DOCUMENTS, CPU),
            sketch=(sketch[0], sketch[1]),
            document=torch.from_numpy(self.document[order].astype(np.int32)),
            span=torch.from_numpy(order.astype(np.int32)),
            held_row=(held_row, held_row),
        )
        return order, tensors, len(sketched)


class _Sums:
    """A layer and its referee over all spans in batches cut at ``cuts``."""

    def __init__(self, values: np.ndarray, cuts: list[int], *, gated: bool = False, bfloat16: bool = False) -> None:
        self.layer = LayerSums(WIDTH, SETTINGS, CPU, gated=gated)
        self.audit, self.world = Audit((WIDTH,), SETTINGS), _World.make()
        pilot = values[:500].mean(axis=0)
        self.layer.pilot_U.copy_(torch.from_numpy(pilot))
        self.audit.pilot_A[...] = pilot[audited_units(WIDTH)].astype(np.float64)
        self.layer.open_chunk(DOCUMENTS)
        self.held: dict[int, np.ndarray] = {}
        for start, stop in zip([0, *cuts], [*cuts, SPANS], strict=True):
            order, tensors, sketched = self.world.batch(start, stop)
            tokens = torch.from_numpy(values[order])
            watched = [self.audit.columns(0, tokens)]
            held = self.layer.add(tokens, tensors, sketched)
            self.audit.add(watched, tensors, sketched, 0)
            self.held |= dict(zip(order[tensors.held_row[0].numpy()].tolist(), held[0].numpy(), strict=True))
            if bfloat16:  # what SCIENCE forbids: sums that are kept in bfloat16 between batches
                self.layer.power_4U.copy_(self.layer.power_4U.bfloat16())
                self.layer.block_2wU.copy_(self.layer.block_2wU.bfloat16())
        self.layer.settle()
        self.used = values[~self.world.held].astype(np.float64)
        self.moments = moments(self.layer.power_4U.numpy(), self.layer.pilot_U.numpy(), len(self.used))

    def signature_wU(self, identity: int = 0) -> np.ndarray:
        scale = np.where(self.moments.deviation > 0, self.moments.deviation, np.inf)
        return signatures_wU(
            self.layer.block_2wU[identity].numpy(), self.ones_w(identity), self.moments.shift, scale, len(self.used)
        )

    def ones_w(self, identity: int = 0) -> np.ndarray:
        chosen = ~self.world.held
        return np.bincount(self.world.bucket_2K[identity][chosen], self.world.sign_2K[identity][chosen], ROWS)

    def certificate(self) -> float:
        units = audited_units(WIDTH)
        deviation = self.moments.deviation[units]
        ours = Compared(self.moments.shift[units], deviation, deviation > 1e-6, self.signature_wU()[:, units])
        referee = self.audit.sketch_dA[:ROWS]
        return certificate(ours, self.audit.power_2A, referee, self.ones_w(), len(self.used))


@pytest.mark.parametrize("cuts", [[], [1, 2, 900], [1000, 2000]])
def test_moments_equal_those_of_numpy_and_scipy_in_float64(cuts: list[int]) -> None:
    sums = _Sums(_values(), cuts)
    found, used = sums.moments, sums.used
    assert found.spans == len(used) == SPANS - HELD
    np.testing.assert_allclose(found.mean, used.mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.deviation, used.std(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.skewness[VARYING], stats.skew(used[:, VARYING], axis=0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.excess_kurtosis[VARYING], stats.kurtosis(used[:, VARYING], axis=0), rtol=1e-4)
    assert found.skewness[2] == found.excess_kurtosis[2] == 0


def test_all_sums_are_the_same_however_batches_are_cut() -> None:
    values = _values()
    one, many = _Sums(values, []), _Sums(values, [3, 700, 701, 2500])
    for identity in range(2):
        np.testing.assert_allclose(one.signature_wU(identity), many.signature_wU(identity), atol=1e-6)
    assert one.held.keys() == many.held.keys() == set(np.flatnonzero(one.world.held).tolist())
    assert all((one.held[span] == many.held[span]).all() for span in one.held)
    np.testing.assert_allclose(one.layer.document_DU, many.layer.document_DU, rtol=1e-4, atol=1e-3)
    for name in ("low_U", "high_U", "positive_U"):
        assert torch.equal(getattr(one.layer, name), getattr(many.layer, name)), name
    assert torch.equal(one.layer.strongest.value_kU, many.layer.strongest.value_kU)
    for name in ("document_kU", "span_kU"):  # places are settled by value only where values differ
        a, b = getattr(one.layer.strongest, name), getattr(many.layer.strongest, name)
        assert torch.equal(a[:, VARYING], b[:, VARYING])


def test_signatures_are_those_of_a_loop_in_float64() -> None:
    values = _values()
    sums, world = _Sums(values, [1500]), _World.make()
    chosen = np.flatnonzero(~world.held)
    z = np.zeros((SPANS, WIDTH))
    z[:, VARYING] = (values[:, VARYING] - sums.used[:, VARYING].mean(0)) / sums.used[:, VARYING].std(0)
    for identity in range(2):
        expected = np.zeros((ROWS, WIDTH))
        for span in chosen:
            expected[world.bucket_2K[identity, span]] += world.sign_2K[identity, span] * z[span]
        np.testing.assert_allclose(sums.signature_wU(identity), expected / np.sqrt(len(chosen)), atol=2e-6)


def test_ranges_counts_tops_documents_and_held_back_values_are_those_of_the_spans() -> None:
    values = _values()
    sums = _Sums(values, [1500], gated=True)
    found, world = sums.layer, sums.world
    np.testing.assert_array_equal(found.low_U, values.min(axis=0))  # ranges are over all spans, held back or not
    np.testing.assert_array_equal(found.high_U, values.max(axis=0))
    np.testing.assert_array_equal(found.positive_U, (sums.used > 0).sum(axis=0))
    assert (found.nonzero_U >= SETTINGS.min_active_spans).all()
    np.testing.assert_array_equal(found.strongest.value_kU, -np.sort(-values, axis=0)[:5])
    np.testing.assert_array_equal(values[found.strongest.span_kU[:, 0], 0], found.strongest.value_kU[:, 0])
    assert found.weakest is not None
    np.testing.assert_array_equal(-found.weakest.value_kU, np.sort(values, axis=0)[:5])
    for span in np.flatnonzero(world.held):
        np.testing.assert_array_equal(sums.held[span], values[span])
    np.testing.assert_allclose(found.document_DU[4], values[world.document == 4].sum(axis=0), rtol=1e-4, atol=1e-3)


def test_neurons_that_are_seldom_other_than_zero_are_counted_to_the_end() -> None:
    values = np.maximum(_values(), 0)
    values[:, 4] = 0
    values[[7, 900, 2900], 4] = 1.0
    sums = _Sums(values, [500, 1500])
    assert sums.layer.nonzero_U[4] == (sums.used[:, 4] != 0).sum()
    np.testing.assert_array_equal(sums.layer.positive_U, (sums.used > 0).sum(axis=0))


def test_inner_products_of_sketches_are_unbiased_estimates_of_correlation() -> None:
    generator, dimensions, draws, spans = np.random.default_rng(3), 256, 200, 2000
    x = generator.standard_normal((spans, 2))
    x[:, 1] = 0.6 * x[:, 0] + 0.8 * x[:, 1]
    x = (x - x.mean(0)) / x.std(0)
    exact = float((x[:, 0] * x[:, 1]).mean())
    estimates = []
    for _ in range(draws):
        bucket, sign = generator.integers(0, dimensions, spans), generator.choice([-1.0, 1.0], spans)
        block = bags(bucket, np.arange(spans), sign, dimensions, CPU).sum_double(torch.from_numpy(x + 7.0)).numpy()
        ones = np.bincount(bucket, sign, dimensions)  # takes out the wrong pilot
        signature = signatures_wU(block, ones, np.full(2, 7.0), np.ones(2), spans)
        estimates.append(float(signature[:, 0] @ signature[:, 1]))
    error = np.sqrt((1 + exact**2) / dimensions)  # of one estimate, in theory
    assert abs(np.mean(estimates) - exact) < 4 * error / np.sqrt(draws)
    assert 0.8 < np.std(estimates) / error < 1.2


def test_the_numerics_certificate_is_small_for_our_sums_and_not_for_bfloat16_sums() -> None:
    cuts = list(range(60, SPANS, 60))
    assert _Sums(_values(), cuts).certificate() < 1e-5
    assert _Sums(_values(), cuts, bfloat16=True).certificate() > WORST_ALLOWED


def test_a_layer_of_constants_has_nothing_to_certify() -> None:
    sums = _Sums(np.ones((SPANS, WIDTH), np.float32), [])
    assert sums.certificate() == 0.0
    assert (sums.moments.deviation == 0).all()
