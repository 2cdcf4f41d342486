"""The demonstration, on the smallest models and little text: everything is there, adds up, and can be run again."""

import json
from pathlib import Path

import pytest
from datasets import load_dataset

from curator.cli.demo import DemoSettings, run_demo
from curator.errors import ConfigError
from curator.filtering.output import verify_output
from curator.neuronset.artifact import load_neuron_set
from curator.neuronset.identify import Silent

SMALL = DemoSettings(
    size="32x2",
    tokens_per_domain=6_000,
    probe_document_spans=96,
    sketch_dimensions=512,
    held_back_spans=1_024,
    pool_documents=200,
    server_filtered=80,
    harvest_chars=700_000,
    passage_chars=500,
)


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("demo") / "out"
    return out, run_demo(out, SMALL, Silent())


def test_the_pool_is_split_into_kept_and_rejected_without_loss(demonstration):
    out, result = demonstration
    report = verify_output(out / "selected")
    assert report.documents_in == result.pool
    assert report.adds_up


def test_as_many_documents_are_kept_as_there_are_of_the_target(demonstration):
    _, result = demonstration
    found = result.at_oracle_size
    assert found.true_positives + found.false_positives == result.oracle
    assert found.precision == pytest.approx(found.recall)


def test_even_the_smallest_models_beat_chance_by_far(demonstration):
    _, result = demonstration
    assert result.at_oracle_size.precision > 2 * result.oracle / result.pool


def test_the_selected_documents_open_as_a_dataset(demonstration, tmp_path: Path):
    out, result = demonstration
    rows = load_dataset(str(out / "selected"), split="train", cache_dir=str(tmp_path))
    assert len(rows) == result.oracle


def test_the_neuron_set_and_the_report_are_complete(demonstration):
    out, result = demonstration
    manifest = load_neuron_set(out / "neuron-set").manifest
    page = json.loads((out / "report" / "report.json").read_text())
    assert set(manifest.targets) == {"cpp"}
    assert page["inputs"]["filter"]["pool"] == result.pool
    assert result.report.read_text().count("<svg") >= 1


def test_what_the_server_kept_is_what_the_scores_say(demonstration):
    out, result = demonstration
    manifest = json.loads((out / "filtered" / "manifest.json").read_text())
    kept = result.filtered.true_positives + result.filtered.false_positives
    assert manifest["documents_kept"] == kept


def test_an_earlier_demonstration_is_replaced_and_other_folders_are_not(demonstration, tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(ConfigError, match="holds something else"):
        run_demo(tmp_path, SMALL, Silent())
    assert (tmp_path / "thesis.txt").read_text() == "ten years of work"


def test_an_unknown_target_is_refused_before_anything_is_written(tmp_path: Path):
    with pytest.raises(ConfigError, match="knows the targets"):
        run_demo(tmp_path / "out", DemoSettings(target="poetry"), Silent())
    assert not (tmp_path / "out").exists()
