"""The strict rule on models that never learnt anything: the zoo's configurations and tokenizers with random weights."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from curator.neuronset.identify import ModelChoice, Silent, atlas_of
from curator.rosetta.neurons import RosettaNeurons, find_rosetta_neurons
from curator.settings import AtlasSettings, MatchSettings
from curator.text.probe import ProbeCorpus, ProbeSpec, build_probe
from curator.zoo.catalog import zoo_path

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"
DOMAINS = ("biomedical", "fiction", "german_law", "legal", "math_latex", "math_word_problems", "political_speech")
SETTINGS = AtlasSettings(sketch_dimensions=1024, held_back_spans=4096)
FAMILIES = ("neox", "gpt2")

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CORPORA.is_dir(), reason="the labelled corpora are not beside this checkout"),
]


@pytest.fixture(scope="module")
def corpus() -> ProbeCorpus:
    domains = {name: (str(CORPORA / f"{name}.jsonl.zst"),) for name in DOMAINS}
    return build_probe(ProbeSpec(domains=domains, tokens_per_domain=5_000, max_document_spans=128, split="train"))


def _untrained(name: str, folder: Path, seed: int) -> ModelChoice:
    """A zoo model's configuration and tokenizer with weights drawn anew."""
    torch.manual_seed(seed)
    place = folder / f"untrained-{name}"
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(zoo_path(name))).save_pretrained(place)
    for file in zoo_path(name).glob("*token*"):
        shutil.copy(file, place)
    return ModelChoice(str(place), device="cpu")


def _matched(choices: list[ModelChoice], corpus: ProbeCorpus, folder: Path) -> RosettaNeurons:
    anchor, peer = (atlas_of(choice, corpus, SETTINGS, folder / "atlases", Silent())[0] for choice in choices)
    return find_rosetta_neurons(anchor, [peer], MatchSettings())


def test_untrained_models_match_beyond_chance_and_yet_the_strict_set_is_empty(
    corpus: ProbeCorpus, tmp_path: Path
) -> None:
    names = [f"{family}-64x2" for family in FAMILIES]
    found = _matched([_untrained(name, tmp_path, seed) for seed, name in enumerate(names)], corpus, tmp_path)
    (peer,) = found.peers
    assert found.counts()["paper"] > 30
    assert (peer.derangement.q <= 0.01).mean() > 0.9, "they share the text's tokens"
    assert found.counts()["strict"] <= 1


def test_trained_models_of_the_same_size_keep_many(corpus: ProbeCorpus, tmp_path: Path) -> None:
    found = _matched([ModelChoice(f"zoo:{family}-64x2", device="cpu") for family in FAMILIES], corpus, tmp_path)
    assert found.counts()["strict"] >= 20
    assert found.null_counts["rotated_strict"] <= 1
    assert found.null_counts["deranged_strict"] <= 1
