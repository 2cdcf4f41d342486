"""Our forward pass against the best plain loop: ``forward_over_plain_loop``, in float32 and where there is hardware in bfloat16.

Both go from texts to the last MLP's neurons or beyond: tokenise, batch, run. The plain loop is what a careful user of
transformers writes: tokenise all texts, sort them by length, pad batches of a fixed number of texts, base model without LM
head, no cache, inference mode, with the best of a few batch sizes, found beforehand on some of them. Ours cuts windows with
byte offsets, makes batches by a token budget, and taps the neurons of every layer. Texts are no longer than a window, so both run
the same tokens. The value is the ratio of throughputs, ours over plain, above 1 when ours is faster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from benchmarks.harness import Row, machine, note, paired, rounded, seconds
from benchmarks.worlds import Shape, probe, random_model, scratch
from curator.lm.backbone import Backbone
from curator.lm.batching import fitting_budget, micro_batches, windows
from curator.lm.taps import tap

_BATCH_SIZES = (4, 8, 16)
_QUICK = Shape("gpt2", 192, 4, 6, 4_096, 1_024)
_FULL = Shape("gpt2", 512, 8, 8, 4_096, 1_024)


@dataclass(frozen=True, slots=True)
class _Setting:
    shape: Shape
    spans: int
    rounds: int


def our_pass(backbone: Backbone, texts: Sequence[str]) -> int:
    """Windows, micro-batches, the neurons of all layers; returns the number of tokens read."""
    read = 0
    with torch.inference_mode(), tap(backbone) as tapped:
        found = windows(backbone.tokenizer, texts, backbone.max_tokens, max_windows=1)
        budget = fitting_budget(max(site.width for site in backbone.sites), backbone.device)
        for batch in micro_batches(found, budget):
            tapped.run(batch.input_ids, consume=lambda *_: None)
            read += batch.tokens
    return read


def plain_pass(backbone: Backbone, texts: Sequence[str], batch_size: int) -> int:
    """The plain loop; returns the number of tokens read."""
    ids = backbone.tokenizer(list(texts), truncation=True, max_length=backbone.max_tokens)["input_ids"]
    rows = [torch.tensor(row) for row in sorted(ids, key=len, reverse=True)]
    with torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            chunk = rows[start : start + batch_size]
            lengths = torch.tensor([len(row) for row in chunk])
            padded = torch.nn.utils.rnn.pad_sequence(chunk, batch_first=True).to(backbone.device)
            mask = (torch.arange(padded.shape[1]) < lengths[:, None]).long().to(backbone.device)
            backbone.model(input_ids=padded, attention_mask=mask, use_cache=False)
    return sum(len(row) for row in rows)


def forward_rows(quick: bool) -> Iterator[Row]:
    """``forward_over_plain_loop``, and the same in bfloat16 where the processor multiplies it or there is a GPU."""
    setting = _Setting(_QUICK, 2_500, 2) if quick else _Setting(_FULL, 12_000, 3)
    fast = machine()
    yield _row("forward_over_plain_loop", setting, "float32")
    if fast["accelerator"] or {"avx512_bf16", "amx_bf16"} & set(fast["instructions"]):
        yield _row("forward_over_plain_loop_bf16", setting, "bfloat16")


def _row(name: str, setting: _Setting, dtype: str) -> Row:
    texts = [document.text for document in probe(setting.spans, max_document_spans=512).documents]
    with scratch() as folder:
        backbone = random_model(setting.shape, folder / "model", dtype)
        few = texts[: max(_BATCH_SIZES)]
        plain_pass(backbone, few, _BATCH_SIZES[0])
        trial = {size: seconds(lambda size=size: plain_pass(backbone, few, size)) for size in _BATCH_SIZES}
        best = min(trial, key=lambda size: trial[size])
        note(f"plain loop in {dtype}: batches of {best} texts are the fastest")
        plain_tokens, our_tokens = plain_pass(backbone, texts, best), our_pass(backbone, texts)
        times = paired(lambda: plain_pass(backbone, texts, best), lambda: our_pass(backbone, texts), setting.rounds)
    detail = {
        "goal": "at least 1.0",
        "about": f"throughput of our batches and taps over the best plain loop, {dtype}, texts to neurons",
        "hidden": setting.shape.hidden,
        "layers": setting.shape.layers,
        "texts": len(texts),
        "tokens": our_tokens,
        "plain_tokens": plain_tokens,
        "plain_batch_size": best,
        "our_tokens_per_second": rounded((our_tokens / s for s in times.second_s), 1),
        "plain_tokens_per_second": rounded((plain_tokens / s for s in times.first_s), 1),
    }
    return Row(name, times.ratio * our_tokens / plain_tokens, "throughput ratio, higher is better", detail)
