"""A set read to fewer layers: the same numbers as a set made of those neurons, from less of the model."""

from pathlib import Path

import numpy as np
import pytest

from curator.errors import ConfigError
from curator.neuronset.artifact import NeuronSet, load_neuron_set, save_neuron_set
from curator.neuronset.depth import depth_table, variant_depths
from curator.neuronset.features import document_features
from curator.neuronset.parts import Part, document_parts
from curator.neuronset.scorers import fit_linear, fit_signature
from tests.atlas.core_world import make_atlas, make_backbone, make_corpus
from tests.neuronset.made_set import SET_SETTINGS, TARGETS, make_set


def _fit_part(world: Path, shallow: NeuronSet) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features of the fit documents for a set's neurons, and which are digits."""
    corpus = make_corpus()
    texts = [document.text for document in corpus.documents]
    skip = shallow.manifest.skip_tokens
    features = document_features(make_backbone("gpt2", world), texts, shallow.choice, skip_tokens=skip)
    fit = document_parts(make_atlas("gpt2", world), SET_SETTINGS) == Part.FIT
    labels = np.asarray([document.domain == "digits" for document in corpus.documents])
    return shallow.standardiser(features.values_DfK[fit]), labels[fit]


def test_a_shallower_set_is_what_would_be_fitted_on_its_neurons_alone(world: Path) -> None:
    whole = make_set(world)
    shallow = whole.shallower(1)
    assert {neuron.layer for neuron in shallow.choice.neurons} == {0}
    z, positive = _fit_part(world, shallow)
    np.testing.assert_allclose(
        shallow.method("digits", "linear").score(z), fit_linear(z, positive, SET_SETTINGS).score(z), atol=1e-3
    )
    np.testing.assert_allclose(
        shallow.method("digits", "signature").score(z), fit_signature(z, positive, SET_SETTINGS).score(z), atol=1e-4
    )


def test_a_shallower_set_says_what_it_is_and_has_its_own_calibration_and_thresholds(world: Path) -> None:
    whole = make_set(world)
    shallow = whole.shallower(1)
    assert shallow.etag == f"{whole.etag}-depth1"
    assert (whole.manifest.depth, shallow.manifest.depth, whole.manifest.layers) == (2, 1, 2)
    assert shallow.manifest.targets == whole.manifest.depths[0].targets
    for target in TARGETS:
        for name in shallow.manifest.targets[target].methods:
            quality = shallow.manifest.targets[target].methods[name]
            assert len(shallow.held_out(target, name).probability_R) == quality.report_documents
            assert shallow.held_out(target, name).positive_R.sum() == quality.report_positives
            assert shallow.calibration(target, name).kind == quality.calibration


def test_the_table_shows_depth_share_of_layers_and_held_out_precision(world: Path) -> None:
    manifest = make_set(world).manifest
    rows = depth_table(manifest, "digits")
    assert [(row.depth, row.share_of_layers) for row in rows] == [(1, 0.5), (2, 1.0)]
    assert rows[-1].neurons == len(manifest.neurons) > rows[0].neurons
    best = manifest.targets["digits"]
    assert rows[-1].average_precision == best.methods[best.default].report_average_precision
    assert all(row.average_precision is not None and row.average_precision > 0.5 for row in rows)


def test_variants_survive_the_disk_and_a_deep_enough_limit_changes_nothing(world: Path, tmp_path: Path) -> None:
    saved = save_neuron_set(make_set(world), tmp_path / "set")
    loaded = load_neuron_set(tmp_path / "set")
    assert loaded.shallower(2) is loaded
    assert loaded.shallower(7).etag == saved.etag
    for name, array in saved.shallower(1).arrays.items():
        np.testing.assert_array_equal(array, loaded.shallower(1).arrays[name])


def test_a_depth_without_scorers_is_refused_with_those_that_there_are(world: Path) -> None:
    with pytest.raises(ConfigError, match=r"reads 2 layers .* also fitted for: 1"):
        make_set(world).shallower(0)


def test_many_depths_are_thinned_evenly() -> None:
    assert variant_depths(np.asarray([3, 3, 0, 5])) == [1, 4]
    many = variant_depths(np.arange(48))
    assert (len(many), many[0], many[-1]) == (12, 1, 47)
    assert variant_depths(np.asarray([4])) == []
