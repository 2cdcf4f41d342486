"""The frozen records that flow between stages; every stage maps an iterator of one of them to an iterator of another.

A ``Document`` enters and a ``Score`` is attached. What cannot be read becomes a ``Rejection`` with a reason: nothing
vanishes. The records know no stage, no file format and no model.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

NO_METADATA: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Document:
    """One text with its identity.

    ``source`` names the work it was cut from (a book, a file, an article): splits are made by source, never by document.
    ``metadata`` is carried through untouched.
    """

    id: str
    text: str
    domain: str = ""
    source: str = ""
    metadata: Mapping[str, object] = field(default_factory=lambda: NO_METADATA)


class RejectReason(StrEnum):
    """Why a record did not become a kept document. The values are written into reject shards and reports."""

    INVALID_UTF8 = "invalid_utf8"
    INVALID_JSON = "invalid_json"
    NOT_A_RECORD = "not_a_record"
    MISSING_FIELD = "missing_field"
    FIELD_NOT_TEXT = "field_not_text"
    EMPTY_TEXT = "empty_text"
    RECORD_TOO_LARGE = "record_too_large"
    STREAM_TRUNCATED = "stream_truncated"
    BELOW_THRESHOLD = "below_threshold"
    OVER_BUDGET = "over_budget"
    NO_SPANS = "no_spans"
    SCORING_FAILED = "scoring_failed"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    CONTAMINATED = "contaminated"
    PREFILTERED = "prefiltered"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that could not be read, with its place (for example ``pool.jsonl.zst:17``) and the reason."""

    place: str
    reason: RejectReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open byte range ``[start, end)`` of a document's UTF-8 text."""

    start: int
    end: int


class NeuronId(NamedTuple):
    """One coordinate of an MLP block's hidden vector; prints as ``L<layer>/U<unit>``."""

    layer: int
    unit: int

    def __str__(self) -> str:
        return f"L{self.layer}/U{self.unit}"

    @classmethod
    def parse(cls, text: str) -> NeuronId:
        """Read ``L3/U17`` back. Raises ValueError on anything else."""
        layer, unit = text.removeprefix("L").split("/U")
        return cls(int(layer), int(unit))


@dataclass(frozen=True, slots=True)
class Score:
    """What a scorer says of one document.

    ``value`` is the raw score (higher is more on-domain), ``probability`` its calibrated form in [0, 1], ``tokens`` the
    number of tokens read. ``top_neurons`` are the neurons that pushed the score up most, strongest first.
    """

    document_id: str
    value: float
    probability: float
    tokens: int
    top_neurons: tuple[str, ...] = ()


TargetResult = tuple[Score, ...] | Rejection
"""One Score per target of a document, or why there is none."""


class DocumentScorer(Protocol):
    """What filtering and serving need of a scorer; a local neuron set, a remote server and a test's fake all fit it."""

    @property
    def name(self) -> str:
        """Name of the neuron set."""
        ...

    @property
    def etag(self) -> str:
        """Content hash of the neuron set: two scorers with one etag give the same scores."""
        ...

    @property
    def model_fingerprint(self) -> str:
        """Fingerprint of the model that the scores come from."""
        ...

    def score(self, documents: Sequence[Document]) -> list[Score | Rejection]:
        """One result for each document, in order; a document that cannot be scored becomes a Rejection placed by its id."""
        ...


@runtime_checkable
class BatchesScorer(Protocol):
    """A ``DocumentScorer`` that begins a batch before the one ahead of it is done, where cores would stand idle between two."""

    def score_batches(self, batches: Iterable[Sequence[Document]]) -> Iterator[list[Score | Rejection]]:
        """What ``score`` gives of each batch, in order. What raises ends the iterator and loses what was in work."""
        ...


def scored_batches(scorer: DocumentScorer, batches: Iterable[Sequence[Document]]) -> Generator[list[Score | Rejection]]:
    """The results of each batch, in order, by ``score_batches`` where the scorer has it, else batch by batch."""
    if isinstance(scorer, BatchesScorer):
        yield from scorer.score_batches(batches)
    else:
        yield from map(scorer.score, batches)


class TargetScorer(Protocol):
    """Scores for several target domains from one reading of a document; what a filtering job asks of a model."""

    @property
    def name(self) -> str:
        """Name of the neuron set."""
        ...

    @property
    def etag(self) -> str:
        """Content hash of neuron set, targets and methods: two scorers with one etag give the same scores."""
        ...

    @property
    def model_fingerprint(self) -> str:
        """Fingerprint of the model that the scores come from."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """The target domains, in the order of each document's scores."""
        ...

    def score_targets(self, documents: Sequence[Document]) -> list[TargetResult]:
        """For each document, in order, one Score per target, or one Rejection placed by its id."""
        ...
