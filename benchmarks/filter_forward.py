"""Scoring against forward passes: ``filter_over_truncated_forward``, ``filter_over_full_forward``, ``layers_used_fraction``.

Ours goes from documents to scores on a made-up neuron set: tokenising, span weights, batches, the truncated pass, features,
calibration, explanations. The truncated forward is given our batches ready-made and reads nothing from them. The full forward is
what people write: the tokenizer pads batches of documents as they come, the causal language model runs all its layers with a
padding mask and makes logits. The set's deepest neuron lies at two thirds of the depth (at three of four layers of the bundled
model). Values are ratios of throughput, ours over theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from benchmarks.filter_world import made_up_set
from benchmarks.harness import Paired, Row, note, paired, rounded
from benchmarks.worlds import Shape, probe, save_random_model, scratch, zoo
from curator.lm.backbone import Backbone, load_backbone
from curator.lm.taps import tap
from curator.neuronset.groups import Group, batch_budget, make_group, pieces
from curator.records import Document
from curator.scoring.scorer import NeuronSetScorer

_BATCH = 8
_QUICK = Shape("neox", 256, 6, 4, 4_096, 1_024)
_FULL = Shape("neox", 768, 12, 12, 50_304, 2_048)


def forward_rows(quick: bool) -> Iterator[Row]:
    """All three rows."""
    documents = list(probe(6_000 if quick else 60_000, 512).documents)
    models: dict[str, tuple[Paired, int]] = {}
    zoo_model = zoo("neox-128x4")
    models[zoo_model.name] = _against_truncated(zoo_model, 3, documents, 2 if quick else 15)
    with scratch() as folder:
        shape = _QUICK if quick else _FULL
        saved = save_random_model(shape, folder / "model")
        backbone, depth = load_backbone(str(saved)), 2 * shape.layers // 3
        few = documents[: 6 if quick else 24]
        name = f"random {shape.hidden}x{shape.layers}"
        models[name] = _against_truncated(backbone, depth, few, 2 if quick else 3)
        yield _truncated_row(models)
        full, tokens = _against_full(backbone, saved, depth, few, 1 if quick else 3)
    share = depth / shape.layers
    detail = {
        "goal": f"at least {1 / share:.2f}",
        "about": "documents to scores against a padded full forward with logits, throughput",
        "model": name,
        "tokens": tokens,
        "ours_s": rounded(full.second_s),
        "full_forward_s": rounded(full.first_s),
    }
    yield Row("filter_over_full_forward", full.ratio, "throughput ratio, higher is better", detail)
    about = "layers that scoring reads, of all; the row above should be one over this"
    yield Row("layers_used_fraction", share, "share of layers", {"about": about, "model": name})


def _truncated_row(models: dict[str, tuple[Paired, int]]) -> Row:
    for name, (times, _) in models.items():
        note(f"{name}: {times.ratio:.3f}")
    detail = {
        "goal": "at least 0.95",
        "about": "documents to scores against the bare truncated forward of the same batches, throughput; the worst model",
        "models": {
            name: {
                "ratio": round(times.ratio, 4),
                "tokens": tokens,
                "forward_s": rounded(times.first_s),
                "ours_s": rounded(times.second_s),
            }
            for name, (times, tokens) in models.items()
        },
    }
    worst = min(times.ratio for times, _ in models.values())
    return Row("filter_over_truncated_forward", worst, "throughput ratio, higher is better", detail)


def _against_truncated(
    backbone: Backbone, depth: int, documents: Sequence[Document], rounds: int
) -> tuple[Paired, int]:
    scorer = NeuronSetScorer(backbone, made_up_set(backbone, depth))
    choice, groups = scorer.neuron_set.choice, _groups(backbone, documents)

    def forward() -> None:
        with torch.inference_mode(), tap(backbone, choice.layers, rows=choice.units) as tapped:
            for group in groups:
                for batch in group.batches:
                    tapped.run(batch.input_ids)

    forward()
    scorer.score(documents)
    tokens = sum(int(group.tokens_D.sum()) for group in groups)
    return paired(forward, lambda: scorer.score(documents), rounds), tokens


def _groups(backbone: Backbone, documents: Sequence[Document]) -> list[Group]:
    texts = [document.text for document in documents]
    return [make_group(backbone, part, 4) for part, _ in pieces([texts], batch_budget(backbone))]


def _against_full(
    backbone: Backbone, folder: Path, depth: int, documents: Sequence[Document], rounds: int
) -> tuple[Paired, int]:
    scorer = NeuronSetScorer(backbone, made_up_set(backbone, depth))
    whole = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    backbone.tokenizer.pad_token = backbone.tokenizer.pad_token or backbone.tokenizer.convert_ids_to_tokens(0)

    def plain() -> None:
        with torch.inference_mode():
            for start in range(0, len(documents), _BATCH):
                texts = [document.text for document in documents[start : start + _BATCH]]
                whole(
                    **backbone.tokenizer(
                        texts,
                        padding=True,
                        truncation=True,
                        max_length=backbone.max_tokens,
                        return_tensors="pt",
                        return_token_type_ids=False,
                    )
                )

    scorer.score(documents[:_BATCH])
    tokens = sum(int(group.tokens_D.sum()) for group in _groups(backbone, documents))
    return paired(plain, lambda: scorer.score(documents), rounds), tokens
