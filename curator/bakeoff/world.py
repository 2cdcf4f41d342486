"""The labelled text of a bake-off, in four parts that share no source: probe, examples, pool and test.

How: the project's split (``text/splits``) gives the pool and the test part; its train part is cut in two by a second hash of
the source, one half for the probe corpus, on which neurons are compared and chosen, the other for labelled examples. A source
is a book, a file, an article: no two parts hold pieces of one. The bundled models were trained on text of the train part and
saw nothing of pool and test.

Domains are given as sources by name, as for a probe corpus. The built-in ones are the labelled corpora where their folder is
named, and the embedded domains. Cost: reading the sources. It does not know near-duplicates between sources, nor whether a
domain's label fits each of its documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import zstandard

from curator import fingerprint
from curator.bakeoff.settings import PoolSettings, ProbeDials
from curator.errors import ArtifactError, ConfigError, InsufficientDataError, SourceNotFoundError
from curator.files import atomic_file, read_json, write_json
from curator.filtering.rows import to_line
from curator.records import Document, Rejection
from curator.text.environment import environment_domains
from curator.text.probe import ProbeCorpus, ProbeSpec, build_probe, parse_probe_pairs
from curator.text.sources import open_source, open_sources
from curator.text.splits import Split, split_of
from curator.zoo.recipe import EMBEDDED_DOMAINS

QUICK_DOMAINS = ("python", "cpp", "licences", "prose", "docstrings")
"""Embedded domains of a bake-off that is to end in minutes."""
_WORLD = "world.json"
_EMBEDDED_CHARS = 5_400_000
_OTHER_NAMES = {"legal": "licences"}  # the labelled corpora have a domain of statutes by that name


class Use(StrEnum):
    """What a source's documents are for."""

    PROBE = "probe"
    EXAMPLES = "examples"
    POOL = "pool"
    TEST = "test"


def use_of(source: str) -> Use:
    """The part that a source belongs to, by hash; the same on every machine."""
    split = split_of(source)
    if split is not Split.TRAIN:
        return Use.POOL if split is Split.POOL else Use.TEST
    return Use.PROBE if fingerprint.unit_interval("bakeoff-v1", source) < 0.5 else Use.EXAMPLES


