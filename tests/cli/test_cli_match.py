"""The match and select verbs: models or finished atlases, every pair in a file, sets for other targets and other models."""

import json

import pyarrow.parquet as pq
import pytest

from curator.cli.match_cmd import plain_name
from curator.neuronset.artifact import load_neuron_set
from curator.text.probe import build_probe
from tests.cli.cli_world import curator


@pytest.fixture(scope="module")
def matched(world, tmp_path_factory):
    """Two models matched by name, with both files: the output, the JSON and the folder."""
    folder = tmp_path_factory.mktemp("matched")
    result = curator(
        "match", world.model("gpt2"), "--peer", world.model("gpt_neox"), "--probe", world.probe,
        "--settings", world.settings, "--json", folder / "pairs.json", "--parquet", folder / "pairs.parquet",
        "--rule", "paper",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return result, json.loads((folder / "pairs.json").read_text()), folder


def atlas_of(home, name):
    """The folder of the atlas that the verb kept for a model."""
    (folder,) = (
        manifest.parent
        for manifest in (home / "atlases").glob("*/manifest.json")
        if json.loads(manifest.read_text())["model"] == str(name)
    )
    return folder


def test_counts_stand_beside_their_nulls_and_the_strongest_pairs_are_shown(matched):
    result, document, _ = matched
    for words in ("deranged text", "rotated layers", "Jaccard", "mean rho", "float64", "hubness", "standard error"):
        assert words in result.stdout
    strongest = max((p for p in document["pairs"] if p["paper"]), key=lambda pair: abs(pair["rho"]))
    assert strongest["anchor_neuron"] in result.stdout and strongest["peer_neuron"] in result.stdout


def test_every_pair_is_written_with_what_makes_it_sure(world, matched):
    _, document, folder = matched
    pairs = document["pairs"]
    assert document["format"] == "curator-match-1" and document["anchor"]["model"] == str(world.model("gpt2"))
    assert document["counts"]["paper"] == sum(pair["paper"] for pair in pairs) > 0
    assert 0 <= document["half_jaccard"] <= 1 and 0 <= document["match_certificate"] < 1e-4
    assert {"deranged_paper", "rotated_strict"} <= document["null_counts"].keys()
    for pair in pairs:
        assert pair["peer"] == str(world.model("gpt_neox"))
        assert 0 < pair["q"] <= 1 and pair["standard_error"] > 0 and abs(pair["rho"]) <= 1 and pair["hubness"] >= 1
    assert pq.read_table(folder / "pairs.parquet").to_pylist() == pairs


@pytest.mark.parametrize("mode", ["second-pass", "exact", "shared"])
def test_other_modes_decide_over_every_span_of_a_probe_that_is_read_once(world, matched, tmp_path, monkeypatch, mode):
    _, sketch, _ = matched
    read = []
    monkeypatch.setattr("curator.text.probe.build_probe", lambda spec: read.append(spec) or build_probe(spec))
    result = curator(
        "match", world.model("gpt2"), "--peer", world.model("gpt_neox"), "--probe", world.probe,
        "--settings", world.settings, "--mode", mode, "--json", tmp_path / "pairs.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert len(read) == 1
    document = json.loads((tmp_path / "pairs.json").read_text())
    assert document["match_certificate"] < 1e-4
    ours, theirs = ({(p["anchor_neuron"], p["peer_neuron"]) for p in d["pairs"]} for d in (document, sketch))
    assert len(ours & theirs) > 0.2 * len(theirs)
    assert document["pairs"] != sketch["pairs"]
    measured = [pair["q"] is not None and pair["excess"] is not None for pair in document["pairs"]]
    assert not any(measured) if mode == "shared" else all(measured), "nulls are over universal spans"
    if mode == "shared":
        assert document["counts"]["strict"] == document["counts"]["universal"] == 0


def test_a_mode_that_runs_the_models_asks_for_models(world, matched, home):
    folders = [atlas_of(home, world.model(kind)) for kind in ("gpt2", "gpt_neox")]
    for anchor in (folders[0], "absent/model"):
        result = curator("match", anchor, "--peer", folders[1], "--settings", world.settings, "--mode", "exact")
        assert result.exit_code == 2, "before anything is read or built"
        assert "name the model in place of its atlas" in result.stderr


def test_finished_atlases_are_matched_without_a_model_or_a_probe(world, matched, home, tmp_path, monkeypatch):
    _, document, _ = matched
    folders = [atlas_of(home, world.model(kind)) for kind in ("gpt2", "gpt_neox")]
    monkeypatch.setattr("curator.neuronset.identify.load_backbone", lambda *_, **__: pytest.fail("a model was loaded"))
    result = curator(
        "match", folders[0], "--peer", folders[1], "--settings", world.settings, "--json", tmp_path / "again.json",
        "--rule", "paper",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "again.json").read_text()) == document


def test_a_probe_beside_finished_atlases_is_refused(world, matched, home):
    folders = [atlas_of(home, world.model(kind)) for kind in ("gpt2", "gpt_neox")]
    result = curator("match", folders[0], "--peer", folders[1], "--probe", world.probe)
    assert result.exit_code == 2 and "leave --probe" in result.stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("zoo:a",), "--peer"),
        (("--carry", "x"), "--to MODEL"),
        (("zoo:a", "--carry", "x", "--to", "y"), "neither an anchor"),
        (("zoo:a", "--peer", "zoo:b"), "--probe FILE"),
    ],
)
def test_half_a_request_is_answered_with_the_other_half(words, hint):
    result = curator("match", *words)
    assert result.exit_code == 2 and hint in result.stderr


