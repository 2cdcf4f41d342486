"""The output opens with the Hugging Face ``datasets`` library, whole and as a stream."""

import json

import datasets
import pytest

from curator.filtering.job import filter_stream
from curator.filtering.output import OutputOptions
from curator.filtering.policy import Policy
from tests.filtering.filtering_pool import small_pool

OWN = {"curator_score", "curator_probability", "curator_tokens", "curator_neurons", "curator_reason", "curator_detail"}


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.mark.parametrize("formats", [("jsonl",), ("parquet",), ("parquet", "jsonl")])
def test_load_dataset_opens_the_kept_shards_as_train(tmp_path, formats):
    out = tmp_path / "out"
    report = filter_stream(
        small_pool(), Policy(keep_fraction=0.5), out, options=OutputOptions(formats=formats, target_shard_bytes=3_000)
    )
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    train = loaded["train"]
    assert len(train) == report.documents_kept > 0
    own = {"id", "text", "domain", "source"} | OWN
    metadata = {"metadata"} if formats[0] == "parquet" else {"year", "tags"}
    assert set(train.column_names) == own | metadata
    first = train[0]
    number = int(first["id"][1:])
    assert first["text"] == f"Text of document {number}: naïve café, 数."
    read = (
        json.loads(first["metadata"]) if formats[0] == "parquet" else {name: first[name] for name in ("year", "tags")}
    )
    assert read == {"year": 1900 + number, "tags": ["a", "b"]}
    assert first["curator_neurons"] == [f"L1/U{number}", "L0/U3"]


def test_rejected_shards_are_a_configuration_and_the_second_format_opens_by_its_files(tmp_path):
    out = tmp_path / "out"
    report = filter_stream(
        small_pool(), Policy(threshold=0.5), out, options=OutputOptions(formats=("jsonl", "parquet"))
    )
    cache = str(tmp_path / "cache")
    rejected = datasets.load_dataset(str(out), "rejected", split="train", cache_dir=cache)
    assert len(rejected) == report.documents_rejected
    assert set(rejected["curator_reason"]) == {"below_threshold", "no_spans"}
    kept = datasets.load_dataset("parquet", data_files=str(out / "kept/*.parquet"), split="train", cache_dir=cache)
    assert len(kept) == report.documents_kept


@pytest.mark.parametrize("shard_format", ["jsonl", "parquet"])
def test_the_output_streams(tmp_path, shard_format):
    out = tmp_path / "out"
    options = OutputOptions(formats=(shard_format,), target_shard_bytes=3_000)
    report = filter_stream(small_pool(), Policy(threshold=0.5), out, options=options)
    stream = datasets.load_dataset(str(out), split="train", streaming=True)
    assert sum(1 for _ in stream) == report.documents_kept
