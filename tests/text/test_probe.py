"""The probe corpus: balanced, deduplicated, seeded, mixed, fingerprinted."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from curator.errors import InsufficientDataError
from curator.records import Document
from curator.text import probe as probe_module
from curator.text.probe import ProbeSpec, build_probe, parse_probe_pairs, probe_fingerprint
from curator.text.segmentation import universal_spans
from curator.text.splits import Split, split_of


def corpus_file(folder: Path, name: str, texts: list[str], start: int = 0) -> str:
    path = folder / f"{name}.jsonl"
    rows = ({"id": f"{name}-{start + i}", "text": text, "source": f"s{i}", "extra": i} for i, text in enumerate(texts))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def texts(word: str, count: int, length: int = 50) -> list[str]:
    return [f"{word} {i}" + f" {word}" * length for i in range(count)]  # length + 2 spans each


@pytest.fixture
def spec(tmp_path: Path) -> ProbeSpec:
    uris = {name: corpus_file(tmp_path, name, texts(name, count)) for name, count in (("alpha", 200), ("beta", 60))}
    return ProbeSpec(domains=uris, tokens_per_domain=1_020, seed=1)


def test_each_domain_fills_its_budget_exactly_and_carries_its_label(spec: ProbeSpec) -> None:
    corpus = build_probe(spec)
    assert corpus.domains == ("alpha", "beta")
    assert corpus.spans_per_domain == {"alpha": 1_020, "beta": 1_020}
    spans: Counter[str] = Counter()
    for document in corpus.documents:
        spans[document.domain] += len(universal_spans(document.text))
        assert document.id.startswith(document.domain)
        assert not document.metadata
    assert spans == corpus.spans_per_domain
    assert corpus.spans == spans.total()


def test_the_same_spec_gives_the_same_corpus_and_another_seed_another(spec: ProbeSpec) -> None:
    first = build_probe(spec)
    assert build_probe(spec) == first
    other = build_probe(spec.model_copy(update={"seed": 2}))
    assert {document.id for document in other.documents} != {document.id for document in first.documents}
    assert other.fingerprint != first.fingerprint


def test_the_choice_does_not_depend_on_the_order_of_the_source(spec: ProbeSpec, tmp_path: Path) -> None:
    first = build_probe(spec)
    for name in ("alpha", "beta"):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert build_probe(spec) == first


def test_domains_are_mixed_and_not_one_after_the_other(spec: ProbeSpec) -> None:
    labels = [document.domain for document in build_probe(spec).documents]
    changes = sum(left != right for left, right in pairwise(labels))
    assert changes > len(labels) / 4


def test_long_documents_are_cut_at_a_span_boundary(tmp_path: Path) -> None:
    uri = corpus_file(tmp_path, "long", ["wörd " * 500, "x" * 5_000])
    corpus = build_probe(ProbeSpec(domains={"a": uri}, tokens_per_domain=50, max_document_spans=20))
    assert sorted(document.text for document in corpus.documents) == sorted([("wörd " * 20)[:-1], "x" * 20 * 64])
    assert corpus.spans_per_domain == {"a": 40}


def test_the_last_document_is_cut_to_fit_the_budget(tmp_path: Path) -> None:
    uri = corpus_file(tmp_path, "a", texts("a", 3, length=98))
    corpus = build_probe(ProbeSpec(domains={"a": uri}, tokens_per_domain=250))
    assert sorted(len(universal_spans(document.text)) for document in corpus.documents) == [50, 100, 100]


def test_a_last_document_that_would_be_a_stub_is_left_out(spec: ProbeSpec) -> None:
    corpus = build_probe(spec.model_copy(update={"tokens_per_domain": 1_019}))  # 19 documents of 52 spans leave 31
    assert corpus.spans_per_domain == {"alpha": 988, "beta": 988}


def test_texts_that_come_twice_count_once_within_and_across_domains(tmp_path: Path) -> None:
    first = corpus_file(tmp_path, "a", ["same text", "only in a", "same text"])
    second = corpus_file(tmp_path, "b", ["same text", "only in b"])
    corpus = build_probe(ProbeSpec(domains={"a": (first, first), "b": second}, tokens_per_domain=100))
    assert sorted((document.domain, document.text) for document in corpus.documents) == [
        ("a", "only in a"),
        ("a", "same text"),
        ("b", "only in b"),
    ]


def test_documents_of_one_id_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    uris = corpus_file(tmp_path, "a", ["one"]), corpus_file(tmp_path / "x", "a", ["two"])
    corpus = build_probe(ProbeSpec(domains={"a": uris}, tokens_per_domain=100))
    ids = sorted(document.id for document in corpus.documents)
    assert ids[0] == "a-0"
    assert ids[1].startswith("a-0~")


def test_a_split_takes_only_its_sources(spec: ProbeSpec) -> None:
    corpus = build_probe(spec.model_copy(update={"split": Split.POOL}))
    assert {split_of(document.source) for document in corpus.documents} == {Split.POOL}


def test_texts_of_two_domains_are_counted_and_told_and_stay_with_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = (corpus_file(tmp_path, name, texts(name, 5) + texts("both", 3)) for name in "ab")
    with caplog.at_level(logging.WARNING, logger="curator.text.probe"):
        corpus = build_probe(ProbeSpec(domains={"a": a, "b": b}, tokens_per_domain=10_000))
    assert corpus.rejected == {"duplicate": 3}
    assert [message for message in caplog.messages if "left out" in message] == [
        "records that are left out of the probe corpus (duplicate: 3)"
    ]
    assert sum(document.text.startswith("both") for document in corpus.documents) == 3


def test_rejected_records_are_counted_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = Path(corpus_file(tmp_path, "a", ["one", " "]))
    path.write_text(path.read_text() + "broken\n")
    corpus = build_probe(ProbeSpec(domains={"a": str(path)}, tokens_per_domain=100))
    assert corpus.rejected == {"empty_text": 1, "invalid_json": 1}
    assert "left out of the probe corpus (empty_text: 1, invalid_json: 1)" in caplog.text


def test_a_domain_under_half_its_budget_warns_and_an_empty_one_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri = corpus_file(tmp_path, "a", ["one two three"])
    with caplog.at_level(logging.WARNING, logger="curator.text.probe"):
        build_probe(ProbeSpec(domains={"a": uri}, tokens_per_domain=6))
        assert not caplog.records
        build_probe(ProbeSpec(domains={"a": uri}, tokens_per_domain=7))
    assert "fills 3 of 7 spans" in caplog.text
    with pytest.raises(InsufficientDataError, match="'b' has no usable text"):
        build_probe(ProbeSpec(domains={"a": uri, "b": uri}))


def test_an_endless_hub_dataset_is_read_only_as_far_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def endless(*_: object) -> object:
        for number in range(1_000_000):
            read.append(number)
            yield Document(str(number), f"document {number} of an endless stream")

    monkeypatch.setattr(probe_module, "open_source", endless)
    corpus = build_probe(ProbeSpec(domains={"web": "hf:org/web"}, tokens_per_domain=600))
    assert 590 <= corpus.spans_per_domain["web"] <= 600
    assert len(read) == 400  # four times the budget at six spans a document
    assert max(int(document.id) for document in corpus.documents) > 200


def test_the_fingerprint_covers_order_id_domain_and_text() -> None:
    one, two = Document("1", "one", "a"), Document("2", "two", "b")
    variants = [(one, two), (two, one), (one,), (), (replace(one, id="3"), two), (replace(one, domain="b"), two)]
    variants.append((replace(one, text="one "), two))
    assert len({probe_fingerprint(variant) for variant in variants}) == len(variants)
    assert probe_fingerprint((replace(one, metadata={"x": 1}, source="s"), two)) == probe_fingerprint((one, two))


def test_the_fingerprint_is_golden() -> None:
    """A change here makes every atlas on disk unusable: raise SEGMENTATION_VERSION and say so."""
    documents = [Document("a", "Hello, wörld! 日本 42", "x"), Document("b", "def f(x):\n    return x", "y")]
    assert probe_fingerprint(documents) == "3f2dd7fec7deb6c1d414a30a3f0465b32a94e1bf4d2cdd15a619f37752035124"


def test_command_line_pairs_build_the_same_corpus(spec: ProbeSpec) -> None:
    pairs = [f"{name}={uris[0]}" for name, uris in spec.domains.items()]
    assert build_probe(parse_probe_pairs(pairs, tokens_per_domain=1_020, seed=1)) == build_probe(spec)
