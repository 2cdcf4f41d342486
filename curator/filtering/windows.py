"""Long documents in windows: pieces of about equal length, cut at paragraphs where there are any, else at lines or words.

A document of more than ``characters`` times 1.5 is cut into the smallest number of pieces that are not longer than
``characters`` on average. Each cut is looked for within a quarter of a piece around its even place: the nearest end of a
paragraph (an empty line), else the nearest end of a line, else of a word, else the even place itself. So a piece is between a
half and one and a half of the average, never a scrap at the end, and all pieces together are the text, byte for byte.

Windows are byte ranges of the text's UTF-8, like everything that points into a text here. Cost: a few searches per piece and
one encoding. It does not know sentences, tokens or scripts without spaces, where the even place decides (never inside a
character).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from curator.errors import ConfigError
from curator.records import Document

WHOLE = -1
MIN_CHARACTERS = 64
_BORDERS = (
    re.compile(r"\n[^\S\n]*\n\s*"),
    re.compile(r"\n\s*"),
    re.compile(r"\s+"),
)  # a border ends where the next begins


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open byte range ``[start, end)`` of a document's text; ``number`` counts from 0, or is ``WHOLE`` (-1)."""

    number: int
    start: int
    end: int


def windows_of(text: str, characters: int) -> list[Window]:
    """The windows of a text, in order and without gaps; one whole window where it is not long enough to cut.

    Raises ConfigError when ``characters`` is below 64.
    """
    if characters < MIN_CHARACTERS:
        raise ConfigError(f"Windows of {characters} characters are too short to score; use at least {MIN_CHARACTERS}.")
    if len(text) <= characters * 1.5:
        return [Window(WHOLE, 0, len(text.encode()))]
    pieces = -(-len(text) // characters)
    size = len(text) / pieces
    cuts = [0, *(_cut_near(text, round(size * piece), int(size / 4)) for piece in range(1, pieces)), len(text)]
    windows, at = [], 0
    for number, (start, end) in enumerate(pairwise(cuts)):
        width = len(text[start:end].encode())
        windows.append(Window(number, at, at + width))
        at += width
    return windows


def window_text(text: str, window: Window) -> str:
    """The part of a text that a window covers."""
    return text if window.number == WHOLE else text.encode()[window.start : window.end].decode()


def window_document(document: Document, window: Window) -> Document:
    """The document to score for one window: ``<id>#w<number>``, or the document itself where the window is whole."""
    return documents_of(document, [window])[0]


def window_documents(document: Document, characters: int) -> list[tuple[Window, Document]]:
    """All windows of a document with the documents to score for them."""
    windows = windows_of(document.text, characters)
    return list(zip(windows, documents_of(document, windows), strict=True))


def documents_of(document: Document, windows: Sequence[Window]) -> list[Document]:
    """What ``window_document`` gives for each of several windows, encoding the text once."""
    if all(window.number == WHOLE for window in windows):
        return [document] * len(windows)
    data = document.text.encode()
    return [
        replace(document, id=f"{document.id}#w{window.number}", text=data[window.start : window.end].decode())
        for window in windows
    ]


def _cut_near(text: str, even: int, reach: int) -> int:
    """The best border within ``reach`` characters of an even place: the nearest of the best kind, the earlier of equals."""
    low, high = even - reach, even + reach
    for border in _BORDERS:
        ends = [match.end() for match in border.finditer(text, low, high)]
        if ends:
            return min(ends, key=lambda end: abs(end - even))
    return even
