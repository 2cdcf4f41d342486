"""From atlases to a neuron set, and the set on disk."""

import json
from pathlib import Path

import numpy as np
import pytest

from curator import fingerprint
from curator.atlas.spankeys import SpanKeys
from curator.errors import ArtifactError, ArtifactNotFoundError, ConfigError, FingerprintError
from curator.neuronset.artifact import NeuronSet, load_neuron_set, save_neuron_set
from curator.neuronset.build import average_precision, build_neuron_set, documents_read
from curator.neuronset.measures import reported_auroc
from curator.neuronset.parts import document_parts
from curator.neuronset.token_identity import controlled_values
from curator.records import NeuronId
from curator.settings import MatchSettings
from tests.atlas.core_world import SETTINGS, make_backbone, make_corpus
from tests.neuronset.made_set import SET_SETTINGS, TARGETS, make_rosetta, make_set

FILES = ("manifest.json", "neuronset.safetensors", "signatures.faiss")


@pytest.fixture
def saved(world: Path, tmp_path: Path) -> tuple[NeuronSet, Path]:
    return save_neuron_set(make_set(world), tmp_path / "set"), tmp_path / "set"


@pytest.mark.parametrize("anchor", ["gpt2", "llama"])
def test_domains_that_differ_grossly_are_told_apart_by_every_method(world: Path, anchor: str) -> None:
    manifest = make_set(world, anchor).manifest
    assert set(manifest.targets) == set(TARGETS)
    for target in TARGETS:
        filter_ = manifest.targets[target]
        assert set(filter_.methods) == {"single", "linear", "signature", "blended"}
        default = filter_.methods[filter_.default]
        assert default.report_average_precision > 0.95
        assert all(quality.report_auroc > 0.9 for quality in filter_.methods.values())
        assert default.validation_average_precision == max(
            m.validation_average_precision for m in filter_.methods.values()
        )
        assert default.report_positives >= 8
        assert default.report_documents > default.report_positives


def test_every_neuron_has_its_evidence(world: Path) -> None:
    made = make_set(world)
    neurons = made.manifest.neurons
    assert len({neuron.id for neuron in neurons}) == len(neurons)
    for target in TARGETS:
        assert 1 <= sum(target in neuron.targets for neuron in neurons) <= SET_SETTINGS.max_neurons
    for neuron in neurons:
        assert neuron.targets
        assert len(neuron.matches) == 2
        assert all(evidence.direction == 1 for evidence in neuron.targets.values()), (
            "no neuron is turned in an ungated model"
        )
    assert made.manifest.certificate < 1e-5
    assert made.manifest.rosetta_counts["paper"] >= len(neurons)


def test_every_neuron_says_what_is_left_of_it_without_the_words(world: Path) -> None:
    made = make_set(world)
    evidence = [one for neuron in made.manifest.neurons for one in neuron.targets.values()]
    assert all(one.auroc_controlled is not None and 0 <= one.auroc_controlled <= 1 for one in evidence)
    plain, controlled = (
        np.mean([abs((getattr(one, name) or 0.5) - 0.5) for one in evidence])
        for name in ("auroc_report", "auroc_controlled")
    )
    assert controlled < plain - 0.1, "these domains differ in their words alone"


def test_the_control_is_of_the_neuron_it_stands_beside(world: Path) -> None:
    made, atlas = make_set(world), make_rosetta("gpt2", world).anchor
    parts_D = document_parts(atlas, SET_SETTINGS)
    keys = SpanKeys(make_corpus(), SETTINGS)
    for neuron in made.manifest.neurons[::5]:
        wanted = np.asarray([atlas.index(NeuronId.parse(neuron.id))])
        mean_D1 = controlled_values(make_backbone("gpt2", world), keys, wanted, np.asarray([neuron.sign])).mean_Dn
        for target, found in neuron.targets.items():
            assert found.auroc_controlled == pytest.approx(reported_auroc(atlas, mean_D1, parts_D, target)[0])


def test_the_control_can_be_left_out_and_then_the_text_is_read_once(world: Path) -> None:
    settings, read = SET_SETTINGS.model_copy(update={"control_token_identity": False}), list[int]()
    made = build_neuron_set(
        make_backbone("gpt2", world), make_rosetta("gpt2", world), make_corpus(), ["digits"],
        name="tiny", settings=settings, match_settings=MatchSettings(), progress=read.append,
    )  # fmt: skip
    assert all(neuron.targets["digits"].auroc_controlled is None for neuron in made.manifest.neurons)
    assert read[-1] == documents_read(make_corpus(), settings) == len(make_corpus().documents)
    assert documents_read(make_corpus(), SET_SETTINGS) == 2 * read[-1]


