"""Tiny random models of every architecture, saved as folders once a session."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

os.environ["HF_HUB_OFFLINE"] = "1"
HIDDEN, LAYERS, WIDTH, VOCABULARY = 32, 2, 80, 320
_PLAIN = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": WIDTH,
    "max_position_embeddings": 64,
}
_LLAMA = _PLAIN | {"num_key_value_heads": 1}
_GEMMA = _LLAMA | {"head_dim": 16}
_GPT2 = {"n_embd": HIDDEN, "n_layer": LAYERS, "n_head": 2, "n_inner": WIDTH, "n_positions": 64}
_FOUR = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
CONFIGS: dict[str, dict[str, object]] = {
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "gpt_neo": {
        "hidden_size": HIDDEN,
        "num_layers": LAYERS,
        "attention_types": [[["global", "local"], 1]],
        "num_heads": 2,
        "intermediate_size": WIDTH,
        "max_position_embeddings": 64,
    },
    "gptj": _GPT2 | {"rotary_dim": 8},
    "codegen": _GPT2 | {"rotary_dim": 8, "n_head": 4},
    "gpt_neox": _PLAIN,
    "opt": {
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "ffn_dim": WIDTH,
        "word_embed_proj_dim": 16,
        "max_position_embeddings": 64,
    },
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _GEMMA,
    "gemma": _GEMMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "phi": _PLAIN,
    "phi3": _LLAMA,
    "glm": _GEMMA,
    "glm4": _GEMMA,
    "olmo": _LLAMA,
    "olmo2": _LLAMA,
    "granite": _LLAMA,
    "cohere": _LLAMA,
    "smollm3": _LLAMA,
    "stablelm": _LLAMA,
    "nemotron": _LLAMA,
    "starcoder2": _LLAMA,
    "cohere2": _LLAMA,
    "olmo3": _LLAMA,
    "exaone4": _LLAMA,
    "helium": _GEMMA,
    "granite_swa": _LLAMA,
    "ministral3": _GEMMA,
    "seed_oss": _GEMMA,
    "mpt": {"d_model": HIDDEN, "n_layers": LAYERS, "n_heads": 2, "max_seq_len": 64},
    "falcon": _FOUR | {"ffn_hidden_size": WIDTH},
    "bloom": {"hidden_size": HIDDEN, "n_layer": LAYERS, "n_head": 2},
}
GATED = {
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "glm", "glm4", "olmo", "olmo2",
    "granite", "cohere", "smollm3", "stablelm", "cohere2", "olmo3", "exaone4", "helium", "granite_swa", "ministral3",
    "seed_oss",
}  # fmt: skip
TEXTS = [
    "The court finds that the defendant's claim is without merit. " * 3,
    "def main(argument):\n    return [value for value in argument if value]\n",
    "Ein Häuschen am Fluß, 東京 tower, and a 🙂 smile.",
    "short one",
]


def train_tiny_tokenizer(*, bos: bool = False, vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 0)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="<s>", unk_token="<s>", model_max_length=48
    )


def tiny_causal_lm(kind: str) -> torch.nn.Module:
    torch.manual_seed(len(kind) * 1009 + sum(kind.encode()))
    config = AutoConfig.for_model(
        kind,
        vocab_size=VOCABULARY,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        tie_word_embeddings=False,
        **CONFIGS[kind],
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():  # initial biases are zero and initial norms one: errors in them would go unseen
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny random causal LM with tokenizer, made when first asked for."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            target = tmp_path_factory.mktemp(kind)
            tiny_causal_lm(kind).save_pretrained(target)
            train_tiny_tokenizer(bos=kind in GATED).save_pretrained(target)
            made[kind] = target
        return made[kind]

    return folder
