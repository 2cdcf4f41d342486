"""A small world for the scientific core: three grossly different domains, and untrained models of three architectures.

The models have weights large enough for neurons to tell tokens apart, and short windows, so that documents are cut.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from curator.atlas.build import build_atlas
from curator.atlas.pooling import overlaps
from curator.atlas.spankeys import SpanKeys
from curator.atlas.store import Atlas
from curator.lm.backbone import Backbone, load_backbone
from curator.lm.batching import windows
from curator.records import Document
from curator.settings import AtlasSettings
from curator.text.probe import ProbeCorpus, probe_fingerprint
from curator.text.segmentation import universal_spans
from curator.zoo.architectures import train_tokenizer
from curator.zoo.recipe import Family

os.environ["HF_HUB_OFFLINE"] = "1"
DOMAINS = ("letters", "digits", "marks")
SETTINGS = AtlasSettings(sketch_dimensions=256, folds=4, held_back_spans=1024, min_active_spans=20, top_contexts=6)
_WORDS = ("lorem", "ipsum", "dolor", "sit", "amet", "sed", "diam", "nonumy", "tempor", "invidunt", "ut", "labore")
_MARKS = ("++", "--", "**", "//", "==", "!=", "<=", "&&", "||", "::", "->", "=>", "??", "!!", "##", "%%")
_SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
_SHAPES: dict[str, dict[str, object]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_inner": 48, "n_positions": 64},
    "gpt_neox": _SIZE | {"max_position_embeddings": 64},
    "llama": _SIZE | {"max_position_embeddings": 64, "num_key_value_heads": 2},
}
_FAMILIES = {
    "gpt2": Family("gpt2", vocabulary=320, tokenizer_sample=1.0, seed=1, starts_with_bos=False),
    "gpt_neox": Family("neox", vocabulary=380, tokenizer_sample=1.0, seed=2, starts_with_bos=False),
    "llama": Family("llama", vocabulary=300, tokenizer_sample=1.0, seed=3, starts_with_bos=True),
}


def make_text(domain: str, generator: np.random.Generator, words: int) -> str:
    """Random text of one domain, with a little of the others in it and a few characters of several bytes."""
    own = {"letters": _WORDS, "digits": [str(n) for n in range(10, 99)], "marks": _MARKS}[domain]
    common = ["the", "ß", "東京", "7", "\n"]
    return " ".join(
        str(generator.choice(own)) if generator.random() > 0.2 else str(generator.choice(common)) for _ in range(words)
    )


@cache
def make_corpus(per_domain: int = 60, seed: int = 0) -> ProbeCorpus:
    """A labelled corpus; every document is a source of its own. The domains' documents differ in length."""
    generator = np.random.default_rng(seed)
    documents = []
    for domain, low in zip(DOMAINS, (30, 40, 20), strict=True):
        for number in range(per_domain):
            text = make_text(domain, generator, int(generator.integers(low, low + 30)))
            documents.append(Document(f"{domain}-{number}", text, domain, f"{domain}/{number}"))
    ordered = tuple(documents[index] for index in generator.permutation(len(documents)))
    spans = {d: sum(len(universal_spans(x.text)) for x in documents if x.domain == d) for d in DOMAINS}
    return ProbeCorpus(ordered, DOMAINS, probe_fingerprint(ordered), spans)


def _tell_tokens_apart(embedding_VH: torch.Tensor, tokens: list[str]) -> None:
    """Move tokens by what they are made of, each model in directions of its own: what training would have models share."""
    features_V12 = torch.zeros(len(tokens), 12)
    for row, token in enumerate(tokens):
        bare = token.lstrip("Ġ") or token
        kind = 0 if bare[0].isdigit() else 1 if bare[0].isascii() and bare[0].isalpha() else 2
        features_V12[row, kind] = 0.5
        features_V12[row, 3 + ord(bare[0]) % 9] = 1.0
    embedding_VH += 0.6 * features_V12 @ torch.randn(12, embedding_VH.shape[1])


@cache
def make_backbone(kind: str, root: Path, seed: int = 0) -> Backbone:
    """A tiny untrained model with a tokenizer of its own, saved and loaded as any other model is."""
    torch.manual_seed(len(kind) + seed)
    tokenizer = train_tokenizer(_FAMILIES[kind], [document.text for document in make_corpus().documents])
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=0, pad_token_id=0, **_SHAPES[kind]
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        _tell_tokens_apart(model.get_input_embeddings().weight, tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
    folder = root / f"core-{kind}-{seed}"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load_backbone(str(folder), device="cpu", max_tokens=40)


@cache
def make_atlas(kind: str, root: Path) -> Atlas:
    """The atlas of a tiny model on the default corpus."""
    return build_atlas(make_backbone(kind, root), make_corpus(), SETTINGS, root / f"core-atlas-{kind}")


def raw_spans(backbone: Backbone, corpus: ProbeCorpus, settings: AtlasSettings = SETTINGS) -> Iterator[np.ndarray]:
    """For each document the value of every span, (S, N) float64, NaN where uncovered: one window at a time, plain hooks."""
    captured: dict[int, torch.Tensor] = {}
    handles = [
        site.down.register_forward_pre_hook(lambda _, x, layer=site.layer: captured.__setitem__(layer, x[0].clone()))
        for site in backbone.sites
    ]
    try:
        for document in corpus.documents:
            spans = universal_spans(document.text)
            mine = windows(backbone.tokenizer, [document.text], backbone.max_tokens, settings.skip_tokens)
            out = np.full((len(spans), sum(site.width for site in backbone.sites)), np.nan)
            parts = overlaps(spans, [w.bytes_T2 for w in mine], [w.scored for w in mine])
            for window, part in zip(mine, parts, strict=True):
                with torch.no_grad():
                    backbone.model(input_ids=torch.from_numpy(window.input_ids).long()[None], use_cache=False)
                hidden = (
                    torch.cat([captured[s.layer].reshape(len(window), -1) for s in backbone.sites], 1).double().numpy()
                )
                for number, span in enumerate(part.spans):
                    chosen = part.row == number
                    weight = part.weight[chosen].astype(np.float64)
                    out[span] = (weight[:, None] * hidden[part.token[chosen]]).sum(0) / weight.sum()
            out[: settings.skip_spans] = np.nan
            yield out
    finally:
        for handle in handles:
            handle.remove()


def split_spans(
    backbone: Backbone, corpus: ProbeCorpus, settings: AtlasSettings = SETTINGS
) -> tuple[np.ndarray, np.ndarray]:
    """Raw values of the spans in the signatures (T, N) and of the held-back ones (V, N); NaN where uncovered."""
    keys = SpanKeys(corpus, settings)
    sketched, held = [], np.full((keys.held_back, sum(s.width for s in backbone.sites)), np.nan)
    for index, values in enumerate(raw_spans(backbone, corpus, settings)):
        slot = keys.places(index).slot
        held[slot[slot >= 0]] = values[slot >= 0]
        sketched.append(values[(slot < 0) & (np.arange(len(values)) >= settings.skip_spans)])
    return np.concatenate(sketched), held
