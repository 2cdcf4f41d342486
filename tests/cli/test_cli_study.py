"""The study verb: sizes are measured, appended on the same probe only, and judged."""

import pytest

from curator.cli import study_cmd
from curator.cli.study_cmd import Named, zoo_groups
from curator.errors import ConfigError, ModelNotFoundError
from curator.scaling.points import Study
from curator.zoo.recipe import SIZES
from tests.cli.cli_world import curator


@pytest.fixture(scope="module")
def first(world, tmp_path_factory):
    """A study of one size."""
    out = tmp_path_factory.mktemp("study") / "study.json"
    result = measured(world, out, f"small={world.model('gpt2')},{world.model('gpt_neox')}")
    assert result.exit_code == 0, result.output
    assert "not enough sizes" in result.stdout.lower()
    return out


def measured(world, out, group, *more, depth="quick"):
    return curator(
        "study", "--group", group, "--probe", world.probe, "--settings", world.settings, "--out", out,
        "--depth", depth, *more,
    )  # fmt: skip


def test_a_study_counts_the_anchors_neurons_and_names_the_models(world, first):
    study = Study.load(first)
    (point,) = study.points
    assert (point.label, point.neurons_anchor, point.anchor) == ("small", 96, str(world.model("gpt2")))
    assert point.decoy_derangement.paper is not None and point.paper <= 96
    assert set(study.model_fingerprints) == {str(world.model("gpt2")), str(world.model("gpt_neox"))}
    assert study.settings["atlas.sketch_dimensions"] == 256 and study.seeds == {"atlas": 0, "matching": 0}


def test_a_size_is_appended_in_place(world, first, tmp_path):
    out = tmp_path / "both.json"
    group = f"other={world.model('gpt2', seed=1)},{world.model('gpt_neox')}"
    result = measured(world, out, group, "--append", first)
    assert result.exit_code == 0, result.output
    study = Study.load(out)
    assert {point.label for point in study.points} == {"small", "other"}
    assert len(study.model_fingerprints) == 3
    assert "small" in result.stdout and "other" in result.stdout and study.fingerprint in result.stdout
    in_place = measured(world, out, group, "--append", out)
    assert in_place.exit_code == 0 and Study.load(out).fingerprint == study.fingerprint


def test_points_of_another_probe_or_other_settings_do_not_mix(world, first, tmp_path):
    group = f"other={world.model('gpt2')},{world.model('gpt_neox')}"
    for more, what in ((("--tokens-per-domain", "2000"), "probe corpus"), (("--sketch-dimensions", "128"), "settings")):
        result = measured(world, tmp_path / "mixed.json", group, "--append", first, *more)
        assert result.exit_code == 1
        assert f"error [FINGERPRINT_MISMATCH]: The study was made with another {what}" in result.stderr
        assert not (tmp_path / "mixed.json").exists()


def test_an_existing_study_is_not_overwritten(world, first):
    before = first.read_bytes()
    result = measured(world, first, f"other={world.model('gpt2')},{world.model('gpt_neox')}")
    assert result.exit_code == 2 and f"--append {first}" in result.stderr
    assert first.read_bytes() == before


def test_a_group_is_an_anchor_peers_and_models_beside_them():
    named = Named.parse("small=a, b,c + d")
    assert (named.label, named.models, named.beside) == ("small", ("a", "b", "c"), ("d",))
    assert Named.parse("small=a,b").beside == ()
    for wrong in ("a,b", "small=a", "=a,b", "small=a+b"):
        with pytest.raises(ConfigError, match="LABEL=ANCHOR"):
            Named.parse(wrong)


def test_the_zoos_sizes_are_those_that_are_bundled_whole(monkeypatch):
    names = [f"{family}-{size}" for size in SIZES[:2] for family in ("neox", "gpt2", "opt")]
    monkeypatch.setattr("curator.zoo.catalog.bundled_models", lambda: [*names, f"neox-{SIZES[2]}"])
    groups = zoo_groups()
    assert [group.label for group in groups] == [str(size) for size in SIZES[:2]]
    assert groups[0].models == (f"zoo:neox-{SIZES[0]}", f"zoo:gpt2-{SIZES[0]}", f"zoo:opt-{SIZES[0]}")
    assert all(group.beside == () for group in groups)
    monkeypatch.setattr("curator.zoo.catalog.bundled_models", lambda: [*names, f"llama-{SIZES[1]}"])
    assert [group.beside for group in zoo_groups()] == [(), (f"zoo:llama-{SIZES[1]}",)]
    monkeypatch.setattr("curator.zoo.catalog.bundled_models", list)
    with pytest.raises(ModelNotFoundError, match="--group"):
        study_cmd.zoo_groups()
