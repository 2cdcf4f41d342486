"""What the benchmarks run on: text that every Python installation has, the bundled models, and untrained ones of true sizes.

Speed does not depend on what the weights say, so models of published sizes are made here from their configurations with
random weights, saved and loaded like any other. Their tokenizers are trained here, each on its own third of some text, and cut
it into about 1.2 tokens a span, as published ones cut prose; the bundled ones, with 2,000 entries, would cut it into 1.7 and
make work that is done for each span look cheap beside the forward pass. Nothing is downloaded.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from curator.atlas.build import build_atlas
from curator.atlas.store import Atlas
from curator.lm.backbone import Backbone, load_backbone
from curator.neuronset.identify import ModelChoice
from curator.settings import AtlasSettings
from curator.text.environment import harvest
from curator.text.probe import ProbeCorpus, ProbeSpec, build_probe
from curator.zoo.architectures import train_tokenizer
from curator.zoo.recipe import Family

DOMAINS = ("python", "docstrings")
ARCHITECTURES = ("neox", "gpt2", "opt")
_TOKENIZER_CHARS, _TOKENIZER_ENTRIES = 500_000, 4_096
_DOCUMENT_SPANS, _DOCUMENT_CHARS = (
    700,
    7_200,
)  # what embedded documents have at least in the mean, and at most with room


@dataclass(frozen=True, slots=True)
class Shape:
    """A model to be made; the MLP is four times as wide as ``hidden``."""

    architecture: str
    hidden: int
    layers: int
    heads: int
    vocabulary: int
    context: int

    @property
    def neurons(self) -> int:
        """MLP neurons over all layers."""
        return 4 * self.hidden * self.layers


TRUE_SHAPES = {
    "Pythia-160M": Shape("neox", 768, 12, 12, 50_304, 2_048),
    "GPT-2": Shape("gpt2", 768, 12, 12, 50_257, 1_024),
    "OPT-125M": Shape("opt", 768, 12, 12, 50_272, 2_048),
}


@cache
def probe(spans: int, max_document_spans: int = 2_048, min_chars: int = 200_000) -> ProbeCorpus:
    """About so many spans of Python source and docstrings, in equal parts, chosen from at least ``min_chars`` of each."""
    per_domain = spans // len(DOMAINS)
    documents = per_domain / min(max_document_spans, _DOCUMENT_SPANS)
    chars = max(min_chars, round(documents * _DOCUMENT_CHARS))
    domains = {name: (f"env:{name}?max_chars={chars}",) for name in DOMAINS}
    return build_probe(ProbeSpec(domains=domains, tokens_per_domain=per_domain, max_document_spans=max_document_spans))


def zoo(name: str, dtype: str = "float32") -> Backbone:
    """A bundled model on the CPU or the GPU that there is."""
    return ModelChoice(f"zoo:{name}", dtype=dtype).load()


def build(backbone: Backbone, corpus: ProbeCorpus, settings: AtlasSettings, folder: Path) -> Atlas:
    """The atlas, built and on disk: what every benchmark times as the atlas pass."""
    return build_atlas(backbone, corpus, settings, folder)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that goes with everything in it."""
    with TemporaryDirectory(prefix="curator-bench-") as folder:
        yield Path(folder)


def emptied(folder: Path) -> Path:
    """A path where nothing is, for the next build."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


@cache
def _tokenizer(architecture: str, entries: int) -> PreTrainedTokenizerFast:
    texts = [document.text for name in DOMAINS for document in harvest(name, max_chars=_TOKENIZER_CHARS)]
    family = Family(architecture, entries, 1.0, seed=0, starts_with_bos=architecture == "opt")
    return train_tokenizer(family, texts[ARCHITECTURES.index(architecture) :: len(ARCHITECTURES)])


def save_random_model(shape: Shape, folder: Path, seed: int = 0) -> Path:
    """A causal language model of this shape with random weights, and a tokenizer of its architecture's own."""
    torch.manual_seed(seed)
    transformers_logging.disable_progress_bar()
    tokenizer = deepcopy(_tokenizer(shape.architecture, min(shape.vocabulary, _TOKENIZER_ENTRIES)))
    tokenizer.model_max_length = shape.context
    AutoModelForCausalLM.from_config(_config(shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def random_model(shape: Shape, folder: Path, dtype: str = "float32", seed: int = 0) -> Backbone:
    """The same, loaded without its LM head; ``max_tokens`` is the shape's context."""
    loaded = load_backbone(str(save_random_model(shape, folder, seed)), dtype=dtype)
    return replace(loaded, name=folder.name)


def _config(shape: Shape) -> PreTrainedConfig:
    common: dict[str, Any] = {"vocab_size": shape.vocabulary, "bos_token_id": 0, "eos_token_id": 0}
    hidden, layers, heads = shape.hidden, shape.layers, shape.heads
    if shape.architecture == "gpt2":
        sizes = {"n_embd": hidden, "n_layer": layers, "n_head": heads, "n_positions": shape.context}
        return AutoConfig.for_model("gpt2", **common, **sizes)
    common |= {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    common |= {"max_position_embeddings": shape.context}
    if shape.architecture == "opt":
        return AutoConfig.for_model("opt", **common, ffn_dim=4 * hidden, word_embed_proj_dim=hidden, pad_token_id=0)
    return AutoConfig.for_model("gpt_neox", **common, intermediate_size=4 * hidden)
