"""The output opens with the Hugging Face ``datasets`` library, whole and as a stream."""

import json

import datasets
import pytest

from curator.filtering.output import OutputOptions
from curator.filtering.policy import Policy
from tests.filtering.filtering_pool import run, write_pool

OWN = {
    "curator_target", "curator_score", "curator_probability", "curator_tokens", "curator_neurons", "curator_reason",
    "curator_detail",
}  # fmt: skip


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_pool(tmp_path_factory.mktemp("pool") / "pool.jsonl")


@pytest.mark.parametrize("formats", [("jsonl",), ("parquet",), ("arrow",), ("parquet", "arrow", "jsonl")])
def test_load_dataset_opens_the_kept_shards_as_train(pool, tmp_path, formats):
    out = tmp_path / "out"
    report = run(pool, out, Policy(keep_fraction=0.5), options=OutputOptions(formats=formats, target_shard_bytes=1_500))
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    train = loaded["train"]
    assert len(train) == report.documents_kept > 0
    metadata = {"year", "tags"} if formats[0] == "jsonl" else {"metadata"}
    assert set(train.column_names) == {"id", "text", "domain", "source"} | OWN | metadata
    first = train[0]
    number = int(first["id"][1:])
    assert first["text"].startswith(f"Text of document {number}: naïve café, 数.")
    if formats[0] == "jsonl":
        first["metadata"] = json.dumps({name: first[name] for name in ("year", "tags")})
    assert json.loads(first["metadata"]) == {"year": 1900 + number, "tags": ["a", "b"]}
    assert first["curator_neurons"] == ["L1/U0", "L0/U3"]


def test_load_from_disk_opens_the_arrow_folder(pool, tmp_path):
    out = tmp_path / "out"
    options = OutputOptions(formats=("jsonl", "arrow"), target_shard_bytes=1_500, write_rejected=True)
    report = run(pool, out, Policy(keep_fraction=0.5), options=options)
    kept, rejected = (datasets.load_from_disk(str(out / kind)) for kind in ("kept", "rejected"))
    assert (len(kept), len(rejected)) == (report.documents_kept, report.documents_rejected)
    assert kept["id"][:] == datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))["id"][:]
    assert len(kept.filter(lambda row: row["curator_probability"] > 0.5, load_from_cache_file=False)) > 0


def test_an_arrow_output_is_a_source_again(pool, tmp_path):
    options = OutputOptions(formats=("arrow",), target_shard_bytes=1_500)
    report = run(pool, tmp_path / "first", Policy(keep_fraction=0.5), options=options)
    again = run([str(tmp_path / "first/kept")], tmp_path / "second", Policy(threshold=0.0))
    assert again.documents_kept == again.documents_in == report.documents_kept


def test_rejected_shards_are_a_configuration_and_the_second_format_opens_by_its_files(pool, tmp_path):
    out = tmp_path / "out"
    options = OutputOptions(formats=("jsonl", "parquet"), write_rejected=True)
    report = run(pool, out, Policy(threshold=0.5), options=options)
    cache = str(tmp_path / "cache")
    rejected = datasets.load_dataset(str(out), "rejected", split="train", cache_dir=cache)
    assert len(rejected) == report.documents_rejected
    assert set(rejected["curator_reason"]) == {"below_threshold", "no_spans"}
    kept = datasets.load_dataset("parquet", data_files=str(out / "kept/*.parquet"), split="train", cache_dir=cache)
    assert len(kept) == report.documents_kept


@pytest.mark.parametrize("shard_format", ["jsonl", "parquet", "arrow"])
def test_the_output_streams(pool, tmp_path, shard_format):
    out = tmp_path / "out"
    options = OutputOptions(formats=(shard_format,), target_shard_bytes=1_500)
    report = run(pool, out, Policy(threshold=0.5), options=options)
    stream = datasets.load_dataset(str(out), split="train", streaming=True)
    assert sum(1 for _ in stream) == report.documents_kept
