"""A neuron set of the bundled 128x4 model carried to the 192x6 one without a label filters real text nearly as well."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from curator.neuronset.artifact import NeuronSet
from curator.neuronset.build import build_neuron_set
from curator.neuronset.identify import ModelChoice, Silent, atlas_of
from curator.neuronset.transfer import transfer
from curator.records import Score
from curator.rosetta.neurons import find_rosetta_neurons
from curator.scoring.scorer import NeuronSetScorer
from curator.settings import AtlasSettings, MatchSettings, NeuronSetSettings
from curator.text.probe import ProbeCorpus, ProbeSpec, build_probe

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"
DOMAINS = ("biomedical", "fiction", "legal", "political_speech", "wikipedia")
TARGETS = ("political_speech", "wikipedia")
SOURCE, TO = ModelChoice("zoo:neox-128x4"), ModelChoice("zoo:neox-192x6")
SETTINGS = AtlasSettings(sketch_dimensions=1024, held_back_spans=2048)

pytestmark = [
    pytest.mark.shared,
    pytest.mark.slow,
    pytest.mark.skipif(not CORPORA.is_dir(), reason="the labelled corpora are not beside this checkout"),
]


def _corpus(split: str, spans: int) -> ProbeCorpus:
    domains = {name: (str(CORPORA / f"{name}.jsonl.zst"),) for name in DOMAINS}
    return build_probe(
        ProbeSpec(domains=domains, tokens_per_domain=spans, max_document_spans=96, split=split)  # pyright: ignore
    )


def _precision(neuron_set: NeuronSet, model: ModelChoice, unseen: ProbeCorpus, target: str) -> float:
    results = NeuronSetScorer(model.load(), neuron_set, target, "linear").score(unseen.documents)
    scored = [
        (d.domain == target, r.value) for d, r in zip(unseen.documents, results, strict=True) if isinstance(r, Score)
    ]
    truth, values = (np.asarray(column) for column in zip(*scored, strict=True))
    return float(average_precision_score(truth, values))


def test_a_carried_set_ranks_unseen_text_nearly_as_the_set_it_was_carried_from(tmp_path: Path) -> None:
    corpus, unseen = _corpus("train", 6_000), _corpus("pool", 2_000)
    peers = [atlas_of(ModelChoice("zoo:gpt2-128x4"), corpus, SETTINGS, tmp_path, Silent())[0]]
    anchor, backbone = atlas_of(SOURCE, corpus, SETTINGS, tmp_path, Silent())
    source = build_neuron_set(
        backbone, find_rosetta_neurons(anchor, peers, MatchSettings()), corpus, TARGETS, name="source",
        settings=NeuronSetSettings(), match_settings=MatchSettings(),
    )  # fmt: skip
    carried = transfer(
        source, SOURCE, TO, corpus, name="carried", atlases=tmp_path, atlas_settings=SETTINGS,
        match_settings=MatchSettings(),
    )  # fmt: skip
    origin = carried.manifest.transferred_from
    assert origin is not None and len(origin.dropped) < len(source.manifest.neurons) / 2
    for target in TARGETS:
        here, there = (_precision(made, model, unseen, target) for made, model in ((source, SOURCE), (carried, TO)))
        assert there > 0.6 and there > here - 0.1, (target, here, there)
