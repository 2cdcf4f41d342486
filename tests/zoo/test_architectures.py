"""The zoo's tokenizers and untrained models are functions of the recipe."""

from __future__ import annotations

import pytest
import torch

from curator.zoo.architectures import END_OF_TEXT_ID, build_config, build_model, train_tokenizer
from curator.zoo.recipe import FAMILIES, Family, ZooModel, zoo_model, zoo_models
from curator.zoo.trainer import smaller

TEXTS = ["The judge said: 1984 was a year. ", "def f(x):\n    return x + 1\n", "naïve café, 東京"] * 20


def _tiny(family: Family) -> Family:
    return smaller(zoo_model(f"{family.name}-64x2"), 300).family


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_tokenizer_depends_on_nothing_but_its_texts(family: Family) -> None:
    first, second = (train_tokenizer(_tiny(family), TEXTS) for _ in range(2))
    assert first.backend_tokenizer.to_str() == second.backend_tokenizer.to_str()
    assert first.backend_tokenizer.get_vocab_size() == 300
    other = train_tokenizer(_tiny(family), ["quite another text about boats"] * 60)
    assert other.backend_tokenizer.to_str() != first.backend_tokenizer.to_str()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_tokenizer_gives_every_text_back(family: Family) -> None:
    tokenizer = train_tokenizer(_tiny(family), TEXTS)
    text = "unseen ünicode 🙂 and\ttabs 12345\r\n"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    ids = tokenizer("text")["input_ids"]
    assert (ids[0] == END_OF_TEXT_ID) is family.starts_with_bos


def test_llama_splits_digits_and_the_others_do_not() -> None:
    texts = ["2024 2024 2024 2024"] * 50
    lengths = {
        family.name: len(train_tokenizer(_tiny(family), texts)("2024", add_special_tokens=False)["input_ids"])
        for family in FAMILIES
    }
    assert lengths == {"neox": 1, "gpt2": 1, "opt": 1, "llama": 4}


@pytest.mark.parametrize("spec", zoo_models(), ids=lambda spec: spec.name)
def test_a_config_has_the_recipe_s_shape_and_no_dropout(spec: ZooModel) -> None:
    config = build_config(spec)
    assert (config.hidden_size, config.num_hidden_layers) == (spec.size.hidden, spec.size.layers)
    assert config.vocab_size == spec.family.vocabulary
    assert config.tie_word_embeddings
    heads = {"classifier_dropout", "summary_first_dropout"}  # of classifiers, which no zoo model has
    dropouts = {name: value for name, value in config.to_dict().items() if "drop" in name and isinstance(value, float)}
    assert not any(value for name, value in dropouts.items() if name not in heads)


def test_a_model_s_weights_are_drawn_from_its_seed() -> None:
    spec = smaller(zoo_model("gpt2-32x2"), 300)
    first, second = build_model(spec), build_model(spec)
    torch.manual_seed(1)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    other = build_model(smaller(zoo_model("gpt2-64x2"), 300))
    assert not torch.equal(first.get_input_embeddings().weight[:, :8], other.get_input_embeddings().weight[:, :8])
