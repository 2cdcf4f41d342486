"""Scoring: what a document costs beside a bare forward pass, and what the wire adds to it.

    python benchmarks/serving.py [--quick] [--json FILE] [--only SECTION]

A neuron set is made from the bundled models first, untimed. Rows: ``scoring_over_forward``, documents to calibrated scores
against the bare base model on the same windows; ``scoring_tokens_per_second``; ``grpc_over_local``, the same documents through
a server in another thread of this process against the scorer called directly, so that both share the cores.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from curator_client import Client
from curator_server.app import running_server
from curator_server.settings import ServerSettings

from benchmarks.harness import Row, Section, paired, rounded, run_benchmark
from benchmarks.worlds import DOMAINS, build, probe, scratch, zoo
from curator.lm.backbone import Backbone
from curator.lm.batching import micro_batches, windows
from curator.neuronset.build import build_neuron_set
from curator.records import Document, Score
from curator.rosetta.neurons import find_rosetta_neurons
from curator.scoring.scorer import NeuronSetScorer
from curator.settings import AtlasSettings, MatchSettings, NeuronSetSettings
from curator.text.environment import harvest

_SIZE = "128x4"
_TARGET = "python"


def serving_rows(quick: bool) -> Iterator[Row]:
    """All rows; the pool is documents of the probe's domains, some of them the probe's own, for speed does not care."""
    documents, spans, rounds = (20, 16_000, 2) if quick else (256, 40_000, 5)
    scorer, backbone = _scorer(spans)
    pool = [document for name in DOMAINS for document in harvest(name, max_chars=2_000_000)][:documents]
    tokens = sum(result.tokens for result in scorer.score(pool) if isinstance(result, Score))
    _forward(backbone, pool)
    against_forward = paired(lambda: scorer.score(pool), lambda: _forward(backbone, pool), rounds)
    sizes = {"model": backbone.name, "documents": len(pool), "tokens": tokens, "rounds": rounds}
    yield Row(
        "scoring_over_forward",
        against_forward.ratio,
        "time ratio, lower is better",
        {"goal": "about 1", "about": "documents to scores over the bare forward pass of the whole base model", **sizes},
    )
    rate = tokens / min(against_forward.first_s)
    seconds = rounded(against_forward.first_s)
    about = "scored tokens per second of the best round, called directly"
    yield Row("scoring_tokens_per_second", rate, "tokens/s", {"about": about, "seconds": seconds, **sizes})
    with running_server(ServerSettings(port=0), [scorer]) as address, Client(address) as client:
        list(client.score(pool))
        wire = paired(lambda: list(client.score(pool)), lambda: scorer.score(pool), rounds)
    about = "time of the same documents through gRPC over the scorer called directly"
    yield Row(
        "grpc_over_local", wire.ratio, "time ratio, lower is better", {"goal": "about 1", "about": about, **sizes}
    )


def _scorer(spans: int) -> tuple[NeuronSetScorer, Backbone]:
    corpus = probe(spans, 64, 2_000_000)  # many sources, for a neuron set is chosen and calibrated on different ones
    settings = AtlasSettings(sketch_dimensions=1_024, held_back_spans=2_048)
    anchor, *peers = (zoo(f"{name}-{_SIZE}") for name in ("neox", "gpt2"))
    with scratch() as folder:
        atlases = [build(model, corpus, settings, folder / str(n)) for n, model in enumerate((anchor, *peers))]
        rosetta = find_rosetta_neurons(atlases[0], atlases[1:], MatchSettings())
        neuron_set = build_neuron_set(
            anchor,
            rosetta,
            corpus,
            [_TARGET],
            name="bench",
            settings=NeuronSetSettings(),
            match_settings=MatchSettings(),
        )
    return NeuronSetScorer(anchor, neuron_set, _TARGET), anchor


def _forward(backbone: Backbone, pool: list[Document]) -> None:
    texts = [document.text for document in pool]
    with torch.inference_mode():
        for batch in micro_batches(windows(backbone.tokenizer, texts, backbone.max_tokens), 8_192):
            backbone.model(
                input_ids=batch.input_ids.to(backbone.device),
                attention_mask=batch.attention_mask.to(backbone.device),
                use_cache=False,
            )


SECTIONS: dict[str, Section] = {"serving": serving_rows}

if __name__ == "__main__":
    run_benchmark("serving", __doc__ or "", SECTIONS)
