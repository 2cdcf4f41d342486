"""The recipe: which models the zoo has, that they are independent of each other, and that their text splits do not meet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zstandard

from curator.errors import SourceNotFoundError
from curator.text.splits import Split
from curator.zoo import corpus
from curator.zoo.build import tokenizer_sample
from curator.zoo.recipe import FAMILIES, TOKEN_BUDGET, zoo_model, zoo_models
from curator.zoo.trainer import steps_in_budget


def test_the_zoo_has_seventeen_models_named_by_family_and_size() -> None:
    names = {model.name for model in zoo_models()}
    sizes = ["32x2", "64x2", "96x3", "128x4", "192x6"]
    expected = {f"{family}-{size}" for family in ("neox", "gpt2", "opt") for size in sizes}
    assert names == expected | {"llama-64x2", "llama-96x3"}
    assert len(zoo_models()) == 17


def test_models_come_cheapest_first() -> None:
    hidden = [model.size.hidden for model in zoo_models()]
    assert hidden == sorted(hidden)


def test_no_two_models_share_a_seed_and_no_two_families_a_vocabulary() -> None:
    assert len({model.seed for model in zoo_models()}) == 17
    assert len({family.vocabulary for family in FAMILIES}) == len({family.tokenizer_sample for family in FAMILIES}) == 4


def test_a_model_is_found_by_its_name() -> None:
    model = zoo_model("neox-128x4")
    assert (model.family.name, model.neurons, model.seed) == ("neox", 4 * 4 * 128, 10_128)
    with pytest.raises(KeyError):
        zoo_model("neox-31x2")


def test_the_token_budget_is_a_whole_number_of_steps_of_at_least_eight_million_tokens() -> None:
    assert steps_in_budget() * 4096 == TOKEN_BUDGET >= 8_000_000


@pytest.fixture
def corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(corpus, "EMBEDDED_DOMAINS", ())
    lines = [
        json.dumps({"id": f"{source}-{part}", "text": f"part {part} of {source}", "domain": "law", "source": source})
        for source in (f"book {number}" for number in range(120))
        for part in range(3)
    ]
    (tmp_path / "law.jsonl.zst").write_bytes(zstandard.compress("\n".join(lines).encode() + b"\n"))
    return tmp_path


def test_training_pool_and_test_text_share_no_source_and_lose_none(corpora: Path) -> None:
    sources = {split: {item.source for item in corpus.zoo_documents(corpora, split)} for split in Split}
    assert not sources[Split.TRAIN] & sources[Split.POOL]
    assert not sources[Split.TRAIN] & sources[Split.TEST]
    assert not sources[Split.POOL] & sources[Split.TEST]
    assert sum(len(part) for part in sources.values()) == 120
    assert 0.45 < len(sources[Split.TRAIN]) / 120 < 0.75


def test_the_corpus_is_read_in_one_order_and_its_fingerprint_follows_its_content(corpora: Path) -> None:
    first, again = (corpus.zoo_documents(corpora, Split.TRAIN) for _ in range(2))
    assert [item.id for item in first] == [item.id for item in again] == sorted(item.id for item in first)
    assert corpus.corpus_fingerprint(first) == corpus.corpus_fingerprint(again)
    assert corpus.corpus_fingerprint(first) != corpus.corpus_fingerprint(first[1:])


def test_families_learn_their_tokenizers_from_different_samples(corpora: Path) -> None:
    documents = corpus.zoo_documents(corpora, Split.TRAIN)
    samples = [tokenizer_sample(family, documents) for family in FAMILIES]
    assert len({tuple(sample) for sample in samples}) == len(FAMILIES)
    assert tokenizer_sample(FAMILIES[0], documents) == samples[0]


def test_a_folder_without_corpora_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"no \.jsonl\.zst files"):
        corpus.zoo_documents(tmp_path, Split.TRAIN)
