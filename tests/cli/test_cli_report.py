"""``curator report``: a study's page, a report written again, and what is refused."""

import json
from pathlib import Path

import pytest

from curator.report.inputs import ModelRef, ReportInputs
from curator.report.page import write_report
from curator.zoo.catalog import WEIGHTS
from tests.cli.cli_world import curator

STUDY = WEIGHTS / "study.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs = ReportInputs(title="A set", target_domain="law", model=ModelRef(name="anchor"))
    return write_report(inputs, tmp_path_factory.mktemp("report")).json


def test_a_report_is_written_again_with_the_same_bytes(written: Path, tmp_path: Path):
    result = curator("report", written, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert f"report     {tmp_path / 'report.html'}" in result.stdout
    for name in ("report.html", "report.json", "report.md"):
        assert (tmp_path / name).read_bytes() == (written.parent / name).read_bytes()


def test_a_study_has_a_page_of_its_own_and_can_be_added_to_a_set(written: Path, tmp_path: Path):
    assert curator("report", STUDY, "--out", tmp_path / "study").exit_code == 0
    assert curator("report", written, "--study", STUDY, "--out", tmp_path / "both").exit_code == 0
    for name, title in (("study", "Scaling of Rosetta neurons"), ("both", "A set")):
        report = json.loads((tmp_path / name / "report.json").read_text())
        assert report["inputs"]["title"] == title
        assert {"study-growth", "study-controls"} <= set(report["sections"])
        assert (tmp_path / name / "figures" / "study-growth.svg").is_file()


def test_what_is_no_report_is_refused_with_a_sentence(written: Path, tmp_path: Path):
    old = tmp_path / "old.json"
    old.write_text(json.dumps({**json.loads(written.read_text()), "schema": "curator.report/1"}))
    result = curator("report", old, "--out", tmp_path / "out")
    assert result.exit_code != 0 and "write the report again" in result.stderr
    other = tmp_path / "other.json"
    other.write_text("{}")
    refused = curator("report", other, "--out", tmp_path / "out")
    assert refused.exit_code != 0 and "is not a curator.study/2 file" in refused.stderr
    assert not (tmp_path / "out").exists()
