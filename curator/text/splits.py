"""The one split of every labelled corpus: 60 % train, 30 % pool, 10 % test, by hash of each document's source.

``train`` text may teach the zoo and serve as probe corpus; ``pool`` text is what filters are judged on and no zoo model ever
sees it; ``test`` text is for the test command and held-out losses. The unit is the source (a book, a file, an article), so
parts of one work never lie on both sides. The split is a pure function of the source's name: it needs no table and no seed,
costs one hash, and is the same on every machine. It does not know near-duplicates between different sources.

Where a corpus is at hand as a whole and its ``source`` names a data set rather than a work, as in Dolma and RedPajama, a split by
source would put everything on one side; ``split_units`` says what is split in its place.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from curator import fingerprint
from curator.records import Document

SPLIT_RULE = "sha256(length-framed 'curator-split-v1', source) as a number in [0,1): train < 0.6 <= pool < 0.9 <= test"
_TRAIN_BELOW = 0.6
_POOL_BELOW = 0.9
_ENOUGH_SOURCES = 24
_LARGEST_SHARE = 0.5
_MANY_OF_ONE_SOURCE = 1000
_ONE_SOURCE = (
    "the first %d documents have the source %r, which lies in the split %s as a whole: name a field with the work that each "
    "was cut from, or none that exists, as source_field"
)
_log = logging.getLogger(__name__)


class Split(StrEnum):
    """The three disjoint parts of a labelled corpus."""

    TRAIN = "train"
    POOL = "pool"
    TEST = "test"


def split_of(source: str) -> Split:
    """The split that a source belongs to, on every machine and in every version."""
    position = fingerprint.unit_interval("curator-split-v1", source)
    if position < _TRAIN_BELOW:
        return Split.TRAIN
    return Split.POOL if position < _POOL_BELOW else Split.TEST


class SplitReader:
    """The split of documents that pass one by one, of which nobody knows the rest.

    A source field that names a data set cannot be seen through so: once the first thousand documents share one source, which
    lies in one split, a warning is logged.
    """

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._source, self._alike = "", 0

    def __call__(self, document: Document) -> Split:
        """Its split; a document without a source is placed by its id."""
        split = split_of(document.source or document.id)
        if self._alike >= 0:
            self._watch(document.source, split)
        return split

    def _watch(self, source: str, split: Split) -> None:
        """Count documents of the first one's source; minus one ends the watch."""
        self._source = self._source or source
        self._alike = self._alike + 1 if source and source == self._source else -1
        if self._alike == _MANY_OF_ONE_SOURCE:
            _log.warning(_ONE_SOURCE, self._alike, source, split, extra={"source": source})
            self._alike = -1


def only_split(documents: Iterable[Document], split: Split) -> Iterator[Document]:
    """The documents of one split; a document without a source is placed by its id."""
    found = SplitReader()
    return (document for document in documents if found(document) is split)


class Labelled(Protocol):
    """A document, or what an artifact remembers of one."""

    @property
    def id(self) -> str:
        """Its name."""
        ...

    @property
    def domain(self) -> str:
        """Its label; empty where there is none."""
        ...

    @property
    def source(self) -> str:
        """The work that it was cut from; empty where that is not known."""
        ...


@dataclass(frozen=True, slots=True)
class SplitUnits:
    """What a split hashes for each document, ``names`` (D,), and the domains whose documents are split one by one."""

    names: tuple[str, ...]
    by_document: tuple[str, ...]


def split_units(documents: Sequence[Labelled]) -> SplitUnits:
    """Sources, so that no work lies on both sides, wherever a domain's sources can be split at all; else documents.

    They cannot where one source holds more than half of the domain's documents, or where there are fewer than 24 sources with
    two documents each or more, in the mean. Passages of one source may then lie on both sides: callers say so. A pure
    function of the documents' names, whatever their order; documents without a domain count as one domain.
    """
    counts: dict[str, Counter[str]] = {}
    for document in documents:
        counts.setdefault(document.domain, Counter())[document.source or document.id] += 1
    apart = {domain for domain, found in counts.items() if not _separable(found)}
    names = tuple(document.id if document.domain in apart else document.source or document.id for document in documents)
    return SplitUnits(names, tuple(sorted(apart)))


def _separable(documents_of: Counter[str]) -> bool:
    """Whether a domain with so many documents of each source is split by source."""
    documents, largest = documents_of.total(), max(documents_of.values())
    few = len(documents_of) < _ENOUGH_SOURCES and documents >= 2 * len(documents_of)
    return largest == 1 or not (few or largest > _LARGEST_SHARE * documents)
