"""The document null against models that share domains only: nothing in either follows the content of a document."""

import numpy as np

from curator.atlas.spankeys import SpanKeys
from curator.atlas.store import Atlas, AtlasManifest
from curator.records import Document
from curator.rosetta.neurons import find_rosetta_neurons
from curator.settings import AtlasSettings, MatchSettings
from curator.text.probe import ProbeCorpus, probe_fingerprint

DOMAINS = tuple("abcdefghij")
DIALS = AtlasSettings(sketch_dimensions=512, held_back_spans=4096)
NEURONS, DOMAIN_NEURONS = 400, 150


def _corpus() -> ProbeCorpus:
    """Forty documents a domain, of lengths as uneven as those of real text."""
    generator = np.random.default_rng(0)
    documents = tuple(
        Document(
            f"{domain}{number}", "a " * int(np.clip(generator.lognormal(4, 1), 20, 600)), domain, f"{domain}{number}"
        )
        for domain in DOMAINS
        for number in range(40)
    )
    return ProbeCorpus(documents, DOMAINS, probe_fingerprint(documents), dict.fromkeys(DOMAINS, 1))


def _atlas(keys: SpanKeys, seed: int, profile_ND: np.ndarray) -> Atlas:
    """Neurons that follow a profile over the domains, if any, and are noise otherwise, held and sketched as an atlas does."""
    generator, folds = np.random.default_rng(seed), keys.held_back_folds
    arrays: dict[str, np.ndarray] = {"alive": np.ones(NEURONS, bool), "held_fold_V": folds}
    values = [
        profile_ND[:, [DOMAINS.index(document.domain)]] + generator.standard_normal((NEURONS, length))
        for document, length in zip(keys.documents, keys.length_D, strict=True)
    ]
    everything = np.concatenate(values, axis=1)
    mean, deviation = everything.mean(axis=1, keepdims=True), everything.std(axis=1, keepdims=True)
    for signature, held, decoy in (("signature_Nd", "held_NV", False), ("decoy_Nd", "decoy_held_NV", True)):
        sketch_dN = np.zeros((DIALS.sketch_dimensions, NEURONS))
        held_NV = np.full((NEURONS, len(folds)), np.nan, np.float16)
        for index, raw in enumerate(values):
            places, standard = keys.places(index, decoy=decoy), (raw - mean) / deviation
            sketched, kept = (places.used & chosen for chosen in (places.slot < 0, places.slot >= 0))
            np.add.at(sketch_dN, places.bucket[sketched], (standard[:, sketched] * places.sign[sketched]).T)
            held_NV[:, places.slot[kept]] = standard[:, kept]
        arrays |= {signature: sketch_dN.T.astype(np.float32), held: held_NV}
    manifest = AtlasManifest.model_construct(
        model=f"domains-{seed}",
        model_fingerprint=str(seed),
        layer_widths=(NEURONS,),
        gated=False,
        settings=DIALS,
        probe_fingerprint="0" * 64,
    )
    return Atlas(manifest, arrays)


def test_neurons_that_only_share_a_domain_are_not_strict_though_decoys_cover_half_of_the_spans() -> None:
    keys = SpanKeys(_corpus(), DIALS)
    profile_ND = np.zeros((NEURONS, len(DOMAINS)))
    profile_ND[:DOMAIN_NEURONS] = 0.8 * np.random.default_rng(1).standard_normal((DOMAIN_NEURONS, len(DOMAINS)))
    anchor, peer = (_atlas(keys, seed, profile_ND) for seed in (10, 11))
    covered = np.isfinite(anchor["decoy_held_NV"][0]).mean()
    assert 0.4 < covered < 0.9
    found = find_rosetta_neurons(anchor, [peer], MatchSettings())
    assert (found.peers[0].rotation.q <= 0.01).sum() > 20, "single directions, so rotations alone would let them pass"
    assert found.counts()["paper"] > 100
    assert found.counts()["strict"] <= 1
