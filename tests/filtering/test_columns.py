"""Parquet and Arrow shards keep the columns of a columnar input, by name and type, and have ours beside them."""

from __future__ import annotations

import datetime as dt
import decimal
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator.filtering.columns import FIXED, _unified
from curator.filtering.evaluation import kept_ids
from curator.filtering.output import OutputOptions, verify_output
from curator.filtering.policy import Policy
from curator.text.rows import SourceOptions
from tests.filtering.filtering_pool import run, write_pool

THRESHOLD = Policy(threshold=0.5)
COLUMNAR = OutputOptions(formats=("parquet", "arrow"), write_rejected=True)
WHEN = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
OWN = [
    "curator_target",
    "curator_score",
    "curator_probability",
    "curator_tokens",
    "curator_neurons",
    "curator_reason",
    "curator_detail",
]


def table(count=6, **more):
    numbers = range(count)
    columns = {
        "doc": pa.array(numbers, pa.int32()),
        "n": pa.array([None, *numbers][:count], pa.int8()),
        "body": pa.array([f"text {i} p={i / count} t=10" for i in numbers], pa.large_string()),
        "text": [f"not the text {i}" for i in numbers],
        "when": pa.array([WHEN] * count, pa.timestamp("us", "UTC")),
        "price": pa.array([decimal.Decimal("1.50")] * count),
        "tags": [["a", None]] * count,
        "deep": [{"x": 1.5, "y": b"\xff"}] * count,
        "kind": pa.array(["u", "v"] * (count // 2)).dictionary_encode(),
        "source": ["", "s"] * (count // 2),
    }
    return pa.table(columns | more)


FIELDS = SourceOptions(text_field="body", id_field="doc")


def written(out, kind="kept", suffix="parquet"):
    (path,) = (out / kind).glob(f"*.{suffix}")
    return pq.read_table(path) if suffix == "parquet" else pa.ipc.open_stream(path).read_all()


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_columnar_input_keeps_its_columns_and_gets_ours(tmp_path, suffix):
    before = table()
    pq.write_table(before, tmp_path / "in.parquet")
    run(tmp_path / "in.parquet", tmp_path / "out", THRESHOLD, options=COLUMNAR, source_options=FIELDS)
    for kind, rows in (("kept", slice(3, 6)), ("rejected", slice(0, 3))):
        found = written(tmp_path / "out", kind, suffix)
        assert found.column_names == [*before.column_names, *OWN]
        wanted = before.to_pylist()[rows]
        assert found.select(before.column_names).to_pylist() == [
            row | {"source": row["source"] or None} for row in wanted
        ]
        assert [found.schema.field(name).type for name in before.column_names] == before.schema.types
    verify_output(tmp_path / "out")
    assert list(kept_ids(tmp_path / "out")) == ["3", "4", "5"]


def test_files_of_several_schemas_are_one_and_what_one_lacks_is_null(tmp_path):
    (tmp_path / "in").mkdir()
    pq.write_table(table().drop_columns(["n"]), tmp_path / "in/a.parquet")
    pq.write_table(table().set_column(1, "n", pa.array(range(6), pa.int64())), tmp_path / "in/b.parquet")
    (tmp_path / "in/c.parquet").write_bytes(b"damaged")
    run([str(tmp_path / "in")], tmp_path / "out", THRESHOLD, options=COLUMNAR, source_options=FIELDS)
    found = written(tmp_path / "out")
    assert found.schema.field("n").type == pa.int64()
    assert found["n"].to_pylist() == [None] * 3 + [3, 4, 5]


def test_an_input_without_ids_gets_them_and_our_old_columns_move_aside(tmp_path):
    before = table(curator_score=[1.5] * 6).drop_columns(["doc"])
    pq.write_table(before, tmp_path / "in.parquet")
    run(tmp_path / "in.parquet", tmp_path / "out", THRESHOLD, options=COLUMNAR, source_options=FIELDS)
    found = written(tmp_path / "out")
    assert found.column_names[0] == "id" and found["id"][0].as_py().startswith("in-")
    assert json.loads(found["curator_metadata"][0].as_py()) == {"curator_score": 1.5}
    assert found["curator_score"][0].as_py() != 1.5
    assert list(kept_ids(tmp_path / "out")) == found["id"].to_pylist()


@pytest.mark.parametrize(
    ("odd", "fixed"),
    [
        ({}, False),
        ({"doc": [1] * 6}, False),
        ({"half": pa.array([None] * 6, pa.float16())}, True),
        ({"span": pa.array([None] * 6, pa.month_day_nano_interval())}, True),
    ],
)
def test_what_does_not_survive_python_falls_back_to_the_fixed_columns(odd, fixed):
    schema = _unified([table(**odd).schema])
    assert (schema is None) == fixed


@pytest.mark.parametrize("mixed", [True, False])
def test_an_input_of_other_formats_has_the_fixed_columns(tmp_path, mixed):
    write_pool(tmp_path / "in/a.jsonl")
    if mixed:
        pq.write_table(table().rename_columns({"text": "other", "body": "text"}), tmp_path / "in/b.parquet")
    run([str(tmp_path / "in")], tmp_path / "out", THRESHOLD, options=COLUMNAR)
    found = written(tmp_path / "out")
    assert found.column_names == ["id", "text", "domain", "source", "metadata", *OWN]
    assert json.loads(found["metadata"][0].as_py())["tags"] == ["a", "b"]


def test_windows_that_are_kept_on_their_own_have_the_fixed_columns(tmp_path):
    pq.write_table(table(), tmp_path / "in.parquet")
    policy = Policy(threshold=0.5, windows="window")
    settings = {"options": COLUMNAR, "source_options": FIELDS, "window_characters": 100}
    run(tmp_path / "in.parquet", tmp_path / "out", policy, **settings)
    assert written(tmp_path / "out").column_names[:5] == [field.name for field in FIXED.fields]
