"""Running sums against float64, whatever the batches; the sketch's error; what the numerics certificate catches."""

import numpy as np
import pytest
import torch
from scipy import stats

from curator.atlas.accumulators import BatchPlaces, LayerAccumulator, Sketch, certificate, moments
from curator.atlas.pooling import pooling_matrix
from curator.settings import AtlasSettings

SETTINGS = AtlasSettings(sketch_dimensions=128, folds=4, min_active_spans=5, top_contexts=5)
SPANS, WIDTH, HELD, DOCUMENTS = 3000, 7, 300, 40
CPU = torch.device("cpu")


def _values(seed: int = 0) -> np.ndarray:
    """Heavy-tailed, with a mean far from zero in one column and a constant in another. (K, U) float32."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((SPANS, WIDTH)) ** 3
    values[:, 1] += 50
    values[:, 2] = 3
    return values.astype(np.float32)


def _places(seed: int = 1) -> dict[str, torch.Tensor]:
    generator = np.random.default_rng(seed)
    held = generator.permutation(SPANS)[:HELD]
    slot = np.full(SPANS, -1)
    slot[held] = np.arange(HELD)
    sketched = slot < 0
    signs = [generator.choice([-1.0, 1.0], SPANS) * sketched for _ in range(2)]
    document = np.sort(generator.integers(0, DOCUMENTS, SPANS))
    arrays = {
        "document": document, "span": np.arange(SPANS), "fold": document % SETTINGS.folds, "sketched": sketched,
        "bucket": generator.integers(0, 128, SPANS), "sign": signs[0].astype(np.float32), "slot": slot,
        "decoy_bucket": generator.integers(0, 128, SPANS), "decoy_sign": signs[1].astype(np.float32), "decoy_slot": slot,
    }  # fmt: skip
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _accumulate(
    values: np.ndarray, cuts: list[int], kind: type[LayerAccumulator] = LayerAccumulator
) -> LayerAccumulator:
    accumulator = kind(WIDTH, DOCUMENTS, HELD, SETTINGS, CPU)
    places = _places()
    for start, stop in zip([0, *cuts], [*cuts, SPANS], strict=True):
        here = np.arange(stop - start)
        pooling = pooling_matrix(here, here, np.ones(len(here), np.float32), (len(here), len(here)), CPU)
        batch = BatchPlaces(**{name: array[start:stop] for name, array in places.items()})
        accumulator.add(torch.from_numpy(values[start:stop]), pooling, batch)
    return accumulator


@pytest.mark.parametrize("cuts", [[], [1, 2, 900], [1000, 1000, 2000]])
def test_moments_equal_those_of_numpy_and_scipy_in_float64(cuts: list[int]) -> None:
    values = _values()
    found = moments(_accumulate(values, cuts))
    used = values[_places()["sketched"].numpy()].astype(np.float64)
    varying = [0, 1, 3, 4, 5, 6]
    assert found.spans == len(used) == SPANS - HELD
    np.testing.assert_allclose(found.mean, used.mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.deviation, used.std(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.skewness[varying], stats.skew(used[:, varying], axis=0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.excess_kurtosis[varying], stats.kurtosis(used[:, varying], axis=0), rtol=1e-4)
    assert found.skewness[2] == found.excess_kurtosis[2] == 0


def test_all_sums_are_the_same_however_batches_are_cut() -> None:
    values = _values()
    one, many = _accumulate(values, []), _accumulate(values, [3, 700, 701, 2500])
    a, b = moments(one), moments(many)
    scale = torch.from_numpy(np.where(a.deviation > 0, a.deviation, np.inf))
    for name in ("true", "decoy"):
        first = getattr(one, name).signatures_Ud(torch.from_numpy(a.shift), scale, a.spans)
        second = getattr(many, name).signatures_Ud(torch.from_numpy(b.shift), scale, b.spans)
        np.testing.assert_allclose(first, second, atol=1e-6)
        assert torch.equal(getattr(one, name).held_VU, getattr(many, name).held_VU)
    np.testing.assert_allclose(one.document_sum_DU, many.document_sum_DU, rtol=1e-4, atol=1e-3)
    for name in ("low_U", "high_U", "positive_U", "nonzero_U", "count_F", "document_count_D"):
        assert torch.equal(getattr(one, name), getattr(many, name)), name
    varying = [0, 1, 3, 4, 5, 6]  # places are settled by value only where values differ
    assert torch.equal(one.top_value_kU, many.top_value_kU)
    assert torch.equal(one.top_place_kU2[:, varying], many.top_place_kU2[:, varying])


def test_ranges_counts_tops_documents_and_held_back_values_are_those_of_the_spans() -> None:
    values, places = _values(), _places()
    found = _accumulate(values, [1500])
    used = values[places["sketched"].numpy()]
    np.testing.assert_array_equal(found.low_U, values.min(axis=0))  # ranges are over all spans, held back or not
    np.testing.assert_array_equal(found.high_U, values.max(axis=0))
    np.testing.assert_array_equal(found.positive_U, (used > 0).sum(axis=0))
    np.testing.assert_array_equal(found.top_value_kU, -np.sort(-values, axis=0)[:5])
    np.testing.assert_array_equal(values[found.top_place_kU2[:, 0, 1], 0], found.top_value_kU[:, 0])
    slot = places["slot"].numpy()
    np.testing.assert_array_equal(found.true.held_VU[slot[slot >= 0]], values[slot >= 0])
    document = places["document"].numpy()
    np.testing.assert_allclose(found.document_sum_DU[4], values[document == 4].sum(axis=0), rtol=1e-4, atol=1e-3)


def test_a_first_batch_without_spans_leaves_every_sum_intact() -> None:
    found = moments(_accumulate(_values(), [0, 1200]))
    assert np.isfinite(found.mean).all()
    np.testing.assert_allclose(found.mean, moments(_accumulate(_values(), [1200])).mean, rtol=1e-6, atol=1e-7)


def test_top_contexts_of_fewer_spans_than_places_leave_the_rest_empty() -> None:
    accumulator = LayerAccumulator(WIDTH, DOCUMENTS, HELD, SETTINGS, CPU)
    batch = BatchPlaces(**{name: array[:3] for name, array in _places().items()})
    identity = pooling_matrix(np.arange(3), np.arange(3), np.ones(3, np.float32), (3, 3), CPU)
    accumulator.add(torch.from_numpy(_values()[:3]), identity, batch)
    assert (accumulator.top_place_kU2[3:] == -1).all()
    assert torch.isneginf(accumulator.top_value_kU[3:]).all()


def test_inner_products_of_sketches_are_unbiased_estimates_of_correlation() -> None:
    generator, dimensions, draws, spans = np.random.default_rng(3), 256, 200, 2000
    x = generator.standard_normal((spans, 2))
    x[:, 1] = 0.6 * x[:, 0] + 0.8 * x[:, 1]
    x = (x - x.mean(0)) / x.std(0)
    exact = float((x[:, 0] * x[:, 1]).mean())
    estimates = []
    for _ in range(draws):
        sketch = Sketch(dimensions, 0, 2, CPU)
        values = torch.from_numpy(x + 7.0)  # a wrong pilot, taken out at the end
        sketch.add(
            values, values,
            torch.from_numpy(generator.integers(0, dimensions, spans)),
            torch.from_numpy(generator.choice([-1.0, 1.0], spans)),
            torch.full((spans,), -1),
        )  # fmt: skip
        signature = sketch.signatures_Ud(torch.full((2,), 7.0), torch.ones(2), spans)
        estimates.append(float(signature[0] @ signature[1]))
    error = np.sqrt((1 + exact**2) / dimensions)  # of one estimate, in theory
    assert abs(np.mean(estimates) - exact) < 4 * error / np.sqrt(draws)
    assert 0.8 < np.std(estimates) / error < 1.2


class _Rounded(LayerAccumulator):
    """What SCIENCE forbids: sums that are kept in bfloat16 between batches."""

    def add(self, tokens_TU: torch.Tensor, pooling_KT: torch.Tensor, places: BatchPlaces) -> None:
        super().add(tokens_TU, pooling_KT, places)
        self.power_F4U = self.power_F4U.bfloat16().double()
        self.true.sum_dU = self.true.sum_dU.bfloat16().double()


def test_the_numerics_certificate_is_small_for_our_sums_and_not_for_bfloat16_sums() -> None:
    cuts = list(range(60, SPANS, 60))
    ours, rounded = (_accumulate(_values(), cuts, kind) for kind in (LayerAccumulator, _Rounded))
    assert certificate(ours, moments(ours)) < 1e-5
    assert certificate(rounded, moments(rounded)) > 1e-3


def test_a_layer_of_constants_has_nothing_to_certify() -> None:
    found = _accumulate(np.ones((SPANS, WIDTH), np.float32), [])
    assert certificate(found, moments(found)) == 0.0
    assert (moments(found).deviation == 0).all()
