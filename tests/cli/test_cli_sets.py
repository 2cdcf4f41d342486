"""Neuron sets on this machine: never lost by a second command, listed, found though mistyped, doubted in words."""

import json
import shutil

import pytest

from curator.neuronset.artifact import load_neuron_set
from tests.cli.cli_world import DOMAINS, curator


@pytest.fixture
def kept(world, tmp_path):
    """A copy of the set for ``digits``, to be overwritten or not."""
    return shutil.copytree(world.neuron_set, tmp_path / "set")


def test_identify_replaces_a_set_of_another_request_only_when_told_to(world, kept):
    before = load_neuron_set(kept).etag
    again = world.identify("digits", kept)
    assert again.exit_code == 0 and load_neuron_set(kept).etag == before, again.output
    other = world.identify("digits", kept, "--max-neurons", "5")
    assert other.exit_code == 2 and "--replace" in other.stderr and "settings of the set" in other.stderr
    assert "choosing neurons" not in other.stderr and load_neuron_set(kept).etag == before
    replaced = world.identify("digits", kept, "--max-neurons", "5", "--replace")
    assert replaced.exit_code == 0 and len(load_neuron_set(kept).manifest.neurons) == 5, replaced.output


def test_select_replaces_a_set_of_another_target_only_when_told_to(world, kept):
    before = load_neuron_set(kept).etag
    words = (
        "select", world.model("gpt2"), "--peer", world.model("gpt_neox"), "--probe", world.probe,
        "--settings", world.settings, "--out", kept,
    )  # fmt: skip
    other = curator(*words, "--target", "letters")
    assert other.exit_code == 2 and "not the same: name, targets" in other.stderr
    assert load_neuron_set(kept).etag == before
    same = curator(*words, "--target", "digits")
    assert same.exit_code == 0 and load_neuron_set(kept).etag == before, same.output
    replaced = curator(*words, "--target", "letters", "--replace")
    assert replaced.exit_code == 0 and list(load_neuron_set(kept).manifest.targets) == ["letters"], replaced.output
    assert "\ndoubt      " in replaced.stdout


def test_identify_says_its_doubts_on_the_terminal_without_a_report(world, kept):
    doubts = [line for line in world.identify("digits", kept).stdout.splitlines() if line.startswith("doubt      ")]
    assert any("By the paper's rule" in line or "strict rule" in line for line in doubts)
    assert not any("scaling" in line or "was not measured." in line for line in doubts)


def test_a_mistyped_target_names_the_domains_and_the_nearest(world, tmp_path):
    for verb in (("identify", "--model", "zoo:neox-32x2"), ("select", "zoo:neox-32x2")):
        result = curator(
            *verb, "--peer", "zoo:gpt2-32x2", "--probe", world.probe, "--target", "digit", "--out", tmp_path / "set"
        )
        assert result.exit_code == 2 and "did you mean 'digits'?" in result.stderr
        assert all(domain in result.stderr for domain in DOMAINS) and "atlas of" not in result.stderr


def test_more_layers_than_the_anchor_has_are_refused_before_it_is_read(world, tmp_path):
    result = world.identify("digits", tmp_path / "set", "--max-depth", "7")
    assert result.exit_code == 2 and "2 layers" in result.stderr and "--max-depth is 7" in result.stderr
    assert "atlas of" not in result.stderr


def test_select_refuses_more_layers_than_the_anchors_atlas_has(world, tmp_path):
    assert world.neuron_set.is_dir()
    result = curator(
        "select", world.model("gpt2"), "--peer", world.model("gpt_neox"), "--probe", world.probe, "--target", "digits",
        "--settings", world.settings, "--out", tmp_path / "set", "--max-depth", "7",
    )  # fmt: skip
    assert result.exit_code == 2 and "2 layers" in result.stderr and "--max-depth is 7" in result.stderr


def test_list_names_the_sets_and_atlases_that_are_kept(world, home):
    shutil.copytree(world.neuron_set, home / "neuron-sets" / "listed", dirs_exist_ok=True)
    shutil.copytree(world.neuron_set, home / "neuron-sets" / "listed.partial-1-ab", dirs_exist_ok=True)
    found = json.loads(curator("list", "--json").stdout)
    (one,) = [row for row in found["neuron_sets"] if row["name"].startswith("listed")]
    assert one["targets"] == ["digits"] and one["path"] == str(home / "neuron-sets" / "listed")
    assert one["neurons"] == len(load_neuron_set(world.neuron_set).manifest.neurons)
    assert {row["model"] for row in found["atlases"]} >= {str(world.model("gpt2")), str(world.model("gpt_neox"))}
    assert all(row["spans"] > 0 and row["probe"] for row in found["atlases"])
    shown = curator("list").stdout
    assert "listed" in shown and "Atlases" in shown


def test_list_says_how_to_begin_where_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATOR_HOME", str(tmp_path))
    result = curator("list")
    assert result.exit_code == 0 and result.stdout == "" and "`curator identify`" in result.stderr
    missing = curator("serve", "--neuron-set", "law")
    assert missing.exit_code == 1 and "make one with `curator identify`" in missing.stderr


def test_a_mistyped_set_names_the_nearest_and_what_there_is(world, home):
    shutil.copytree(world.neuron_set, home / "neuron-sets" / "listed", dirs_exist_ok=True)
    result = curator("filter", world.pool, "--neuron-set", "lisetd", "--threshold", "0.5", "--out", home / "never")
    assert result.exit_code == 1 and result.stderr.startswith("error [ARTIFACT_NOT_FOUND]: ")
    assert "did you mean 'listed'? `curator list` shows" in result.stderr


def test_score_overwrites_a_file_only_when_told_to(world, tmp_path):
    out = tmp_path / "scores.jsonl"
    out.write_text("an evening's work")
    words = ("score", world.pool, "--neuron-set", world.neuron_set, "--out", out)
    refused = curator(*words)
    assert refused.exit_code == 2 and "--replace" in refused.stderr and out.read_text() == "an evening's work"
    assert curator(*words, "--replace").exit_code == 0 and out.read_text() != "an evening's work"


def test_a_typing_error_in_a_settings_file_is_named_with_its_table(world, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("[neuron_set]\nmax_neuron = 3\n")
    words = ("identify", "--model", "a", "--peer", "b", "--target", "c", "--probe", world.probe, "--settings", file)
    result = curator(*words)
    assert result.exit_code == 2
    assert (
        f"The table [neuron_set] of {file} has the unknown key 'max_neuron'; did you mean 'max_neurons'?"
        in result.stderr
    )