@dataclass(frozen=True, slots=True)
class World:
    """Documents of examples, pool and test, by part, in an order drawn by hash, each with its domain; and the probe's."""

    domains: tuple[str, ...]
    parts: Mapping[Use, tuple[Document, ...]]

    def of(self, use: Use, domain: str | None = None) -> list[Document]:
        """Documents of a part, of one domain or of all."""
        return [document for document in self.parts[use] if domain in {None, document.domain}]

    def test_texts(self, domain: str, general_per_domain: int) -> tuple[list[str], list[str]]:
        """Texts that losses are measured on: all of the domain's, and the first few of every other domain's."""
        others = (
            document
            for other in self.domains
            if other != domain
            for document in self.of(Use.TEST, other)[:general_per_domain]
        )
        return [document.text for document in self.of(Use.TEST, domain)], [document.text for document in others]

    @property
    def fingerprint(self) -> str:
        """Of every text and what it is for."""
        return fingerprint.of_parts(
            part
            for use in Use
            for document in self.parts[use]
            for part in (use, document.domain, document.source, fingerprint.of_text(document.text))
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """Documents of every domain, by part."""
        found = {use: Counter(document.domain for document in self.parts[use]) for use in Use}
        return {domain: {use.value: found[use][domain] for use in Use} for domain in self.domains}


def embedded_domains(max_chars: int = _EMBEDDED_CHARS) -> dict[str, tuple[str, ...]]:
    """Sources of the embedded domains, by name."""
    return {_OTHER_NAMES.get(name, name): (f"env:{name}?max_chars={max_chars}",) for name in environment_domains()}


def labelled_domains(corpora: Path) -> dict[str, tuple[str, ...]]:
    """Sources of the labelled corpora in a folder, one file a domain. Raises SourceNotFoundError for a folder without any."""
    files = sorted(corpora.glob("*.jsonl.zst"))
    if not files:
        raise SourceNotFoundError(
            f"There are no .jsonl.zst files in {corpora}; name the folder with the labelled corpora."
        )
    return {path.name.removesuffix(".jsonl.zst"): (str(path),) for path in files}


def domains_of(pairs: Sequence[str], corpora: Path | None, only: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """The sources of a bake-off: ``NAME=URI`` pairs, or else the embedded domains and those of a folder of labelled corpora.

    ``only`` names the domains to take of the built-in ones. Raises ConfigError for a pair without ``=``.
    """
    if pairs:
        return dict(parse_probe_pairs(pairs).domains)
    built_in = {**(labelled_domains(corpora) if corpora else {}), **embedded_domains()}
    return {name: built_in[name] for name in only} if only else built_in


def unseen_by_the_zoo(domains: Iterable[str]) -> tuple[str, ...]:
    """Those of the embedded domains that the bundled models were not trained on, though code holds docstrings."""
    embedded = {_OTHER_NAMES.get(name, name) for name in environment_domains() if name not in EMBEDDED_DOMAINS}
    return tuple(name for name in domains if name in embedded)


def build_world(domains: Mapping[str, Sequence[str]], settings: PoolSettings) -> World:
    """Read the sources and give every document its part.

    Texts that came before, in any domain, are dropped. Raises ConfigError for fewer than two domains, InsufficientDataError
    for a domain that leaves a part empty, and what ``open_sources`` raises.
    """
    if len(domains) < 2:
        raise ConfigError(
            "A bake-off needs at least two domains, for a selector needs something to reject; name another."
        )
    seen: set[str] = set()
    parts: dict[Use, list[Document]] = {use: [] for use in Use}
    for domain, uris in domains.items():
        by_use: dict[Use, list[Document]] = {use: [] for use in Use}
        for document in _fresh(open_sources(uris), domain, seen):
            by_use[use_of(document.source)].append(document)
        for use, documents in by_use.items():
            if not documents:
                raise InsufficientDataError(
                    f"The domain {domain!r} has no source for the part {use.value!r}; add text."
                )
            parts[use] += _drawn(documents, use, settings)
    return World(tuple(domains), {use: tuple(documents) for use, documents in parts.items()})


def kept_world(domains: Mapping[str, Sequence[str]], settings: PoolSettings, folder: Path) -> World:
    """The world as it is written down in ``folder``, or built and written there.

    Raises ConfigError for a folder that holds another world, and what ``build_world`` raises.
    """
    asked = {"domains": {name: list(uris) for name, uris in domains.items()}, "settings": settings.model_dump()}
    stated, place = folder / _WORLD, folder / "world"
    if not stated.is_file():
        world = build_world(domains, settings)
        for use in Use:
            _write(place / f"{use.value}.jsonl.zst", world.parts[use])
        write_json(stated, asked)
        return world
    if read_json(stated) != asked:
        raise ConfigError(f"The folder {folder} holds a bake-off of other text; name another folder.")
    parts = {use: tuple(_documents(open_source(str(place / f"{use.value}.jsonl.zst")), stated)) for use in Use}
    return World(tuple(domains), parts)


def build_bakeoff_probe(world: World, dials: ProbeDials, folder: Path, seed: int = 0) -> ProbeCorpus:
    """The probe corpus of the probe part; its documents are written below ``folder``, for corpora are made of sources."""
    sources = {}
    for domain in world.domains:
        path = folder / f"{domain}.jsonl.zst"
        _write(path, world.of(Use.PROBE, domain))
        sources[domain] = (str(path),)
    return build_probe(
        ProbeSpec(
            domains=sources,
            tokens_per_domain=dials.spans_per_domain,
            max_document_spans=dials.document_spans,
            seed=seed,
        )
    )


def cut(document: Document, chars: int) -> Document:
    """The document's first ``chars`` characters."""
    return document if len(document.text) <= chars else replace(document, text=document.text[:chars])


def _fresh(records: Iterable[Document | Rejection], domain: str, seen: set[str]) -> Iterable[Document]:
    for record in records:
        if isinstance(record, Rejection):
            continue
        name = fingerprint.of_text(record.text)
        if name not in seen:
            seen.add(name)
            yield Document(f"{domain}/{record.id}", record.text, domain, record.source or record.id)


def _documents(records: Iterable[Document | Rejection], stated: Path) -> Iterable[Document]:
    for record in records:
        if isinstance(record, Rejection):
            raise ArtifactError(
                f"The text beside {stated} is damaged at {record.place}; remove the folder and run again."
            )
        yield record


def _drawn(documents: list[Document], use: Use, settings: PoolSettings) -> list[Document]:
    """The documents of one part in hashed order, as many as the settings allow, cut."""
    ordered = sorted(documents, key=lambda document: fingerprint.of_parts([str(settings.seed), document.id]))
    if use is Use.PROBE:
        return ordered
    most = {
        Use.EXAMPLES: settings.examples_per_domain,
        Use.POOL: settings.pool_per_domain,
        Use.TEST: settings.test_per_domain,
    }[use]
    return [cut(document, settings.passage_chars) for document in ordered[:most]]


def _write(path: Path, documents: Iterable[Document]) -> None:
    with atomic_file(path) as handle, zstandard.ZstdCompressor().stream_writer(handle, closefd=False) as packed:
        for document in documents:
            packed.write(to_line({field: getattr(document, field) for field in ("id", "text", "domain", "source")}))
