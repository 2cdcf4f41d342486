"""A study survives its file, orders its sizes, and refuses counts that cannot be."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from curator.errors import ArtifactError, ArtifactNotFoundError
from curator.scaling.points import NullCounts, Study, StudyPoint, mean_neurons


def point(label: str, neurons: int, paper: int, **more) -> StudyPoint:
    return StudyPoint(
        label=label, anchor="a", peers=("b", "c"), neurons_anchor=neurons, neurons_mean=neurons, paper=paper, **more
    )


def study() -> Study:
    large = point("128x4", 2048, 300, strict=120, universal=40, decoy_derangement=NullCounts(paper=9, strict=0))
    return Study(
        points=(large, point("32x2", 256, 60)), probe_fingerprint="f" * 64, seeds={"probe": 7}, created="2026-11-01"
    )


def test_a_study_survives_its_file(tmp_path: Path):
    fingerprint = study().save(tmp_path / "study.json")
    loaded = Study.load(tmp_path / "study.json")
    assert loaded == study() and loaded.fingerprint == fingerprint


def test_points_are_in_order_of_size():
    assert [p.label for p in study().points] == ["32x2", "128x4"]


def test_the_date_is_not_part_of_the_fingerprint_and_a_count_is():
    same = Study(**{**dict(study()), "created": "another day"})
    assert same.fingerprint == study().fingerprint
    assert study().with_point(point("32x2", 256, 61)).fingerprint != study().fingerprint


def test_a_new_size_touches_only_itself():
    grown = study().with_point(point("64x2", 512, 100), created="later")
    assert [p.label for p in grown.points] == ["32x2", "64x2", "128x4"]
    assert (grown.points[0], grown.points[2]) == study().points and grown.created == "later"


def test_a_changed_file_is_refused(tmp_path: Path):
    path = tmp_path / "study.json"
    study().save(path)
    content = json.loads(path.read_text())
    content["study"]["points"][0]["paper"] = 59
    path.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match="fingerprint"):
        Study.load(path)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"schema": "curator.study/1", "study": {}}',
        '{"schema": "curator.study/9"}',
        '{"schema": "curator.study/2", "study": {}}',
    ],
)
def test_what_is_not_a_study_is_refused(tmp_path: Path, content: str):
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(ArtifactError, match="study"):
        Study.load(tmp_path / "study.json")


def test_a_missing_study_is_named(tmp_path: Path):
    with pytest.raises(ArtifactNotFoundError):
        Study.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    "wrong", [{"paper": 257}, {"paper": 5, "strict": 6}, {"paper": 5, "mean_correlation": float("nan")}]
)
def test_counts_that_cannot_be_are_refused(wrong: dict):
    with pytest.raises(ValidationError):
        point("32x2", 256, **wrong)


def test_two_points_of_one_label_are_refused():
    with pytest.raises(ValidationError, match="same label"):
        Study(points=(point("x", 256, 1), point("x", 512, 2)), probe_fingerprint="f")


def test_the_mean_is_arithmetic():
    assert mean_neurons([100, 200, 600]) == 300
