"""Sources by URI: every kind opens, every bad record is rejected alone with its place, the rest goes on."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard

from curator.errors import ConfigError, SourceError, SourceNotFoundError
from curator.records import Document, Rejection, RejectReason
from curator.text import sources
from curator.text.sources import SourceOptions, SourceTally, open_source, open_sources, tally
from curator.text.splits import Split, split_of

GOOD = b'{"id": "a", "text": "one", "domain": "d", "source": "s", "url": "u", "n": [1, null]}'


def write(path: Path, *lines: bytes) -> str:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return str(path)


def reasons(records: list[Document | Rejection]) -> list[str]:
    return [str(record.reason) if isinstance(record, Rejection) else record.id for record in records]


def documents(uri: str, options: SourceOptions | None = None) -> list[Document]:
    found = list(open_source(uri, options or SourceOptions()))
    assert all(isinstance(record, Document) for record in found)
    return [record for record in found if isinstance(record, Document)]


def test_a_record_keeps_its_labels_and_all_other_fields_untouched(tmp_path: Path) -> None:
    (document,) = documents(write(tmp_path / "x.jsonl", GOOD))
    assert document == Document("a", "one", "d", "s", {"url": "u", "n": [1, None]})


def test_fields_are_configurable_and_the_domain_can_be_fixed(tmp_path: Path) -> None:
    uri = write(tmp_path / "x.jsonl", b'{"doc": 7, "content": "hi", "lang": "de", "book": {"b": 1}, "text": 5}')
    options = SourceOptions(text_field="content", id_field="doc", domain_field="lang", source_field="book")
    (document,) = documents(uri, options)
    assert document == Document("7", "hi", "de", '{"b": 1}', {"text": 5})
    (fixed,) = documents(uri, options.model_copy(update={"domain": "german"}))
    assert fixed.domain == "german"


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".zstd"])
def test_plain_gzip_and_zstd_give_the_same_documents(suffix: str, tmp_path: Path) -> None:
    pack: Callable[[bytes], bytes] = {"": bytes, ".gz": gzip.compress}.get(suffix, zstandard.ZstdCompressor().compress)
    path = tmp_path / f"x.jsonl{suffix}"
    path.write_bytes(pack(GOOD + b"\r\n\n" + GOOD.replace(b'"a"', b'"b"')))
    assert [document.id for document in documents(str(path))] == ["a", "b"]
    assert [document.id for document in documents(f"file://{path}")] == ["a", "b"]


def test_each_bad_record_is_rejected_alone_with_its_reason_and_place(tmp_path: Path) -> None:
    bad = [
        (b'{"text": "\xff"}', RejectReason.INVALID_UTF8),
        (b'{"text": "\\ud800"}', RejectReason.INVALID_UTF8),
        (b'{"text": "fine", "note": "\\udfff"}', RejectReason.INVALID_UTF8),
        (b'{"text": "cut', RejectReason.INVALID_JSON),
        (b"[" * 100_000, RejectReason.INVALID_JSON),
        (b'{"n": 1' + b"0" * 5_000 + b"}", RejectReason.INVALID_JSON),
        (b'["text"]', RejectReason.NOT_A_RECORD),
        (b'{"body": "x"}', RejectReason.MISSING_FIELD),
        (b'{"text": null}', RejectReason.MISSING_FIELD),
        (b'{"text": ["x"]}', RejectReason.FIELD_NOT_TEXT),
        (b'{"text": ""}', RejectReason.EMPTY_TEXT),
        (b'{"text": " \\n\\u2003"}', RejectReason.EMPTY_TEXT),
        (b'{"text": "' + b"x" * 200_000 + b'"}', RejectReason.RECORD_TOO_LARGE),
    ]
    lines = [line for record, _ in bad for line in (record, GOOD)]
    uri = write(tmp_path / "x.jsonl", *lines)
    found = list(open_source(uri, SourceOptions(max_record_bytes=150_000)))
    assert reasons(found) == [word for _, reason in bad for word in (str(reason), "a")]
    places = [record.place for record in found if isinstance(record, Rejection)]
    assert places == [f"{uri}:{2 * index + 1}" for index in range(len(bad))]


def test_a_paired_surrogate_escape_is_a_character(tmp_path: Path) -> None:
    (document,) = documents(write(tmp_path / "x.jsonl", b'{"text": "\\ud83d\\ude00"}'))
    assert document.text == "\N{GRINNING FACE}"


def test_a_byte_order_mark_before_the_first_record_is_passed_over(tmp_path: Path) -> None:
    assert documents(write(tmp_path / "x.jsonl", b"\xef\xbb\xbf" + GOOD))[0].id == "a"


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_truncated_stream_rejects_only_its_tail_and_the_next_file_is_read(suffix: str, tmp_path: Path) -> None:
    lines = b"".join(json.dumps({"id": str(i), "text": f"text {i * 7919}"}).encode() + b"\n" for i in range(40_000))
    packed = gzip.compress(lines) if suffix == ".gz" else zstandard.ZstdCompressor().compress(lines)
    (tmp_path / f"a.jsonl{suffix}").write_bytes(packed[: len(packed) * 3 // 4])
    write(tmp_path / "b.jsonl", GOOD)
    found = list(open_source(str(tmp_path)))
    whole = [record.id for record in found[:-2] if isinstance(record, Document)]
    assert len(whole) == len(found) - 2 > 20_000
    assert whole == [str(i) for i in range(len(whole))]
    assert reasons(found[-2:]) == ["stream_truncated", "a"]
    assert isinstance(found[-2], Rejection)
    assert found[-2].place == f"{tmp_path}/a.jsonl{suffix}:{len(whole) + 1}"


def test_a_document_without_an_id_is_named_by_its_file_and_text(tmp_path: Path) -> None:
    uri = write(tmp_path / "pool.jsonl", b'{"text": "one"}', b'{"text": "two", "id": ""}', b'{"text": "one"}')
    ids = [document.id for document in documents(uri)]
    assert ids[0] == "pool-fe05bcdcdc4928012781a5f1a2a77cbb"[:21]
    assert ids[0] == ids[2] != ids[1]


def test_split_takes_one_part_by_source_and_lets_rejections_through(tmp_path: Path) -> None:
    rows = [json.dumps({"id": str(i), "text": "t", "source": f"book {i % 10}"}).encode() for i in range(60)]
    uri = write(tmp_path / "x.jsonl", *rows, b"broken")
    parts = {split: list(open_source(f"{uri}?split={split}")) for split in Split}
    assert all(reasons(part)[-1] == "invalid_json" for part in parts.values())
    assert sorted(int(record.id) for part in parts.values() for record in part[:-1]) == list(range(60))
    for split, part in parts.items():
        assert all(isinstance(record, Rejection) or split_of(record.source) is split for record in part)


def test_standard_input_is_jsonl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(GOOD + b'\nbroken\n{"text": "x"}\n')))
    found = list(open_source("-"))
    assert reasons(found)[:2] == ["a", "invalid_json"]
    assert reasons(found)[2].startswith("stdin-")
    assert isinstance(found[1], Rejection)
    assert found[1].place == "-:2"


def test_an_embedded_domain_opens_with_its_budget_seed_split_and_label(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int, int]] = []

    def harvest(domain: str, *, max_chars: int, seed: int) -> list[Document]:
        asked.append((domain, max_chars, seed))
        return [Document(str(i), "text", domain, f"source {i}") for i in range(50)]

    monkeypatch.setattr(sources, "harvest", harvest)
    found = documents("env:legal?max_chars=5000&seed=3&split=pool", SourceOptions(domain="law"))
    assert asked == [("legal", 5_000, 3)]
    assert {document.domain for document in found} == {"law"}
    assert 0 < len(found) < 50
    assert all(split_of(document.source) is Split.POOL for document in found)


def test_what_is_wrong_as_a_whole_is_said_when_the_source_is_opened(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError):
        open_source(str(tmp_path / "absent.jsonl"))
    with pytest.raises(ConfigError, match="choose one of: python"):
        open_source("env:poetry")
    with pytest.raises(ConfigError, match="whole number"):
        open_source("env:python?seed=x")
    with pytest.raises(SourceNotFoundError):
        open_sources([write(tmp_path / "x.jsonl", GOOD), str(tmp_path / "absent.jsonl")])


def test_a_file_that_may_not_be_read_is_a_source_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = write(tmp_path / "x.jsonl", GOOD)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceError, match="Permission denied"):
        list(open_source(uri))


def test_sources_are_read_one_after_the_other(tmp_path: Path) -> None:
    uris = [write(tmp_path / f"{name}.jsonl", GOOD.replace(b'"a"', f'"{name}"'.encode())) for name in "ba"]
    assert reasons(list(open_sources(uris))) == ["b", "a"]


def test_the_tally_adds_up_and_hands_over_the_rejections(tmp_path: Path) -> None:
    uri = write(tmp_path / "x.jsonl", GOOD, b"broken", GOOD, b'{"text": ""}', b"broken")
    counts, rejected = SourceTally(), []
    kept = list(tally(open_source(uri), counts, rejected.append))
    assert (len(kept), counts.documents, counts.characters, counts.records) == (2, 2, 6, 5)
    assert counts.rejected == {RejectReason.INVALID_JSON: 2, RejectReason.EMPTY_TEXT: 1}
    assert [rejection.place for rejection in rejected] == [f"{uri}:{line}" for line in (2, 4, 5)]
    both = counts + counts + SourceTally()
    assert (both.records, both.rejected[RejectReason.INVALID_JSON]) == (10, 4)
    assert counts.as_json() == {
        "documents": 2,
        "characters": 6,
        "rejected": {"empty_text": 1, "invalid_json": 2},
    }


def test_jsonl_needs_none_of_the_heavy_libraries(tmp_path: Path) -> None:
    uri = write(tmp_path / "x.jsonl", GOOD)
    program = (
        "import sys; from curator.text.sources import open_source; "
        f"assert len(list(open_source({uri!r}))) == 1; "
        "print(*sorted({'torch', 'transformers', 'datasets', 'pyarrow', 'numpy', 'fsspec'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
