import datetime as dt
import io
import json
import math

import numpy as np
import pytest
import zstandard

from curator.errors import ArtifactError
from curator.filtering.rows import Row, from_spill, metadata_of, to_line, to_record, to_spill
from curator.filtering.shards import ShardWriter, read_shard, write_jsonl
from curator.records import Decision, Document, RejectReason
from tests.filtering.filtering_pool import scored_document


def row(number, *, kept=True, **metadata):
    document, score = scored_document(number, 0.75, **metadata)
    return Row(Decision(document, score, kept, None if kept else RejectReason.BELOW_THRESHOLD))


def test_a_record_holds_the_document_its_metadata_and_our_columns():
    record = to_record(row(1, year=1999))
    assert record == {
        "id": "d1", "text": "Text of document 1: naïve café, 数.", "domain": "law", "source": "book-1", "year": 1999,
        "curator_score": 2.5, "curator_probability": 0.75, "curator_tokens": 10, "curator_neurons": ["L1/U1", "L0/U3"],
        "curator_reason": "", "curator_detail": "",
    }  # fmt: skip


def test_a_metadata_field_with_a_taken_name_moves_aside_and_is_found_again():
    metadata = {"id": 7, "text": None, "curator_score": 0.1, "curator_metadata": {"deep": 1}, "free": True}
    document = Document("d", "body", metadata=metadata)
    record = to_record(Row(Decision(document, None, kept=False, reason=RejectReason.NO_SPANS), "why"))
    assert (record["id"], record["text"], record["curator_score"], record["free"]) == ("d", "body", None, True)
    assert (record["curator_reason"], record["curator_detail"]) == ("no_spans", "why")
    assert metadata_of(json.loads(to_line(record))) == metadata


def test_what_json_cannot_hold_becomes_text_or_null():
    value = {
        "when": dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        "raw": b"\x00\xff",
        "nan": math.nan,
        "half": "\ud800",
        "array": np.array([1.5, math.inf]),
        "scalar": np.int64(3),
        "other": 1j,
        "set": {1},
    }
    line = to_line(value)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert json.loads(line) == {
        "when": "2026-01-02T00:00:00+00:00",
        "raw": "AP8=",
        "nan": None,
        "half": "\ud800",
        "array": [1.5, None],
        "scalar": 3,
        "other": "1j",
        "set": [1],
    }


def test_a_spilled_row_comes_back_with_its_score_and_its_failure():
    scored = row(2, kept=False, year=1)
    assert from_spill(to_spill(scored)) == scored
    failed = Row(Decision(Document("x", "y"), None, kept=False, reason=RejectReason.NO_SPANS), "only spaces")
    back = from_spill(to_spill(failed))
    assert back.decision.score is None
    assert (back.decision.reason, back.detail) == (RejectReason.NO_SPANS, "only spaces")


@pytest.mark.parametrize("shard_format", ["jsonl", "parquet"])
def test_a_shard_closes_before_the_row_that_would_not_fit(tmp_path, shard_format):
    sizes = [len(to_line(to_record(row(number)))) for number in range(10)]
    with ShardWriter(tmp_path, "kept", (shard_format,), target_bytes=3 * max(sizes)) as writer:
        for number in range(10):
            writer.write(row(number))
    assert [shard.documents for shard in writer.shards] == [3, 3, 3, 1]
    assert [shard.tokens for shard in writer.shards] == [30, 30, 30, 10]
    suffix = {"jsonl": "jsonl.zst", "parquet": "parquet"}[shard_format]
    assert [shard.name for shard in writer.shards] == [f"kept/kept-{number:05d}.{suffix}" for number in range(4)]
    read = [record["id"] for shard in writer.shards for record in read_shard(tmp_path / shard.name)]
    assert read == [f"d{number}" for number in range(10)]


def test_a_row_larger_than_the_target_gets_a_shard_of_its_own(tmp_path):
    with ShardWriter(tmp_path, "kept", target_bytes=1) as writer:
        writer.write(row(0))
        writer.write(row(1))
    assert [shard.documents for shard in writer.shards] == [1, 1]


def test_both_formats_share_their_boundaries_and_their_columns(tmp_path):
    with ShardWriter(tmp_path, "rejected", ("jsonl", "parquet"), target_bytes=1_000) as writer:
        for number in range(12):
            writer.write(row(number, kept=False, year=number))
    lines = [shard for shard in writer.shards if shard.name.endswith(".zst")]
    tables = [shard for shard in writer.shards if shard.name.endswith(".parquet")]
    assert [shard.documents for shard in lines] == [shard.documents for shard in tables]
    from_lines = [record for shard in lines for record in read_shard(tmp_path / shard.name)]
    from_tables = [record for shard in tables for record in read_shard(tmp_path / shard.name)]
    for line, table in zip(from_lines, from_tables, strict=True):
        assert json.loads(table.pop("metadata")) == {"year": line.pop("year")}
        assert line == table


def test_a_jsonl_shard_states_its_size_and_carries_a_checksum():
    buffer = io.BytesIO()
    write_jsonl(buffer, [b'{"a":1}\n', b'{"a":2}\n'])
    parameters = zstandard.get_frame_parameters(buffer.getvalue())
    assert (parameters.content_size, parameters.has_checksum) == (16, True)
    assert zstandard.ZstdDecompressor().decompress(buffer.getvalue()) == b'{"a":1}\n{"a":2}\n'


def test_an_error_writes_no_further_shard(tmp_path):
    with pytest.raises(RuntimeError), ShardWriter(tmp_path, "kept") as writer:
        writer.write(row(0))
        raise RuntimeError
    assert writer.shards == []
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("shard_format", ["jsonl", "parquet"])
def test_a_damaged_shard_is_an_artifact_error(tmp_path, shard_format):
    with ShardWriter(tmp_path, "kept", (shard_format,)) as writer:
        writer.write(row(0))
    path = tmp_path / writer.shards[0].name
    path.write_bytes(b"broken" + path.read_bytes()[6:-6] + b"broken")
    with pytest.raises(ArtifactError, match="damaged"):
        list(read_shard(path))
