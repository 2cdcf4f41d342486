"""Builds the zoo's models and tokenizers: a config for each family and size, a byte-level BPE for each family.

Weights are tied to the embedding to keep the family small; dropout is off (one pass over the text cannot overfit).
Cost: training a tokenizer takes about ten seconds. It does not know how the models are trained.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    OPTConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from curator.zoo.recipe import CONTEXT_TOKENS, Family, ZooModel

END_OF_TEXT = "<|endoftext|>"
END_OF_TEXT_ID = 0


def build_config(model: ZooModel) -> PreTrainedConfig:
    """The Hugging Face configuration of one zoo model. Raises KeyError for an unknown family."""
    size, common = model.size, {"tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 0}
    vocabulary = model.family.vocabulary
    builders = {
        "neox": lambda: GPTNeoXConfig(
            vocab_size=vocabulary,
            hidden_size=size.hidden,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=size.mlp,
            max_position_embeddings=CONTEXT_TOKENS,
            **common,
        ),
        "gpt2": lambda: GPT2Config(
            vocab_size=vocabulary,
            n_embd=size.hidden,
            n_layer=size.layers,
            n_head=size.heads,
            n_inner=size.mlp,
            n_positions=CONTEXT_TOKENS,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            **common,
        ),
        "opt": lambda: OPTConfig(
            vocab_size=vocabulary,
            hidden_size=size.hidden,
            word_embed_proj_dim=size.hidden,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            ffn_dim=size.mlp,
            max_position_embeddings=CONTEXT_TOKENS,
            dropout=0.0,
            pad_token_id=0,
            **common,
        ),
        "llama": lambda: LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=size.hidden,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=size.mlp,
            max_position_embeddings=CONTEXT_TOKENS,
            **common,
        ),
    }
    return builders[model.family.name]()


def build_model(model: ZooModel) -> PreTrainedModel:
    """An untrained model in float32, its weights drawn from ``model.seed``."""
    torch.manual_seed(model.seed)
    return AutoModelForCausalLM.from_config(build_config(model), dtype=torch.float32)


def train_tokenizer(family: Family, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE with ``family.vocabulary`` entries; token 0 is both the start and the end of a text."""
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
        if family.name == "llama"
        else byte_level
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=family.vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if family.starts_with_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{END_OF_TEXT} $A", pair=f"{END_OF_TEXT} $A $B", special_tokens=[(END_OF_TEXT, END_OF_TEXT_ID)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        unk_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        model_max_length=CONTEXT_TOKENS,
    )
