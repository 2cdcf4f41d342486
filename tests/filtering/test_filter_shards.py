import datetime as dt
import io
import json
import math

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.errors import ArtifactError
from curator.filtering.columns import FIXED
from curator.filtering.packing import Packer
from curator.filtering.rows import Row, metadata_of, to_line, to_record, user_record
from curator.filtering.shards import ROWS_AT_A_TIME, SUFFIXES, open_shard, read_shard
from curator.records import Document, Score

FORMATS = list(SUFFIXES)


def row(number, *, kept=True, targets=("law",), **metadata):
    document = Document(f"d{number}", f"Text {number}: naïve café, 数.", "law", f"book-{number}", metadata)
    scores = {target: Score(f"d{number}", 2.5, 0.75 - 0.1 * i, 10, ("L1/U1",)) for i, target in enumerate(targets)}
    return Row(document, scores, targets[0], "") if kept else Row(document, scores, "", "below_threshold")


def write(handle, rows, kind, targets):
    with open_shard(handle, kind, targets, FIXED) as add:
        for start in range(0, len(rows), ROWS_AT_A_TIME):
            add(rows[start : start + ROWS_AT_A_TIME])


def written(path, rows, kind, targets=("law",)):
    path = path / f"shard{SUFFIXES[kind]}"
    with path.open("wb") as handle:
        write(handle, rows, kind, targets)
    return path


def test_a_record_holds_the_document_its_metadata_and_our_columns():
    assert to_record(row(1, year=1999)) == {
        "id": "d1", "text": "Text 1: naïve café, 数.", "domain": "law", "source": "book-1", "year": 1999,
        "curator_target": "law", "curator_score": 2.5, "curator_probability": 0.75, "curator_tokens": 10,
        "curator_neurons": ["L1/U1"], "curator_reason": "", "curator_detail": "",
    }  # fmt: skip


def test_a_row_that_was_not_kept_shows_the_score_of_its_most_probable_target():
    record = to_record(row(1, kept=False, targets=("a", "b")))
    assert (record["curator_target"], record["curator_probability"]) == ("", 0.75)
    assert record["curator_probabilities"] == {"a": 0.75, "b": 0.65}


def test_a_metadata_field_with_a_taken_name_moves_aside_and_is_found_again():
    metadata = {"id": 7, "text": None, "curator_score": 0.1, "curator_metadata": {"deep": 1}, "free": True}
    document = Document("d", "body", metadata=metadata)
    record = to_record(Row(document, {}, "", "no_spans", "why"))
    assert (record["id"], record["text"], record["curator_score"], record["free"]) == ("d", "body", None, True)
    assert (record["curator_reason"], record["curator_detail"]) == ("no_spans", "why")
    assert metadata_of(json.loads(to_line(record))) == metadata_of(user_record(document)) == metadata


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


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("targets", [("law",), ("law", "code")])
def test_all_formats_hold_the_same_rows(tmp_path, kind, targets):
    rows = [
        row(number, kept=bool(number % 3), targets=targets, year=number, deep={"a": [1, None]}) for number in range(12)
    ]
    found = list(read_shard(written(tmp_path, rows, kind, targets)))
    for record, one in zip(found, rows, strict=True):
        if kind != "jsonl":
            record.update(json.loads(record.pop("metadata")))
        assert record == to_record(one)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_shard_is_the_same_bytes_every_time(tmp_path, kind):
    rows = [row(number, year=number) for number in range(2_300)]  # more than two row groups
    first = written(tmp_path, rows, kind).read_bytes()
    assert written(tmp_path, rows, kind).read_bytes() == first


def test_a_jsonl_shard_states_its_size_and_carries_a_checksum():
    buffer, rows = io.BytesIO(), [row(1), row(2)]
    write(buffer, rows, "jsonl", ("law",))
    lines = b"".join(to_line(to_record(one)) for one in rows)
    parameters = zstandard.get_frame_parameters(buffer.getvalue())
    assert (parameters.content_size, parameters.has_checksum) == (len(lines), True)
    assert zstandard.ZstdDecompressor().decompress(buffer.getvalue()) == lines


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_shard_is_an_artifact_error(tmp_path, kind):
    path = written(tmp_path, [row(0)], kind)
    path.write_bytes(b"broken" + path.read_bytes()[6:-6] + b"broken")
    with pytest.raises(ArtifactError, match="damaged"):
        list(read_shard(path))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=60), st.integers(1, 60), st.integers(1, 7))
def test_packing_fills_each_shard_as_far_as_the_next_row_allows_in_whatever_parts_rows_come(rows, target, parts):
    packer, numbers = Packer("kept", target, base=100), np.full(len(rows), -1, np.int32)
    for part in np.array_split(np.arange(len(rows)), parts):
        chosen = np.array([rows[row][1] for row in part], bool)
        given_sizes = np.array([rows[row][0] for row in part], np.int64)
        found = np.full(part.size, -1, np.int32)
        packer.add(chosen, given_sizes, found, int(part[0]) if part.size else 0)
        numbers[part] = found
    packer.finish()
    places = [row for row, (_, chosen) in enumerate(rows) if chosen]
    sizes = [rows[row][0] for row in places]
    ends = np.cumsum([shard.rows for shard in packer.shards]).tolist()
    assert (ends[-1] if ends else 0) == len(sizes)
    starts = [0, *ends[:-1]]
    for number, (start, end) in enumerate(zip(starts, ends, strict=False)):
        shard = packer.shards[number]
        assert (shard.number, shard.first_row, shard.end_row) == (number, places[start], places[end - 1] + 1)
        assert numbers[places[start:end]].tolist() == [100 + number] * (end - start)
    assert (numbers >= 0).sum() == len(sizes)
    assert all(start < end for start, end in zip(starts, ends, strict=False))
    for start, end in zip(starts, ends, strict=False):
        total = sum(sizes[start:end])
        assert total <= target or end == start + 1
        assert end == len(sizes) or total + sizes[end] > target
