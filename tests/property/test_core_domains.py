"""AUROC and average precision of all neurons at once equal scikit-learn's, one neuron at a time, under many ties."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.metrics import average_precision_score, roc_auc_score

from curator.atlas.domains import auroc_N, average_precision_N


@st.composite
def tied_values(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Few distinct values, so that ties are the rule; both classes present."""
    documents, neurons = draw(st.integers(2, 30)), draw(st.integers(1, 4))
    values = draw(npst.arrays(np.float32, (documents, neurons), elements=st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0])))
    positive = draw(npst.arrays(bool, documents))
    positive[0], positive[-1] = True, False
    return values, positive


@settings(deadline=None, max_examples=100)
@given(tied_values())
def test_measures_equal_scikit_learns_under_ties(case: tuple[np.ndarray, np.ndarray]) -> None:
    values, positive = case
    auroc, precision = auroc_N(values, positive), average_precision_N(values, positive)
    for neuron in range(values.shape[1]):
        assert abs(auroc[neuron] - roc_auc_score(positive, values[:, neuron])) < 1e-12
        assert abs(precision[neuron] - average_precision_score(positive, values[:, neuron])) < 1e-12


@settings(deadline=None, max_examples=50)
@given(tied_values())
def test_negating_a_neuron_mirrors_its_auroc(case: tuple[np.ndarray, np.ndarray]) -> None:
    values, positive = case
    np.testing.assert_allclose(auroc_N(-values, positive), 1 - auroc_N(values, positive), atol=1e-12)