def test_a_set_made_before_these_measures_is_still_read(world: Path, tmp_path: Path) -> None:
    save_neuron_set(make_set(world), tmp_path / "set")
    place = tmp_path / "set" / "manifest.json"
    stored = json.loads(place.read_text())
    for neuron in stored["neurons"]:
        for found in neuron["targets"].values():
            for name in ("mutual_information_report", "auroc_controlled", "contexts"):
                del found[name]
    del stored["split_by_document"], stored["settings"]["control_token_identity"], stored["etag"]
    place.write_text(json.dumps({**stored, "etag": fingerprint.of_json(stored)}))
    old = load_neuron_set(tmp_path / "set")
    assert old.manifest.split_by_document == ()
    assert all(one.auroc_controlled is None for neuron in old.manifest.neurons for one in neuron.targets.values())


def test_two_builds_are_equal(world: Path, tmp_path: Path) -> None:
    again = build_neuron_set(
        make_backbone("gpt2", world), make_rosetta("gpt2", world), make_corpus(), TARGETS,
        name="tiny", settings=SET_SETTINGS, match_settings=MatchSettings(),
    )  # fmt: skip
    one, two = (save_neuron_set(made, tmp_path / str(n)) for n, made in enumerate((make_set(world), again)))
    assert one.etag == two.etag
    for name in FILES:
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()


def test_another_world_is_refused(world: Path) -> None:
    rosetta, settings = make_rosetta("gpt2", world), {"settings": SET_SETTINGS, "match_settings": MatchSettings()}
    with pytest.raises(FingerprintError, match="another model"):
        build_neuron_set(make_backbone("llama", world), rosetta, make_corpus(), ["digits"], name="x", **settings)
    with pytest.raises(FingerprintError, match="probe corpus"):
        build_neuron_set(
            make_backbone("gpt2", world), rosetta, make_corpus(20, seed=5), ["digits"], name="x", **settings
        )


def test_a_round_trip_keeps_manifest_arrays_and_etag(world: Path, saved: tuple[NeuronSet, Path]) -> None:
    written, folder = saved
    loaded = load_neuron_set(folder)
    assert loaded.etag == written.etag != ""
    assert loaded.manifest == make_set(world).manifest
    assert loaded.arrays.keys() == written.arrays.keys()
    for name, array in written.arrays.items():
        np.testing.assert_array_equal(loaded.arrays[name], array)
    columns = 3 * len(loaded.manifest.neurons) + len(loaded.manifest.targets)
    z = np.random.default_rng(0).standard_normal((5, columns)).astype(np.float32)
    for method in ("single", "linear", "signature", "blended"):
        np.testing.assert_array_equal(
            loaded.method("digits", method).score(z), written.method("digits", method).score(z)
        )
    assert save_neuron_set(loaded, folder.parent / "again").etag == written.etag


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_in_any_file_is_refused(saved: tuple[NeuronSet, Path], name: str) -> None:
    target = saved[1] / name
    data = bytearray(target.read_bytes())
    place = data.index(b'"tiny"') + 1 if name == "manifest.json" else len(data) - 5
    data[place] ^= 1
    target.write_bytes(data)
    with pytest.raises(ArtifactError, match="changed"):
        load_neuron_set(saved[1])


@pytest.mark.parametrize("name", FILES)
def test_a_lost_file_is_refused(saved: tuple[NeuronSet, Path], name: str) -> None:
    (saved[1] / name).unlink()
    with pytest.raises((ArtifactError, ArtifactNotFoundError)):
        load_neuron_set(saved[1])


def test_a_file_outside_the_set_is_never_read(saved: tuple[NeuronSet, Path]) -> None:
    stored = json.loads((saved[1] / "manifest.json").read_text())
    stored["files"]["../elsewhere"] = "0" * 64
    (saved[1] / "manifest.json").write_text(json.dumps(stored))
    with pytest.raises(ArtifactError):
        load_neuron_set(saved[1])


def test_no_set_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFoundError, match="curator identify"):
        load_neuron_set(tmp_path / "nothing")


def test_a_set_knows_its_model_and_its_targets(world: Path) -> None:
    made = make_set(world)
    made.require_model(make_backbone("gpt2", world))
    for other in (make_backbone("llama", world), make_backbone("gpt2", world, 1)):
        with pytest.raises(FingerprintError, match="another"):
            made.require_model(other)
    assert made.target("letters") == "letters"
    for wrong in (None, "poetry"):
        with pytest.raises(ConfigError, match="digits, letters"):
            made.target(wrong)


@pytest.mark.parametrize("positives", [9, 20, 21, 43])
def test_the_average_precision_of_a_perfect_ranking_is_not_above_1(positives: int) -> None:
    truth_D = np.arange(200) < positives
    assert average_precision(truth_D, truth_D.astype(float)) == 1.0
