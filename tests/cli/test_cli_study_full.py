"""A full study measures every part from atlases, and one more size touches nothing of the sizes that were there."""

import json
from pathlib import Path

import numpy as np
import pytest

from curator.atlas.store import load_atlas
from curator.files import curator_home
from curator.rosetta.neurons import find_rosetta_neurons
from curator.scaling import study as study_room
from curator.scaling.points import Study
from curator.settings import MatchSettings
from tests.cli.cli_world import curator

REPLICATES = 6


def measured(world, out: Path, groups: list[str], *more):
    named = [word for group in groups for word in ("--group", group)]
    replicates = () if "quick" in more else ("--replicates", REPLICATES)
    return curator(
        "study", *named, "--probe", world.probe, "--settings", world.settings, "--out", out, *replicates, *more
    )


def group(world, label: str, seed: int) -> str:
    models = ",".join(str(world.model(kind, seed=s)) for kind, s in (("gpt2", seed), ("gpt_neox", 0), ("gpt_neox", 1)))
    return f"{label}={models}+{world.model('gpt2', seed=9)}"


@pytest.fixture(scope="module")
def first(world, tmp_path_factory) -> Path:
    """A full study of one size, with a model beside it."""
    out = tmp_path_factory.mktemp("full") / "study.json"
    result = measured(world, out, [group(world, "one", 0)])
    assert result.exit_code == 0, result.output
    return out


def test_every_part_is_measured(first: Path):
    (point,) = Study.load(first).points
    assert point.full and len(point.beside) == 1
    assert len(point.paper_draws) == len(point.strict_draws) == REPLICATES
    assert [(pair.first == point.anchor) for pair in point.pairs] == [True, True, True, False, False, False]
    assert [star.anchor for star in point.stars] == [point.anchor, *point.peers]
    assert [budget.share for budget in point.budgets] == [0.25, 0.5]
    assert {one.rule for one in point.classes} == {"paper", "strict"}
    (panel, *_), (firing, *_) = point.selectivity, point.specialisation
    assert {one.measure for one in panel.contrasts} >= {"gini", "context_coherence", "vocabulary_kurtosis"}
    assert {one.domain for one in firing.domains} == {"letters", "digits", "marks"}
    assert firing.controlled_spans is not None and point.untrained is not None


def test_numbers_are_those_that_the_atlases_give(first: Path):
    study = Study.load(first)
    (point,) = study.points
    stored = {}
    for folder in (curator_home() / "atlases").iterdir():
        if (folder / "manifest.json").is_file():
            atlas = load_atlas(folder)
            told = atlas.manifest
            if told.probe_fingerprint == study.probe_fingerprint and told.settings.sketch_dimensions == 256:
                stored[atlas.manifest.model] = atlas
    anchor, *peers = (stored[name] for name in (point.anchor, *point.peers))
    found = find_rosetta_neurons(anchor, peers, MatchSettings())
    counts, nulls = found.counts(), found.null_counts
    assert (point.paper, point.strict, point.universal) == tuple(counts[r] for r in ("paper", "strict", "universal"))
    assert point.decoy_derangement.paper == nulls["deranged_paper"]
    assert point.decoy_rotation.paper == nulls["rotated_paper"]
    assert point.half_jaccard == found.half_jaccard
    assert point.mean_correlation == pytest.approx(float(found.mean_rho.mean()))
    assert point.thresholds is not None and point.neighbours is not None
    assert point.thresholds.counts[0].count == point.neighbours.counts[0].count == point.stars[0].paper == point.paper
    weakest = np.min([[abs(m["rho"]) for m in found.matches_of(row)] for row in range(len(found.index))], axis=1)
    for rho, one in zip(point.thresholds.rho, point.thresholds.counts, strict=True):
        assert one.count == (weakest >= np.float32(rho)).sum()
    carried = next(one for one in point.classes if one.name == "rosetta" and one.rule == "paper").carried
    assert carried == point.paper, "with two peers the carried class is the intersection itself"


def test_one_more_size_runs_only_its_own_models_and_leaves_the_old_bytes(
    world, first: Path, tmp_path: Path, monkeypatch
):
    out = tmp_path / "grown.json"
    asked = []
    real = study_room.measure_group
    monkeypatch.setattr(
        study_room, "measure_group", lambda label, *words, **more: asked.append(label) or real(label, *words, **more)
    )
    new = f"two={world.model('gpt2', seed=2)},{world.model('gpt_neox', seed=2)}"
    atlases = {path: path.stat().st_mtime_ns for path in (curator_home() / "atlases").rglob("*") if path.is_file()}
    result = measured(world, out, [group(world, "one", 0), new], "--append", first)
    assert result.exit_code == 0, result.output
    assert asked == ["two"] and "one (kept from before)" in result.output
    assert "polarization: Paper rule: at the largest size" in result.stdout.replace("\n", " ")
    assert all(path.stat().st_mtime_ns == then for path, then in atlases.items())
    old, grown = (json.loads(path.read_text())["study"]["points"] for path in (first, out))
    assert [point["label"] for point in grown] == ["one", "two"]
    assert json.dumps(grown[0]) == json.dumps(old[0])
    line = next(line for line in first.read_text().splitlines() if line.startswith('{"label":"one"'))
    assert line in {row.removesuffix(",") for row in out.read_text().splitlines()}


def test_a_quick_point_is_deepened_and_a_model_with_other_weights_is_measured_again(world, tmp_path: Path):
    out = tmp_path / "study.json"
    one = f"size={world.model('gpt2', seed=2)},{world.model('gpt_neox', seed=2)}"
    assert measured(world, out, [one], "--depth", "quick").exit_code == 0
    assert not Study.load(out).points[0].full
    assert measured(world, out, [one], "--append", out).exit_code == 0
    assert Study.load(out).points[0].full
    kept = measured(world, out, [one], "--append", out, "--depth", "quick")
    assert "kept from before" in kept.output and Study.load(out).points[0].full
    other = one.replace("gpt_neox-2", "gpt_neox-1")
    again = measured(world, out, [other.replace("size=", "size=")], "--append", out)
    assert again.exit_code == 0 and Study.load(out).points[0].peers == (str(world.model("gpt_neox", seed=1)),)


def test_equal_inputs_give_equal_bytes(world, first: Path, tmp_path: Path):
    out = tmp_path / "again.json"
    assert measured(world, out, [group(world, "one", 0)]).exit_code == 0
    assert Study.load(out).fingerprint == Study.load(first).fingerprint
    assert out.read_text().splitlines()[3:] == first.read_text().splitlines()[3:]
