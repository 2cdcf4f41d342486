"""The one split of every labelled corpus: 60 % train, 30 % pool, 10 % test, by hash of each document's source.

``train`` text may teach the zoo and serve as probe corpus; ``pool`` text is what filters are judged on and no zoo model ever
sees it; ``test`` text is for the test command and held-out losses. The unit is the source (a book, a file, an article), so
parts of one work never lie on both sides. The split is a pure function of the source's name: it needs no table and no seed,
costs one hash, and is the same on every machine. It does not know near-duplicates between different sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from curator import fingerprint
from curator.records import Document

SPLIT_RULE = "sha256(length-framed 'curator-split-v1', source) as a number in [0,1): train < 0.6 <= pool < 0.9 <= test"
_TRAIN_BELOW = 0.6
_POOL_BELOW = 0.9


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


def only_split(documents: Iterable[Document], split: Split) -> Iterator[Document]:
    """The documents of one split; a document without a source is placed by its id."""
    return (document for document in documents if split_of(document.source or document.id) is split)
