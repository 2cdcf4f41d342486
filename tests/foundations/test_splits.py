"""The split of the labelled corpora: pinned, by source, 60/30/10."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from curator.records import Document
from curator.text.splits import Split, only_split, split_of


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
