"""The probe corpus: domain-labelled, balanced, seeded, ordered, fingerprinted text on which models are compared.

How: every document gets a place in a seeded random order, from a hash of the seed and its text; each domain takes the first
ones of that order until its budget of universal spans is full, and cuts the last one to fit, so that domains weigh the same.
Texts seen before (in any domain) are dropped; those that another domain has are counted, for one of the labels is wrong. The
chosen documents of all domains are then mixed by a second hash, so that any stretch of the corpus holds all domains.

Cost: one pass over the sources, in memory only what is kept; only documents that enter are segmented. Hub datasets may be
endless, so of those the choice is among the first documents that hold four times the budget.

The fingerprint covers the segmentation's version and, in order, each document's id, domain, text and spans. What it does not
know: near-duplicates, and whether a source's labels are right.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from curator import fingerprint
from curator.errors import InsufficientDataError
from curator.records import NO_METADATA, Document, RejectReason
from curator.text.probe_spec import ProbeSpec, load_probe_spec, parse_probe_pairs, probe_spec_from
from curator.text.segmentation import MAX_SPAN_CODE_POINTS, SEGMENTATION_VERSION, universal_spans
from curator.text.sources import SourceTally, open_source, tally
from curator.text.splits import only_split
from curator.text.uris import Scheme, parse_uri

__all__ = [
    "ProbeCorpus",
    "ProbeSpec",
    "build_probe",
    "load_probe_spec",
    "parse_probe_pairs",
    "probe_fingerprint",
    "probe_spec_from",
]

_HUB_OVERSAMPLING = 4
_MIN_CUT_SPANS = 32  # a last document shorter than this after the cut says nothing of its domain and is left out
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProbeCorpus:
    """An ordered corpus. Every document has its domain set; metadata is left behind, for it is no part of the corpus."""

    documents: tuple[Document, ...]
    domains: tuple[str, ...]
    fingerprint: str
    spans_per_domain: Mapping[str, int]
    rejected: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """What could not be read, by reason, and as ``duplicate`` the texts that would have been chosen for a second domain."""

    @property
    def spans(self) -> int:
        """Universal spans in all."""
        return sum(self.spans_per_domain.values())


def build_probe(spec: ProbeSpec) -> ProbeCorpus:
    """Read the sources and choose the corpus.

    Raises InsufficientDataError when a domain has no document at all, and what ``open_source`` raises. A domain that fills
    less than half its budget is kept, with a warning in the log; another one counts what was left out, by reason.
    """
    counts = SourceTally()
    chosen: list[Document] = []
    spans_per_domain: dict[str, int] = {}
    texts: set[str] = set()
    for domain, uris in spec.domains.items():
        candidates = _candidates(domain, uris, spec, counts, texts)
        texts.update(fingerprint.of_text(candidate.document.text) for candidate in candidates)
        documents = _take_budget(candidates, spec.tokens_per_domain)
        spans_per_domain[domain] = sum(spans for _, spans in documents)
        _check_budget(domain, spans_per_domain[domain], spec)
        chosen.extend(document for document, _ in documents)
    rejected = {str(reason): number for reason, number in sorted(counts.rejected.items())}
    if rejected:
        left_out = ", ".join(f"{reason}: {number:,}" for reason, number in rejected.items())
        _log.warning("records that are left out of the probe corpus (%s)", left_out, extra={"rejected": rejected})
    ordered = _mixed(_with_unique_ids(chosen), spec.seed)
    return ProbeCorpus(
        documents=ordered,
        domains=tuple(spec.domains),
        fingerprint=probe_fingerprint(ordered),
        spans_per_domain=MappingProxyType(spans_per_domain),
        rejected=MappingProxyType(rejected),
    )


def probe_fingerprint(documents: Iterable[Document]) -> str:
    """Fingerprint of an ordered corpus, spans included: equal fingerprints mean equal spans, whatever Python cut them."""
    parts = [f"universal-spans-v{SEGMENTATION_VERSION}"]
    for document in documents:
        spans = fingerprint.of_bytes(universal_spans(document.text).astype("<i8").tobytes())
        parts += [document.id, document.domain, fingerprint.of_text(document.text), spans]
    return fingerprint.of_parts(parts)


@dataclass(frozen=True, slots=True, order=True)
class _Candidate:
    """A document with its place in the seeded order; heaps keep the last place on top."""

    negative_place: float
    document: Document = field(compare=False)
    spans: int = field(compare=False)


def _candidates(
    domain: str, uris: Iterable[str], spec: ProbeSpec, counts: SourceTally, texts: set[str]
) -> list[_Candidate]:
    """The documents at the front of the seeded order that together just fill the budget, in that order."""
    heap: list[_Candidate] = []
    seen = set(texts)
    total = 0
    for document in _documents(uris, spec, counts):
        text_name = fingerprint.of_text(document.text)
        place = fingerprint.unit_interval(str(spec.seed), text_name)
        full = total >= spec.tokens_per_domain
        if full and place >= -heap[0].negative_place:
            continue
        text, spans = _cut(document.text, spec.max_document_spans)
        cut_name = fingerprint.of_text(text)
        if cut_name in seen or text.isspace():
            counts.rejected.update([RejectReason.DUPLICATE] if cut_name in texts else [])
            continue
        seen.add(cut_name)
        kept = Document(document.id, text, domain, document.source, NO_METADATA)
        heapq.heappush(heap, _Candidate(-place, kept, spans))
        total += spans
        while total - heap[0].spans >= spec.tokens_per_domain:
            total -= heapq.heappop(heap).spans
    return sorted(heap, reverse=True)


def _documents(uris: Iterable[str], spec: ProbeSpec, counts: SourceTally) -> Iterator[Document]:
    for uri in uris:
        documents = tally(open_source(uri, spec.fields), counts)
        documents = documents if spec.split is None else only_split(documents, spec.split)
        is_hub = parse_uri(uri).scheme is Scheme.HUB
        yield from _until_spans(documents, _HUB_OVERSAMPLING * spec.tokens_per_domain) if is_hub else documents


def _until_spans(documents: Iterable[Document], wanted: int) -> Iterator[Document]:
    for document in documents:
        yield document
        wanted -= len(universal_spans(document.text))
        if wanted <= 0:
            return


def _cut(text: str, max_spans: int) -> tuple[str, int]:
    """The text up to the end of its ``max_spans``-th span, and the number of its spans."""
    head = text[: max_spans * MAX_SPAN_CODE_POINTS + 1]  # no more characters than this can lie in that many spans
    spans_S2 = universal_spans(head)
    if len(spans_S2) <= max_spans:
        return text, len(spans_S2)
    return head.encode()[: int(spans_S2[max_spans - 1, 1])].decode(), max_spans


def _take_budget(candidates: list[_Candidate], budget: int) -> list[tuple[Document, int]]:
    taken: list[tuple[Document, int]] = []
    for candidate in candidates:
        text, spans = _cut(candidate.document.text, budget) if candidate.spans > budget else ("", candidate.spans)
        if text.isspace() or (text and spans < _MIN_CUT_SPANS and taken):
            break
        taken.append((replace(candidate.document, text=text) if text else candidate.document, spans))
        budget -= spans
        if budget <= 0:
            break
    return taken


def _check_budget(domain: str, spans: int, spec: ProbeSpec) -> None:
    if spans == 0:
        where = ", ".join(spec.domains[domain])
        raise InsufficientDataError(f"The domain {domain!r} has no usable text in {where}; name another source.")
    if 2 * spans < spec.tokens_per_domain:
        detail = {"domain": domain, "spans": spans, "budget": spec.tokens_per_domain}
        _log.warning("the domain %s fills %d of %d spans", domain, spans, spec.tokens_per_domain, extra=detail)


def _with_unique_ids(documents: Iterable[Document]) -> list[Document]:
    """Signatures hash the id, so two documents of one name would share their hashes: the later one is renamed."""
    unique: dict[str, Document] = {}
    for document in documents:
        taken = document.id in unique
        name = f"{document.id}~{fingerprint.of_text(document.text)[:12]}" if taken else document.id
        unique[name] = replace(document, id=name)
    return list(unique.values())


def _mixed(documents: Iterable[Document], seed: int) -> tuple[Document, ...]:
    return tuple(sorted(documents, key=lambda document: fingerprint.of_parts([str(seed), "order", document.id])))
