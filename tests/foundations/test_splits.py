"""The split of the labelled corpora: pinned, by source, 60/30/10."""

from __future__ import annotations

import logging
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.records import Document
from curator.text.splits import Split, only_split, split_of, split_units


def test_the_split_of_a_source_never_changes() -> None:
    assert [str(split_of(source)) for source in ("", "a", "b", "book 1", "stdlib/json/decoder.py", "ß")] == [
        "train",
        "train",
        "pool",
        "test",
        "train",
        "train",
    ]


def test_the_shares_are_sixty_thirty_ten() -> None:
    counts = Counter(split_of(f"source {i}") for i in range(5_000))
    assert abs(counts[Split.TRAIN] / 5_000 - 0.6) < 0.03
    assert abs(counts[Split.POOL] / 5_000 - 0.3) < 0.03
    assert abs(counts[Split.TEST] / 5_000 - 0.1) < 0.02


@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), max_size=30))
@settings(deadline=None, max_examples=50)
def test_the_splits_partition_documents_and_never_cut_a_source(pairs: list[tuple[str, str]]) -> None:
    documents = [Document(name, "text", source=source) for name, source in pairs]
    parts = [list(only_split(documents, split)) for split in Split]
    assert sorted(id(document) for part in parts for document in part) == sorted(map(id, documents))
    sources = [{document.source for document in part if document.source} for part in parts]
    assert not (sources[0] & sources[1] or sources[0] & sources[2] or sources[1] & sources[2])


def test_a_document_without_a_source_is_placed_by_its_id() -> None:
    document = Document("some id", "text")
    assert list(only_split([document], split_of("some id"))) == [document]


def test_a_thousand_documents_of_one_source_raise_a_doubt_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    documents = [Document(str(number), "text", source="c4") for number in range(2_100)]
    with caplog.at_level(logging.WARNING):
        assert len(list(only_split(documents, split_of("c4")))) == 2_100
    assert [record.getMessage() for record in caplog.records if "'c4'" in record.getMessage()] == [
        "the first 1000 documents have the source 'c4', which lies in the split train as a whole: name a field with the work "
        "that each was cut from, or none that exists, as source_field"
    ]


def test_documents_of_many_sources_or_of_none_raise_no_doubt(caplog: pytest.LogCaptureFixture) -> None:
    bare = [Document(str(number), "text") for number in range(1_100)]
    mixed = [Document(str(number), "text", source=f"book {number % 2}") for number in range(1_100)]
    with caplog.at_level(logging.WARNING):
        assert [*only_split(bare, Split.POOL), *only_split(mixed, Split.POOL)]
    assert not caplog.records


def _of(domain: str, sources: list[str]) -> list[Document]:
    return [Document(f"{domain}-{number}", "text", domain, source) for number, source in enumerate(sources)]


def test_a_source_that_names_a_data_set_is_split_by_document() -> None:
    documents = _of("web", ["c4"] * 60) + _of("law", [f"case {number // 2}" for number in range(60)])
    units = split_units(documents)
    assert units.by_document == ("web",)
    assert units.names == tuple(document.id for document in documents[:60]) + tuple(
        document.source for document in documents[60:]
    )


@pytest.mark.parametrize(
    ("sources", "apart"),
    [
        ([f"set {number % 6}" for number in range(600)], True),  # six data sets
        ([f"book {number % 23}" for number in range(46)], True),
        ([f"book {number % 24}" for number in range(48)], False),
        ([f"book {number}" for number in range(8)], False),  # each its own: a split by document is the same
        ([f"book {number // 2}" for number in range(9)], False),  # by document there would be hardly more units
        (["c4"] * 51 + [f"book {number}" for number in range(49)], True),
        (["c4"] * 50 + [f"book {number}" for number in range(50)], False),
        ([""] * 50, False),  # no source is known: documents are units already, and no work is cut
    ],
)
def test_sources_are_kept_whole_where_there_are_enough_to_split(sources: list[str], apart: bool) -> None:
    assert split_units(_of("web", sources)).by_document == (("web",) if apart else ())


def test_the_units_of_a_split_do_not_depend_on_the_order_of_the_documents() -> None:
    documents = _of("web", ["c4"] * 40) + _of("law", [f"case {number}" for number in range(40)])
    there, back = split_units(documents), split_units(documents[::-1])
    assert there.names == back.names[::-1]
    assert there.by_document == back.by_document
