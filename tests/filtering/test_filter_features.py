"""Jobs with windows, near duplicates, contamination and soft cuts: what the policy decides is what is written."""

import json

import pyarrow.parquet as pq
import pytest

from curator.errors import ConfigError
from curator.filtering.dataset import reselect
from curator.filtering.decontamination import Decontaminator
from curator.filtering.duplicates import MinHashAnnotator
from curator.filtering.output import OutputOptions, verify_output
from curator.filtering.policy import Policy
from curator.filtering.shards import read_shard
from tests.filtering.filtering_pool import line, run, write_pool

REJECTED = OutputOptions(write_rejected=True)
PASSAGE = "the court held that this contract was valid and the appeal of the tenant was dismissed with costs"
WORDS = PASSAGE.split()


def records(out, kind="kept"):
    return [record for path in sorted((out / kind).glob("*.jsonl.zst")) for record in read_shard(path)]


def long_line(number, *probabilities):
    parts = [
        f"Part {part} of {number} says p={p} t=10 and then goes on. " + "word " * 20
        for part, p in enumerate(probabilities)
    ]
    return json.dumps({"id": f"d{number}", "text": "\n\n".join(parts), "year": number})


@pytest.fixture
def windowed(tmp_path):
    return write_pool(tmp_path / "pool.jsonl", [long_line(0, 0.9, 0.1, 0.8), long_line(1, 0.2, 0.3, 0.1), line(2, 0.7)])


@pytest.mark.parametrize(("rule", "probability"), [("document_mean", 0.6), ("document_max", 0.9)])
def test_a_document_in_windows_is_decided_and_written_whole(windowed, tmp_path, rule, probability):
    policy = Policy(threshold=0.55, windows=rule)
    report = run(windowed, tmp_path / "out", policy, window_characters=150, options=REJECTED)
    kept, rejected = records(tmp_path / "out"), records(tmp_path / "out", "rejected")
    assert [record["id"] for record in kept] == ["d0", "d2"] and [record["id"] for record in rejected] == ["d1"]
    original = json.loads(windowed.read_text().splitlines()[0])
    assert (kept[0]["text"], kept[0]["year"]) == (original["text"], 0)
    assert (kept[0]["curator_probability"], kept[0]["curator_tokens"]) == (pytest.approx(probability), 30)
    assert (report.documents_in, report.rows_in, report.tokens_in, report.tokens_kept) == (3, 3, 70, 40)
    assert verify_output(tmp_path / "out") == report
    scores = pq.read_table(tmp_path / "out/scores/scores-00000.parquet").to_pylist()
    assert [(row["document_id"], row["window"]) for row in scores][:4] == [("d0", 0), ("d0", 1), ("d0", 2), ("d1", 0)]
    assert scores[-1]["window"] == -1


def test_windows_can_be_kept_each_for_itself(windowed, tmp_path):
    report = run(
        windowed, tmp_path / "out", Policy(threshold=0.5, windows="window"), window_characters=150, options=REJECTED
    )
    kept = records(tmp_path / "out")
    assert [record["id"] for record in kept] == ["d0#w0", "d0#w2", "d2"]
    assert "p=0.9" in kept[0]["text"] and "p=0.1" not in kept[0]["text"] and kept[1]["year"] == 0
    assert (report.documents_in, report.documents_kept, report.rows_in, report.rows_kept) == (3, 2, 7, 3)
    decisions = pq.read_table(tmp_path / "out/decisions.parquet").to_pylist()
    assert [(row["document_id"], row["window"], row["kept"]) for row in decisions][:2] == [
        ("d0", 0, True),
        ("d0", 1, False),
    ]
    again = reselect(tmp_path / "out", tmp_path / "again", Policy(threshold=0.55))
    assert again.documents_kept == 2 and verify_output(tmp_path / "again") == again


def test_copies_and_near_copies_are_dropped_before_the_limit(tmp_path):
    text = " ".join(WORDS * 6)
    texts = [f"{text} p=0.6 t=5", f"{text} p=0.6 t=5", f"{text} p=0.9 t=5", "else p=0.8 t=5"]
    lines = [json.dumps({"id": f"d{number}", "text": text}) for number, text in enumerate(texts)]
    pool = write_pool(tmp_path / "pool.jsonl", lines)
    exact = Policy(threshold=0.5, drop_duplicates=True)
    report = run(pool, tmp_path / "exact", exact, options=REJECTED)
    assert [record["id"] for record in records(tmp_path / "exact")] == ["d0", "d2", "d3"]
    assert report.rejected == {"duplicate": 1}
    near = Policy(threshold=0.5, near_duplicates=0.7)
    run(pool, tmp_path / "near", near, options=REJECTED, annotators=[MinHashAnnotator()])
    assert [record["id"] for record in records(tmp_path / "near")] == ["d2", "d3"]
    with pytest.raises(ConfigError, match="MinHash"):
        reselect(tmp_path / "exact", tmp_path / "no", near)
    assert reselect(tmp_path / "near", tmp_path / "both", exact).rejected == {"duplicate": 1}


def test_what_shares_text_with_an_evaluation_file_is_dropped_and_named(tmp_path):
    passage = " ".join(f"{word}{number}" for number, word in enumerate(WORDS))
    (tmp_path / "exam.jsonl").write_text(json.dumps({"text": passage}) + "\n")
    lines = [json.dumps({"id": "leaked", "text": f"{passage} p=0.9 t=5"}), line(1, 0.9)]
    pool = write_pool(tmp_path / "pool.jsonl", lines)
    annotators = [Decontaminator([str(tmp_path / "exam.jsonl")])]
    report = run(pool, tmp_path / "out", Policy(threshold=0.5), options=REJECTED, annotators=annotators)
    assert report.rejected == {"contaminated": 1}
    assert [record["id"] for record in records(tmp_path / "out")] == ["d1"]
    scores = pq.read_table(tmp_path / "out/scores/scores-00000.parquet")
    assert scores["contaminated"].to_pylist() == ["exam.jsonl", ""]
    kept = reselect(tmp_path / "out", tmp_path / "all", Policy(threshold=0.5, drop_contaminated=False))
    assert kept.documents_kept == 2


def test_a_soft_cut_draws_the_same_documents_however_the_input_is_cut(tmp_path):
    pool = write_pool(tmp_path / "pool.jsonl", [line(number, 0.5) for number in range(60)])
    policy = Policy(threshold=0.5, soft_width=0.2, seed=3)
    found = []
    for name, piece_bytes in (("a", 600), ("b", 1 << 20)):
        run(pool, tmp_path / name, policy, piece_bytes=piece_bytes)
        found.append([record["id"] for record in records(tmp_path / name)])
    assert found[0] == found[1] and 15 < len(found[0]) < 45
