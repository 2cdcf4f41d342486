"""The bundled models on real labelled text: what independent training shares, what chance gives, and what neurons tell apart."""

from pathlib import Path

import numpy as np
import pytest

from curator.atlas.domains import auroc_N
from curator.neuronset.identify import ModelChoice, Silent, atlas_of
from curator.neuronset.parts import Part, document_parts
from curator.rosetta.neurons import RosettaNeurons, find_rosetta_neurons
from curator.settings import AtlasSettings, MatchSettings, NeuronSetSettings
from curator.text.probe import ProbeSpec, build_probe

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"
DOMAINS = ("biomedical", "fiction", "german_law", "legal", "math_latex", "math_word_problems", "political_speech")

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CORPORA.is_dir(), reason="the labelled corpora are not beside this checkout"),
]


@pytest.fixture(scope="module")
def rosetta(tmp_path_factory: pytest.TempPathFactory) -> RosettaNeurons:
    domains = {name: (str(CORPORA / f"{name}.jsonl.zst"),) for name in DOMAINS}
    corpus = build_probe(ProbeSpec(domains=domains, tokens_per_domain=9_000, max_document_spans=128, split="train"))
    settings = AtlasSettings(sketch_dimensions=1024, held_back_spans=4096)
    folder = tmp_path_factory.mktemp("atlases")
    models = [ModelChoice(f"zoo:{family}-128x4") for family in ("neox", "gpt2", "opt")]
    anchor, *peers = (atlas_of(model, corpus, settings, folder, Silent())[0] for model in models)
    return find_rosetta_neurons(anchor, peers, MatchSettings())


def test_matches_correlate_on_real_text_and_not_on_deranged_documents(rosetta: RosettaNeurons) -> None:
    for peer in rosetta.peers:
        assert peer.matches.rho.mean() > 0.4
        assert all(np.abs(null.rho).mean() < 0.5 * peer.matches.rho.mean() for null in peer.deranged)


def test_the_strict_rule_finds_neurons_and_next_to_none_in_deranged_documents(rosetta: RosettaNeurons) -> None:
    assert rosetta.counts()["strict"] >= 8
    assert rosetta.null_counts["deranged_strict"] <= 1


def test_for_most_domains_a_single_rosetta_neuron_ranks_unseen_sources_well(rosetta: RosettaNeurons) -> None:
    atlas = rosetta.anchor
    domain_D = np.asarray([entry.domain for entry in atlas.manifest.documents])
    parts_D = document_parts(atlas, NeuronSetSettings())
    fit, report = parts_D == Part.FIT, parts_D != Part.FIT
    values_DR = atlas["document_mean_DN"][:, rosetta.index]
    good = 0
    for domain in DOMAINS:
        best = int(np.argmax(auroc_N(values_DR[fit], domain_D[fit] == domain)))
        good += float(auroc_N(values_DR[report][:, [best]], domain_D[report] == domain)[0]) > 0.9
    assert good >= len(DOMAINS) - 2
