"""Every dial of the bake-off, as frozen values; part of what a bake-off's results are filed under."""

from __future__ import annotations

from pydantic import Field

from curator.settings import Settings


class PoolSettings(Settings):
    """Which documents take part, and for what."""

    passage_chars: int = Field(default=2_000, ge=50)
    """Documents are cut to so many characters."""
    pool_per_domain: int = Field(default=200, ge=4)
    """Most documents of a domain in the pool."""
    examples_per_domain: int = Field(default=260, ge=4)
    """Most documents of a domain that positive and negative examples are drawn from."""
    test_per_domain: int = Field(default=60, ge=1)
    """Most documents of a domain that losses are measured on."""
    seed: int = 0
    """Seed of the choice where a domain has more."""


class ProbeDials(Settings):
    """The text on which neurons are compared and, without examples, chosen."""

    spans_per_domain: int = Field(default=12_000, ge=500)
    """Universal spans of each domain."""
    document_spans: int = Field(default=256, ge=32)
    """Probe documents are cut to so many spans: the length of what is filtered."""
    sketch_dimensions: int = Field(default=2_048, ge=64)
    """Numbers per signature."""
    held_back_spans: int = Field(default=8_192, ge=256)
    """Spans that candidates are verified on."""


class BakeoffSettings(Settings):
    """One bake-off."""

    anchor: str = "zoo:neox-128x4"
    """The model that reads the pool."""
    peers: tuple[str, ...] = ("zoo:gpt2-128x4", "zoo:opt-128x4")
    """The models that its Rosetta neurons are shared with."""
    targets: tuple[str, ...] = ()
    """Domains to select for; all when empty."""
    unseen: tuple[str, ...] = ()
    """Domains that no model of the bake-off was trained on; they are also shown apart."""
    positives: tuple[int, ...] = (0, 3, 10, 40, 200)
    """Numbers of positive examples."""
    negatives: int = Field(default=200, ge=1)
    """Negative examples, of all other domains alike."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each draws examples and pool anew."""
    prevalence: float = Field(default=0.06, gt=0, lt=1)
    """Share of the target in the pool, where a regime does not say otherwise."""
    hard: bool = True
    """Also the regimes with another share of the target, near distractors, wrong labels and short documents."""
    dear: bool = True
    """Also selectors that read the pool once for each lesson."""
    pool: PoolSettings = PoolSettings()
    probe: ProbeDials = ProbeDials()


def quick_settings() -> BakeoffSettings:
    """A bake-off of retrieval alone that ends in minutes: short passages, few of them, two numbers of examples."""
    return BakeoffSettings(
        positives=(0, 3, 10),
        hard=False,
        dear=False,
        negatives=60,
        seeds=(0, 1),
        pool=PoolSettings(passage_chars=800, pool_per_domain=60, examples_per_domain=40, test_per_domain=12),
        probe=ProbeDials(spans_per_domain=4_000, sketch_dimensions=512, held_back_spans=2_048),
    )
