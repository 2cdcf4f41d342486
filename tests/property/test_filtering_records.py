import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from curator.filtering.job import filter_stream
from curator.filtering.output import OutputOptions, verify_output
from curator.filtering.policy import Policy
from curator.filtering.rows import metadata_of
from curator.filtering.shards import read_shard
from curator.filtering.tally import HISTOGRAM_BINS, FilterReport
from curator.records import Document, Score

QUICK = settings(deadline=None, max_examples=50)
names = st.sampled_from(["id", "text", "domain", "source", "curator_score", "curator_metadata", "title"]) | st.text(
    max_size=8
)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
metadata = st.dictionaries(names, values, max_size=6)
pools = st.lists(st.tuples(st.text(max_size=30), metadata, st.floats(0, 1), st.integers(0, 9)), max_size=8)
policies = st.sampled_from([Policy(threshold=0.5), Policy(keep_fraction=0.5), Policy(token_budget=12)])


@settings(deadline=None, max_examples=15)
@given(pools, policies)
def test_text_and_metadata_leave_as_they_came_in(pool, policy):
    scored = [
        (Document(f"d{number}", text, metadata=fields), Score(f"d{number}", probability, probability, tokens))
        for number, (text, fields, probability, tokens) in enumerate(pool)
    ]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        options = OutputOptions(formats=("jsonl", "parquet"), target_shard_bytes=300)
        report = filter_stream(scored, policy, out, options=options)
        assert verify_output(out) == report
        lines = {record["id"]: record for path in out.glob("*/*.zst") for record in read_shard(path)}
        tables = {record["id"]: record for path in out.glob("*/*.parquet") for record in read_shard(path)}
    assert lines.keys() == tables.keys() == {document.id for document, _ in scored}
    for document, score in scored:
        line, table = lines[document.id], tables[document.id]
        assert line["text"] == table["text"] == document.text
        assert metadata_of(line) == json.loads(table["metadata"]) == document.metadata
        assert line["curator_probability"] == table["curator_probability"] == score.probability


counts = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 9), max_size=3)
bins = st.lists(st.integers(0, 9), min_size=HISTOGRAM_BINS, max_size=HISTOGRAM_BINS).map(tuple)
small = st.integers(0, 99)
reports = st.builds(
    FilterReport, small, small, small, small, counts, counts, bins, bins, st.none() | st.floats(0, 1, allow_nan=False)
)


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


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0, 1), max_size=30), st.integers(0, 30))
def test_reports_of_the_parts_of_a_corpus_add_up_to_the_report_of_the_whole(probabilities, cut):
    scored = [(Document(f"d{i}", "text"), Score(f"d{i}", p, p, 3)) for i, p in enumerate(probabilities)]
    options = OutputOptions(write_scores=False)
    with tempfile.TemporaryDirectory() as folder:
        whole, head, tail = (
            filter_stream(part, Policy(threshold=0.5), Path(folder) / name, options=options)
            for name, part in (("whole", scored), ("head", scored[:cut]), ("tail", scored[cut:]))
        )
    assert head + tail == whole
