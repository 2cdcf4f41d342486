"""Where the time goes: atlas against bare forward pass, truncated against full scoring, gRPC against local, matching.

Everything is compared within one run, in turn, and reported as a ratio of medians; absolute rates are those of this machine
at this hour. Uses the bundled models and the embedded corpus.

    python benchmarks/bench_speed.py [--quick] [--json FILE] [--size 128x4]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from curator_client import Client
from curator_server.app import running_server
from curator_server.settings import ServerSettings

from curator.atlas.build import build_atlas
from curator.lm.batching import micro_batches, windows
from curator.neuronset.build import build_neuron_set
from curator.neuronset.identify import ModelChoice
from curator.records import Score
from curator.rosetta.neurons import find_rosetta_neurons
from curator.scoring.scorer import NeuronSetScorer
from curator.settings import AtlasSettings, MatchSettings, NeuronSetSettings
from curator.text.environment import harvest
from curator.text.probe import ProbeSpec, build_probe

DOMAINS = ("python", "cpp", "docstrings")


def seconds(run: Callable[[], object], rounds: int) -> float:
    """Median wall time of a few runs after one that is not counted."""
    run()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def measure(size: str, quick: bool) -> dict[str, float]:
    rounds, spans, documents = (2, 8_000, 128) if quick else (5, 40_000, 1_024)
    domains = {name: (f"env:{name}?max_chars=2000000",) for name in DOMAINS}
    corpus = build_probe(ProbeSpec(domains=domains, tokens_per_domain=spans, max_document_spans=128))
    settings = AtlasSettings(sketch_dimensions=1024, held_back_spans=4096)
    loaded = {name: ModelChoice(f"zoo:{name}-{size}").load() for name in ("neox", "gpt2", "opt")}
    anchor = loaded["neox"]
    texts = [document.text for document in corpus.documents]

    def forward() -> None:
        with torch.inference_mode():
            for batch in micro_batches(windows(anchor.tokenizer, texts, anchor.max_tokens), 8192):
                anchor.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)

    forward_s = seconds(forward, rounds)
    atlas_s = seconds(lambda: build_atlas(anchor, corpus, settings), rounds)
    atlases = [build_atlas(backbone, corpus, settings) for backbone in loaded.values()]
    match_s = seconds(lambda: find_rosetta_neurons(atlases[0], atlases[1:], MatchSettings()), rounds)
    rosetta = find_rosetta_neurons(atlases[0], atlases[1:], MatchSettings())
    neuron_set = build_neuron_set(
        anchor, rosetta, corpus, ["cpp"], name="bench", settings=NeuronSetSettings(), match_settings=MatchSettings()
    )
    scorer = NeuronSetScorer(anchor, neuron_set, "cpp")
    pool = [document for name in DOMAINS for document in harvest(name, max_chars=2_000_000)][:documents]
    tokens = sum(result.tokens for result in scorer.score(pool) if isinstance(result, Score))
    local_s = seconds(lambda: scorer.score(pool), rounds)
    with running_server(ServerSettings(port=0), [scorer]) as address, Client(address) as client:
        remote_s = seconds(lambda: list(client.score(pool)), rounds)
    return {
        "atlas / forward pass": atlas_s / forward_s,
        "matching / forward pass": match_s / forward_s,
        "scored tokens per second, local": tokens / local_s,
        "gRPC / local": remote_s / local_s,
        "neurons of the anchor": float(anchor.neurons),
        "probe spans": float(corpus.spans),
        "pool tokens": float(tokens),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller inputs, two rounds")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--size", default="128x4", help="a size of the bundled models")
    options = parser.parse_args()
    found = measure(options.size, options.quick)
    for name, value in found.items():
        print(f"{name:36} {value:12,.2f}")
    if options.json:
        options.json.write_text(json.dumps({"size": options.size, "quick": options.quick, **found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
