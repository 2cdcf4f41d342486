"""An interrupted run leaves no output at all, wherever it stops, and the next run is as if nothing had happened."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.errors import ArtifactError
from curator.filtering import job
from curator.filtering.job import filter_stream
from curator.filtering.output import OutputOptions
from curator.filtering.policy import Policy
from tests.filtering.filtering_pool import files_of, small_pool

OPTIONS = OutputOptions(formats=("jsonl", "parquet"), target_shard_bytes=1_000)
policies = st.sampled_from([Policy(threshold=0.3), Policy(keep_fraction=0.4), Policy(token_budget=120)])


def stopping_after(items, count, error):
    for number, item in enumerate(items):
        if number == count:
            raise error
        yield item
    raise error


@settings(deadline=None, max_examples=25)
@given(policies, st.integers(0, 45), st.sampled_from([KeyboardInterrupt, RuntimeError, ArtifactError]))
def test_a_run_that_stops_in_its_stream_leaves_nothing(policy, count, error):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        with pytest.raises(error):
            filter_stream(stopping_after(small_pool(), count, error), policy, out, options=OPTIONS)
        assert list(Path(folder).iterdir()) == []


@pytest.mark.parametrize("policy", [Policy(threshold=0.3), Policy(keep_fraction=0.4)])
@pytest.mark.parametrize("step", ["describe", "dataset_card", "write_json", "ScoreSidecar"])
def test_a_run_that_stops_while_finishing_leaves_nothing_and_can_be_run_again(tmp_path, monkeypatch, policy, step):
    filter_stream(small_pool(), policy, tmp_path / "clean", options=OPTIONS)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(job, step, interrupted)
        filter_stream(small_pool(), policy, tmp_path / "out", options=OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["clean"]
    filter_stream(small_pool(), policy, tmp_path / "out", options=OPTIONS)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "clean")


def test_the_manifest_is_the_last_file_and_the_output_appears_only_with_it(tmp_path, monkeypatch):
    written = []
    real = job.write_json

    def watching(target, value):
        written.append({path.name for path in target.parent.rglob("*") if path.is_file()})
        assert not (tmp_path / "out").exists()
        real(target, value)

    monkeypatch.setattr(job, "write_json", watching)
    filter_stream(small_pool(), Policy(keep_fraction=0.4), tmp_path / "out", options=OPTIONS)
    final = {Path(name).name for name in files_of(tmp_path / "out")}
    assert written == [final - {"manifest.json"}]
