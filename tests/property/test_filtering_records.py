import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from curator.filtering.output import OutputOptions, verify_output
from curator.filtering.policy import Policy
from curator.filtering.rows import metadata_of
from curator.filtering.shards import read_shard
from curator.filtering.tally import HISTOGRAM_BINS, FilterReport, TargetReport
from tests.filtering.filtering_pool import line, run, write_pool

QUICK = settings(deadline=None, max_examples=50)
SLOW = settings(deadline=None, max_examples=10)
RESERVED = {"id", "text", "domain", "source"}
names = st.sampled_from(["curator_score", "curator_metadata", "title"]) | st.text(max_size=8)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
metadata = st.dictionaries(names.filter(lambda name: name not in RESERVED), values, max_size=6)
pools = st.lists(st.tuples(metadata, st.floats(0, 1), st.integers(0, 9)), min_size=1, max_size=8)
policies = st.sampled_from([Policy(threshold=0.5), Policy(keep_fraction=0.5), Policy(token_budget=12)])


@SLOW
@given(pools, policies, st.integers(200, 2_000))
def test_text_and_metadata_leave_as_they_came_in(pool, policy, piece_bytes):
    lines = [line(number, p, tokens=tokens, **fields) for number, (fields, p, tokens) in enumerate(pool)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        options = OutputOptions(formats=("jsonl", "parquet", "arrow"), target_shard_bytes=300, write_rejected=True)
        source = write_pool(Path(folder) / "pool.jsonl", lines)
        report = run(source, out, policy, options=options, piece_bytes=piece_bytes)
        assert verify_output(out) == report
        found = {
            suffix: {record["id"]: record for path in out.glob(f"rejected/*{suffix}") for record in read_shard(path)}
            | {record["id"]: record for path in out.glob(f"kept/*{suffix}") for record in read_shard(path)}
            for suffix in (".jsonl.zst", ".parquet", ".arrow")
        }
    given_rows = {record["id"]: record for record in map(json.loads, lines)}
    for suffix, records in found.items():
        assert records.keys() == given_rows.keys()
        for name, record in records.items():
            wanted = given_rows[name]
            assert {field: record[field] for field in RESERVED} == {field: wanted[field] for field in RESERVED}
            fields = metadata_of(record) if suffix == ".jsonl.zst" else json.loads(record["metadata"])
            assert fields == {field: value for field, value in wanted.items() if field not in RESERVED}


@SLOW
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9)), min_size=1, max_size=30), policies, st.integers(200, 3_000)
)
def test_pieces_and_their_sizes_change_neither_decisions_nor_shards(pool, policy, piece_bytes):
    lines = [line(number, p, tokens=tokens) for number, (p, tokens) in enumerate(pool)]
    with tempfile.TemporaryDirectory() as folder:
        source, options = write_pool(Path(folder) / "pool.jsonl", lines), OutputOptions(target_shard_bytes=700)
        written = []
        for name, size in (("whole", 1 << 20), ("cut", piece_bytes)):
            out = Path(folder) / name
            report = run(source, out, policy, options=options, piece_bytes=size)
            shards = {path.name: path.read_bytes() for path in out.glob("kept/*")}
            written.append((report, shards, (out / "decisions.parquet").read_bytes()))
    assert written[0] == written[1]


counts = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 9), max_size=3)
bins = st.lists(st.integers(0, 9), min_size=HISTOGRAM_BINS, max_size=HISTOGRAM_BINS).map(tuple)
small = st.integers(0, 99)
targets = st.dictionaries(
    st.sampled_from(["law", "code"]),
    st.builds(TargetReport, small, small, bins, bins, st.none() | st.floats(0, 1, allow_nan=False)),
)
reports = st.builds(FilterReport, small, small, small, small, small, small, counts, counts, targets)


@QUICK
@given(reports, reports, reports)
def test_reports_merge_in_any_grouping_and_order(one, two, three):
    assert (one + two) + three == one + (two + three)
    assert one + two == two + one
    assert one + FilterReport() == one


@QUICK
@given(reports)
def test_a_report_survives_its_manifest(report):
    assert FilterReport.from_json(json.loads(json.dumps(report.to_json()))) == report


@SLOW
@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.integers(1, 29))
def test_reports_of_the_parts_of_a_corpus_add_up_to_the_report_of_the_whole(probabilities, cut):
    lines = [line(number, p, tokens=3) for number, p in enumerate(probabilities)]
    cut = min(cut, len(lines) - 1)  # an empty part is an error
    with tempfile.TemporaryDirectory() as folder:
        whole, head, tail = (
            run(write_pool(Path(folder) / f"{name}.jsonl", part), Path(folder) / name, Policy(threshold=0.5))
            for name, part in (("whole", lines), ("head", lines[:cut]), ("tail", lines[cut:]))
        )
    assert head + tail == whole
