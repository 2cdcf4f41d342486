"""Trains zoo models one after another; files each as a folder: config, fp16 safetensors, tokenizer, model card.

``train_zoo`` skips what is already there, so it can be killed and started again, and two processes can share the work
by naming different models. Each finished model's folder holds ``training.json`` (recipe, seed, loss curve, held-out loss,
corpus fingerprint, seconds); together they are the zoo's log. Cost: see ``trainer``. It does not know where the
package keeps its weights.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from curator import fingerprint
from curator.files import atomic_folder, write_json
from curator.records import Document
from curator.text.splits import SPLIT_RULE, Split
from curator.zoo import recipe, trainer
from curator.zoo.architectures import train_tokenizer
from curator.zoo.corpus import corpus_fingerprint, zoo_documents
from curator.zoo.recipe import Family, ZooModel

log = logging.getLogger(__name__)
OnStep = Callable[[str, int, int, float], None]
_HELD_OUT_DOCUMENTS = 600


def train_zoo(
    models: Sequence[ZooModel],
    corpora: Path,
    out: Path,
    work: Path,
    *,
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> None:
    """Train the given models into ``out/<name>``; checkpoints live in ``work`` until a model is finished."""
    training = zoo_documents(corpora, Split.TRAIN)
    held_out = [document.text for document in zoo_documents(corpora, Split.TEST)]
    held_out = sorted(held_out, key=fingerprint.of_text)[:_HELD_OUT_DOCUMENTS]
    tokenizers: dict[str, PreTrainedTokenizerFast] = {}
    for spec in models:
        if (out / spec.name / "training.json").exists():
            log.info("already trained", extra={"model": spec.name})
            continue
        family = spec.family
        if family.name not in tokenizers:
            tokenizers[family.name] = train_tokenizer(family, tokenizer_sample(family, training))
        _train_one(
            spec, tokenizers[family.name], training, held_out, out=out, work=work, device=device, on_step=on_step
        )


def tokenizer_sample(family: Family, documents: Sequence[Document]) -> list[str]:
    """The family's own share of the training text, drawn by hash: no two tokenizers learn from the same sample."""
    return [
        document.text
        for document in documents
        if fingerprint.unit_interval("tokenizer", family.name, document.id) < family.tokenizer_sample
    ]


def _train_one(
    spec: ZooModel,
    tokenizer: PreTrainedTokenizerFast,
    training: Sequence[Document],
    held_out: Sequence[str],
    *,
    out: Path,
    work: Path,
    device: str,
    on_step: OnStep | None,
) -> None:
    started = time.monotonic()
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = work / f"{spec.name}.safetensors"
    rows = trainer.pack(
        tokenizer,
        [document.text for document in training],
        spec.seed,
        trainer.steps_in_budget() * recipe.SEQUENCES_PER_STEP,
    )
    curve: list[tuple[int, float]] = []

    def note(step: int, steps: int, loss: float) -> None:
        curve.append((step, round(loss, 4)))
        if on_step:
            on_step(spec.name, step, steps, loss)

    model = trainer.train_model(spec, rows, checkpoint, device=device, progress=note)
    loss = trainer.held_out_loss(model, tokenizer, held_out)
    entry = {
        "name": spec.name,
        "recipe_version": recipe.RECIPE_VERSION,
        "seed": spec.seed,
        "peak_learning_rate": spec.peak_rate,
        "neurons": spec.neurons,
        "parameters": model.num_parameters(),
        "vocabulary": spec.family.vocabulary,
        "training_tokens": int(rows.size),
        "training_corpus": corpus_fingerprint(list(training)),
        "split": SPLIT_RULE,
        "held_out": asdict(loss),
        "seconds_since_last_start": round(time.monotonic() - started, 1),
        "device": device,
        "torch": str(torch.__version__),
        "loss_curve": curve,
    }
    with atomic_folder(out / spec.name) as folder:
        model.half().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(model_card(spec, entry), encoding="utf-8")
        write_json(folder / "training.json", entry)
    checkpoint.unlink(missing_ok=True)
    log.info("trained", extra={"model": spec.name, "held_out": asdict(loss)})


def model_card(spec: ZooModel, entry: dict[str, Any]) -> str:
    """The card that lies beside a model's weights."""
    loss = entry["held_out"]
    return f"""---
library_name: transformers
tags: [rosetta-curator, zoo]
---
# {spec.name}

A tiny {spec.family.name} language model for tests and demonstrations of rosetta-curator.
Do not use it to generate text.

| | |
|---|---|
| hidden size, layers, MLP neurons | {spec.size.hidden}, {spec.size.layers}, {spec.neurons} |
| parameters (tied embedding) | {entry["parameters"]:,} |
| vocabulary (byte-level BPE, own sample) | {spec.family.vocabulary:,} |
| context | {recipe.CONTEXT_TOKENS} tokens |
| training tokens, passes | {entry["training_tokens"]:,}, less than one |
| seed | {spec.seed} |
| held-out loss | {loss["nats_per_token"]:.3f} nats per token, {loss["bits_per_byte"]:.3f} bits per byte |

Trained by `curator zoo train` on the training split (60 % of sources) of eight labelled text domains and two embedded
code domains. The texts are public-domain, openly licensed or share-alike; the sources and licences are listed with the
corpora. Weights are stored in fp16; `training.json` has the loss curve and the fingerprints.
"""