def test_a_set_is_carried_to_another_model_and_filters_there(world, tmp_path):
    result = curator(
        "match", "--carry", world.neuron_set, "--to", world.model("gpt_neox"), "--probe", world.probe,
        "--settings", world.settings, "--out", tmp_path / "carried", "--name", "there", "--max-q", "0.2",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    saved, source = load_neuron_set(tmp_path / "carried"), load_neuron_set(world.neuron_set)
    assert saved.manifest.name == "there" and saved.manifest.model == str(world.model("gpt_neox"))
    assert saved.manifest.transferred_from.etag == source.etag
    assert f"etag       {saved.etag}" in result.stdout and "Carried from digits" in result.stdout
    filtered = curator(
        "filter", world.pool, "--neuron-set", tmp_path / "carried", "--out", tmp_path / "kept", "--keep-fraction", "0.3"
    )
    assert filtered.exit_code == 0, filtered.output


def test_a_set_is_not_carried_to_its_own_model(world, tmp_path):
    result = curator(
        "match", "--carry", world.neuron_set, "--to", world.model("gpt2"), "--probe", world.probe,
        "--settings", world.settings, "--out", tmp_path / "carried",
    )  # fmt: skip
    assert result.exit_code == 2 and "already" in result.stderr
    assert not (tmp_path / "carried").exists()


@pytest.mark.parametrize("by_folder", [False, True])
def test_select_makes_the_set_that_identify_makes_and_builds_no_atlas(world, home, tmp_path, monkeypatch, by_folder):
    assert world.neuron_set.is_dir()  # its atlases are kept
    monkeypatch.setattr("curator.neuronset.identify.build_atlas", lambda *_, **__: pytest.fail("an atlas was built"))
    models = [world.model(kind) for kind in ("gpt2", "gpt_neox")]
    anchor, peer = (atlas_of(home, model) for model in models) if by_folder else models
    result = curator(
        "select", anchor, "--peer", peer, "--target", "letters", "--probe", world.probe,
        "--settings", world.settings, "--out", tmp_path / "selected",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert world.identify("letters", tmp_path / "identified").exit_code == 0
    assert load_neuron_set(tmp_path / "selected").etag == load_neuron_set(tmp_path / "identified").etag


def test_select_without_an_atlas_says_how_to_build_it(world, tmp_path):
    result = curator(
        "select", world.model("gpt2"), "--peer", world.model("gpt_neox", seed=3), "--target", "letters",
        "--probe", world.probe, "--settings", world.settings, "--out", tmp_path / "never",
    )  # fmt: skip
    assert result.exit_code == 1 and "ARTIFACT_NOT_FOUND" in result.stderr and "curator atlas" in result.stderr
    assert not (tmp_path / "never").exists()


def test_names_of_carried_sets_are_plain():
    assert plain_name("zoo:neox-192x6") == "neox-192x6"
    assert plain_name("EleutherAI/pythia-160m") == "pythia-160m"
    assert plain_name("models/my model/") == "my-model"
