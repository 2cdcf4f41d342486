"""``speedup_over_two_pass``: full identification of a pair here, against the paper's two-pass algorithm, at twelve layers.

Ours is all of it: both atlases to disk, the match, both kinds of null, q-values. The yardstick is ``two_pass``, which finds the
mutual pairs and nothing else, and is given float32 and our batches. Both run on the CPU, on two random models of twelve layers,
GPT-NeoX and GPT-2, with different tokenizers; their vocabulary is chosen so that the LM head costs what it costs a model of 160
million parameters (0.45 of the rest). All that the two-pass algorithm does is sums over the text, so it is timed on the first
part of the documents and multiplied by what the whole is of that part; ours runs on the whole. The searches of our match do
not grow with the text: on little text, as with ``--quick``, they weigh more than in use, and the detail gives the parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.harness import Row, note, seconds
from benchmarks.two_pass import Pairs, load_whole, two_pass
from benchmarks.worlds import Shape, build, probe, save_random_model, scratch
from curator.atlas.store import Atlas
from curator.lm.backbone import load_backbone
from curator.rosetta.neurons import RosettaNeurons, find_rosetta_neurons
from curator.settings import AtlasSettings, MatchSettings

_CONTEXT = 512
_LAYERS = 12
_HEAD_SHARE = 0.45


@dataclass(frozen=True, slots=True)
class _Setting:
    hidden: int
    spans: int
    two_pass_share: int
    """The two-pass algorithm runs on one in so many of the documents."""
    atlas: AtlasSettings


def speedup_rows(quick: bool) -> Iterator[Row]:
    """``speedup_over_two_pass``: one run of either."""
    setting = (
        _Setting(64, 12_000, 8, AtlasSettings(sketch_dimensions=256, held_back_spans=256))
        if quick
        else _Setting(128, 480_000, 12, AtlasSettings(sketch_dimensions=1_024, held_back_spans=4_096))
    )
    corpus = probe(setting.spans, max_document_spans=192)
    texts = [document.text for document in corpus.documents]
    part = texts[: len(texts) // setting.two_pass_share]
    scale = sum(map(len, texts)) / sum(map(len, part))
    with scratch() as folder:
        places = [
            save_random_model(_shape(architecture, setting.hidden), folder / architecture, seed)
            for seed, architecture in enumerate(("neox", "gpt2"))
        ]
        backbones = [load_backbone(str(place), device="cpu") for place in places]
        atlases: list[Atlas] = []
        rosetta: list[RosettaNeurons] = []

        def make_atlases() -> None:
            atlases.extend(build(b, corpus, setting.atlas, folder / f"atlas-{n}") for n, b in enumerate(backbones))

        atlas_s = seconds(make_atlases)
        match_s = seconds(lambda: rosetta.append(find_rosetta_neurons(atlases[0], atlases[1:], MatchSettings())))
        note(f"ours: {atlas_s:.1f} s for two atlases, {match_s:.1f} s for the match and its nulls")
        wholes = [load_whole(place) for place in places]
        pairs: list[Pairs] = []
        two_pass_s = seconds(lambda: pairs.append(two_pass(wholes[0], wholes[1], part, _CONTEXT)))
    whole_s = two_pass_s * scale
    detail = {
        "goal": "at least 10",
        "about": "two atlases, match and nulls, against the plain two-pass algorithm, at twelve layers",
        "ours_s": {"atlases": round(atlas_s, 2), "match_and_nulls": round(match_s, 2)},
        "two_pass_s": {"measured": round(two_pass_s, 2), "scale": round(scale, 4), "whole": round(whole_s, 2)},
        "speedup_without_match": round(whole_s / atlas_s, 2),
        "forward_passes": {"ours": 1, "two_pass": pairs[0].forwards},
        "neurons": [backbone.neurons for backbone in backbones],
        "spans": corpus.spans,
        "two_pass_spans": pairs[0].spans,
        "matches": len(rosetta[0].peers[0].matches),
        "two_pass_pairs_on_its_part": len(pairs[0].first),
        "sketch_dimensions": setting.atlas.sketch_dimensions,
        "held_back_spans": setting.atlas.held_back_spans,
    }
    yield Row("speedup_over_two_pass", whole_s / (atlas_s + match_s), "time ratio, higher is better", detail)


def _shape(architecture: str, hidden: int) -> Shape:
    body = 12 * hidden * hidden * _LAYERS  # weights of attention and MLP
    return Shape(architecture, hidden, _LAYERS, max(2, hidden // 64), round(_HEAD_SHARE * body / hidden), _CONTEXT)
