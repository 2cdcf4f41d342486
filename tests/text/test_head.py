"""An input without a document is refused by one sentence, as early as it shows; nothing that was looked at is lost."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from curator.errors import ConfigError, InsufficientDataError
from curator.text.head import HEAD_RECORDS, with_documents
from curator.text.rows import SourceOptions
from curator.text.sources import open_source

BAD = '{"id": "a", "body": "the text", "n": 3}'
GOOD = '{"id": "b", "text": "the text"}'


def records(tmp_path: Path, *lines: str, text_field: str = "text"):
    (tmp_path / "x.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return open_source(str(tmp_path / "x.jsonl"), SourceOptions(text_field=text_field))


@pytest.mark.parametrize("count", [1, HEAD_RECORDS, 3 * HEAD_RECORDS])
def test_records_without_the_text_field_are_refused_at_once_with_the_fields_that_they_have(
    tmp_path: Path, count: int
) -> None:
    with pytest.raises(
        ConfigError, match=r"x\.jsonl:1 has no field 'text', its fields are 'id', 'body', 'n'; .*--text-field"
    ):
        with_documents(records(tmp_path, *[BAD] * count))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": null, "x": "y"}', "no value in the field 'text', its fields are 'x', 'text'"),
        ('{"text": ["y"]}', "no text in the field 'text', which is a list"),
        (json.dumps({f"{n}" * 99: n for n in range(10)}), r"'0{40}', .*, 2 more;"),
        ("{}", "its fields are none"),
    ],
)
def test_what_is_in_the_place_of_the_text_is_said(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_documents(records(tmp_path, line))


def test_an_input_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InsufficientDataError, match="holds no records"):
        with_documents(records(tmp_path, "", " "))


@pytest.mark.parametrize("count", [1, HEAD_RECORDS + 1])
def test_other_records_that_are_no_documents_are_told_one_by_one_and_as_a_whole_at_the_end(
    tmp_path: Path, count: int
) -> None:
    found = with_documents(records(tmp_path, *["{broken"] * count))
    assert sum(1 for _, record in zip(range(count), found, strict=False) if record) == count
    with pytest.raises(InsufficientDataError, match=rf"None of the {count:,} records .*x\.jsonl:1 .*invalid_json"):
        next(found)


@pytest.mark.parametrize("lines", [[BAD, GOOD, BAD], [*["{broken"] * (HEAD_RECORDS + 5), GOOD], [GOOD]])
def test_bad_records_hurt_only_themselves_and_every_record_is_handed_on(tmp_path: Path, lines: list[str]) -> None:
    assert list(with_documents(records(tmp_path, *lines))) == list(records(tmp_path, *lines))


def test_standard_input_loses_nothing_of_what_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{BAD}\n{BAD}\n{GOOD}\n{GOOD}\n".encode()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    assert len(list(with_documents(open_source("-")))) == 4
