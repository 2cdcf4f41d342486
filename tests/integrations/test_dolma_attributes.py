"""Attribute files as dolma's tools read them: in place, line for line, spans in characters, ids as they stand."""

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.errors import ConfigError, FingerprintError
from curator.filtering.dataset import filter_sources
from curator.filtering.policy import Policy
from curator.integrations.dolma import _ranges, attribute_key, attribute_path, attributes_from_output, tag
from curator.integrations.hf import Scorer
from curator.records import Document
from tests.atlas.core_world import make_corpus
from tests.integrations.letters import Letters, LettersFactory

E_KEY, O_KEY = "letters_v1__curator__letter_e", "letters_v1__curator__letter_o"
ROWS: list[dict[str, Any]] = [
    {"id": "a", "source": "web", "text": "the tree sees the bee", "added": "2024"},
    {"id": 7, "source": "web", "text": "東京 tower, ß 🌲 " + "oo " * 60 + "の木 eel ß " * 20 + "oo " * 40},
    {"id": "none", "source": "web", "text": "unscorable"},
    {"text": "no id, no source, yet text to score"},
    {"id": "blank", "source": "web", "text": "   "},
    {"id": "no text", "source": "web"},
    *({"id": f"n{n}", "source": "books", "text": "oo " * (n % 5) + "eel " * (n % 3 + 1)} for n in range(30)),
]
DOLMA = os.environ.get("CURATOR_TEST_DOLMA") or shutil.which("dolma")


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Two document files as dolma keeps them, the second in a folder of its own and large enough for several pieces."""
    folder = tmp_path / "pool"
    _write(folder / "documents" / "a.jsonl.gz", ROWS[:8])
    _write(folder / "documents" / "2024" / "b.jsonl.gz", ROWS[8:])
    return folder


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


def _filter(pool: Path, **options: Any) -> Path:
    sources = [str(pool / "documents" / "*.jsonl.gz"), str(pool / "documents" / "2024" / "*.jsonl.gz")]
    out = pool.parent / f"out-{len(options)}"
    filter_sources(sources, LettersFactory(), out, Policy(threshold=0.2, target="letter e"), piece_bytes=600, **options)
    return out


def test_a_finished_filter_becomes_files_that_line_up_with_the_documents(pool: Path) -> None:
    written = attributes_from_output(_filter(pool), "letters_v1")
    files = [pool / "attributes/letters_v1/a.jsonl.gz", pool / "attributes/letters_v1/2024/b.jsonl.gz"]
    assert written == files
    rows = [row for path in files for row in _read(path)]
    assert [(row["id"], row.get("source")) for row in rows] == [(row.get("id"), row.get("source")) for row in ROWS]
    for row, document in zip(rows, ROWS, strict=True):
        text = document.get("text", "")
        spans = [[[0, len(text), text.count(letter) / max(1, len(text))]] for letter in "eo"]
        scored = text.strip() and "unscorable" not in text
        assert row["attributes"] == {E_KEY: spans[0] if scored else [], O_KEY: spans[1] if scored else []}


def test_windows_become_spans_in_characters(pool: Path) -> None:
    attributes_from_output(_filter(pool, window_characters=64), "letters_v1")
    row, text = _read(pool / "attributes/letters_v1/a.jsonl.gz")[1], ROWS[1]["text"]
    spans = row["attributes"][O_KEY]
    assert len(spans) > 2
    assert "".join(text[start:end] for start, end, _ in spans) == text
    for start, end, probability in spans:
        assert probability == text[start:end].count("o") / (end - start)


@settings(deadline=None, max_examples=50)
@given(st.text(), st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=5))
def test_byte_ranges_on_borders_of_characters_are_found_again(text: str, cuts: list[tuple[int, int]]) -> None:
    ranges = sorted((min(pair) % (len(text) + 1), max(pair) % (len(text) + 1)) for pair in cuts)
    ranges = [(start, max(start, end)) for start, end in ranges]
    rows = [
        {"window": n, "window_start": len(text[:start].encode()), "window_end": len(text[:end].encode())}
        for n, (start, end) in enumerate(ranges)
    ]
    assert list(_ranges(text, rows)) == ranges


def test_the_same_scores_give_the_same_bytes(pool: Path) -> None:
    out = _filter(pool)
    first = [path.read_bytes() for path in attributes_from_output(out, "letters_v1")]
    assert [path.read_bytes() for path in attributes_from_output(out, "letters_v1")] == first


def test_documents_that_changed_since_are_refused(pool: Path) -> None:
    out = _filter(pool)
    _write(pool / "documents/a.jsonl.gz", ROWS[1:9])
    with pytest.raises(FingerprintError, match=r"a\.jsonl\.gz"):
        attributes_from_output(out, "letters_v1")
    assert not (pool / "attributes").exists()


def test_documents_can_be_tagged_without_a_filter(set_folder: Path, tmp_path: Path) -> None:
    documents: list[Document] = list(make_corpus(5, seed=9).documents)
    path = tmp_path / "documents" / "x.jsonl.gz"
    _write(path, [{"id": d.id, "text": d.text} for d in documents] + [{"id": "short", "text": "x"}])
    scorer = Scorer(set_folder, targets="digits")
    (written,) = tag([tmp_path / "documents"], scorer, "digits_v1")
    assert written == tmp_path / "attributes/digits_v1/x.jsonl.gz"
    *rows, short = _read(written)
    expected = scorer({"text": [d.text for d in documents]})["curator_probability"]
    key = "digits_v1__curator__digits"
    assert [row["attributes"][key] for row in rows] == [
        [[0, len(d.text), pytest.approx(p, abs=1e-4)]] for d, p in zip(documents, expected, strict=True)
    ]
    assert short == {"id": "short", "attributes": {key: []}}


def test_plain_and_zstd_files_keep_their_form(set_folder: Path, tmp_path: Path) -> None:
    import zstandard

    line = json.dumps({"id": "a", "text": make_corpus(5, seed=9).documents[0].text}).encode() + b"\n"
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "p.jsonl").write_bytes(line)
    (folder / "z.jsonl.zst").write_bytes(zstandard.compress(line))
    plain, packed = tag([folder], Scorer(set_folder, targets="digits"), "t")
    assert zstandard.ZstdDecompressor().stream_reader(packed.read_bytes()).read() == plain.read_bytes()


def test_places_and_keys_are_those_of_dolma() -> None:
    path = Path("s/documents/x/documents/a.jsonl.gz")
    assert attribute_path(path, "n") == Path("s/attributes/n/x/attributes/n/a.jsonl.gz")
    assert attribute_key("med-v1.2", "German law/§") == "med_v1_2__curator__German_law"
    for wrong in ("", "a/b", "1st", "a b"):
        with pytest.raises(ConfigError, match="name"):
            attribute_path(path, wrong)
    with pytest.raises(ConfigError, match="documents"):
        attribute_path(Path("pool/a.jsonl.gz"), "n")


def test_two_targets_that_would_share_a_key_are_refused(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = _filter(pool)
    plan = (out / "plan.json").read_text()
    assert plan.count('"letter o"') == 1
    (out / "plan.json").write_text(plan.replace('"letter o"', '"letter-e"'))
    with pytest.raises(ConfigError, match="one key"):
        attributes_from_output(out, "letters_v1")


@pytest.mark.skipif(not DOLMA, reason="dolma needs an environment of its own: docs/integrations.md")
def test_dolma_mix_filters_by_the_attributes(pool: Path) -> None:
    _drop_what_dolma_refuses(pool)
    attributes_from_output(_filter(pool), "letters_v1")
    kept = _mix(pool, filter={"include": [f"$.attributes[?(@.{E_KEY}[0][2] >= 0.2)]"]})
    scores = [(row, Letters().score_targets([Document("", row.get("text") or "unscorable")])[0]) for row in ROWS]
    wanted = [row["text"] for row, score in scores if isinstance(score, tuple) and score[0].probability >= 0.2]
    assert sorted(row["text"] for row in kept) == sorted(wanted)
    all_but_scored = _mix(pool, filter={"exclude": [f"$.attributes[?(@.{E_KEY}[0][2] >= 0.0)]"]})
    assert [row["id"] for row in all_but_scored] == ["none", "blank"]


@pytest.mark.skipif(not DOLMA, reason="dolma needs an environment of its own: docs/integrations.md")
def test_dolma_mix_finds_windows_where_they_are(pool: Path) -> None:
    _drop_what_dolma_refuses(pool)
    attributes_from_output(_filter(pool, window_characters=64), "letters_v1")
    mixed = _mix(pool, span_replacement=[{"span": f"$.attributes.{O_KEY}", "min_score": 0.2, "replacement": "<{}>"}])
    (row,) = (row for row in mixed if row.get("id") == 7)
    text, spans = ROWS[1]["text"], row["attributes"][O_KEY]
    assert {probability >= 0.2 for *_, probability in spans} == {True, False}
    parts = (f"<{text[start:end]}>" if probability >= 0.2 else text[start:end] for start, end, probability in spans)
    assert row["text"] == "".join(parts)


def _drop_what_dolma_refuses(pool: Path) -> None:
    """dolma itself demands a text in every document."""
    _write(pool / "documents/a.jsonl.gz", [row for row in ROWS[:8] if "text" in row])


def _mix(pool: Path, **how: Any) -> list[dict[str, Any]]:
    """What ``dolma mix`` makes of the pool with its attributes."""
    mixed = pool / f"mixed-{len(list(pool.iterdir()))}"
    documents = [str(pool / "documents/*.jsonl.gz"), str(pool / "documents/2024/*.jsonl.gz")]
    output = {"path": str(mixed), "max_size_in_bytes": 10**9}
    stream = {"name": "kept", "documents": documents, "attributes": ["letters_v1"], "output": output, **how}
    work = {"input": str(pool / "in"), "output": str(pool / "out")}
    config = pool / "mix.json"
    config.write_text(json.dumps({"streams": [stream], "processes": 1, "work_dir": work}))
    done = subprocess.run([str(DOLMA), "-c", str(config), "mix"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [row for path in sorted(mixed.glob("*.gz")) for row in _read(path)]
