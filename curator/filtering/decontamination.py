"""Which documents share text with evaluation files: word 13-grams, as GPT-3, Dolma and DCLM look for them.

Method: the texts of the evaluation files become word n-grams (lower case, no punctuation; ``ngrams``). A document that shares
at least ``min_matches`` different n-grams with them is contaminated, and is named after the file it shares most with. n is 13
(GPT-3, Brown et al. 2020, appendix C). An evaluation text that is shorter than n words counts as one n-gram of its own length,
down to ``min_words`` (8, the lower end of GPT-3's range): it matches where a document contains it whole, which then is enough.
Shorter texts are not looked for: "What is the capital of France?" is everywhere.

What it does not do: GPT-3 cut 200 characters around a match and kept the rest of the document; here the whole document (or
window) goes, as in DCLM. GPT-3 forgave n-grams found in more than ten documents; boilerplate in an evaluation file (a licence,
a template) is better removed there, or met by ``min_matches``. It finds neither paraphrases nor translations.

Cost: 8 bytes per evaluation n-gram and two per file number, in one sorted array; 0.3 ms a document of 2.5 kB. Of a billion
n-grams against ten million stored ones, 0.001 match by chance.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from curator import fingerprint
from curator.errors import ConfigError
from curator.filtering.ngrams import NGRAM_RULE, ngram_hashes, word_hashes
from curator.records import Document
from curator.text.sources import SourceOptions, open_source

_log = logging.getLogger(__name__)


class DecontaminationSettings(BaseModel):
    """What counts as shared text. Raises ConfigError when ``min_words`` is above ``words``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: int = Field(default=13, ge=2, le=64, description="Length of the word n-grams that are looked for.")
    min_words: int = Field(default=8, ge=2, description="Evaluation texts of fewer words than this are not looked for.")
    min_matches: int = Field(
        default=1, ge=1, description="Different shared n-grams from which on a document is contaminated."
    )
    fields: tuple[str, ...] = Field(
        default=("text",), min_length=1, description="Fields of an evaluation record that hold text, each on its own."
    )

    @model_validator(mode="after")
    def _check(self) -> DecontaminationSettings:
        if self.min_words > self.words:
            raise ConfigError(f"min_words is {self.min_words}; it must not be above words, which is {self.words}.")
        return self


class Decontaminator:
    """Makes the column ``contaminated``: the name of the evaluation file that a document shares text with, or "".

    Args:
        files: sources of evaluation texts, any URI of ``curator.text``; each is named by its last path component.
        settings: what counts as shared text.

    Attributes:
        texts: evaluation texts that are looked for.
        too_short: evaluation texts of fewer than ``min_words`` words, which are not.

    Raises:
        ConfigError: two files have one name, or a file has no text in any of the fields, or none that is long enough.
        SourceError: a file cannot be read.
    """

    name = "contaminated"

    def __init__(self, files: Sequence[str], settings: DecontaminationSettings | None = None) -> None:
        self.settings = settings or DecontaminationSettings()
        self.files = tuple(_file_name(uri) for uri in files)
        if not files:
            raise ConfigError("There is no evaluation file to look for; name at least one.")
        if len(set(self.files)) != len(self.files):
            raise ConfigError(
                "Two evaluation files have the same name, which reports could not tell apart; rename one."
            )
        self.texts = self.too_short = 0
        found = [self._read(number, uri) for number, uri in enumerate(files)]
        self._grams = {
            size: _sorted_grams([(number, grams[size]) for number, grams in enumerate(found) if size in grams])
            for size in sorted({size for grams in found for size in grams})
        }
        if self.too_short:
            _log.warning("evaluation texts too short to look for", extra={"texts": self.too_short})

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the settings, the names of the files and the n-grams found in them."""
        parts = ["contaminated v1", NGRAM_RULE, self.settings.model_dump_json(), *self.files]
        for size, (hash_G, file_G) in self._grams.items():
            parts += [str(size), fingerprint.of_bytes(hash_G.tobytes()), fingerprint.of_bytes(file_G.tobytes())]
        return fingerprint.of_parts(parts)

    @property
    def ngrams(self) -> int:
        """Number of different n-grams that are looked for."""
        return sum(hash_G.size for hash_G, _ in self._grams.values())

    def columns(self, parts: Sequence[Document]) -> list[Mapping[str, str]]:
        """The file that contaminates a document, for each of its parts that a shared n-gram touches; "" for the others.

        n-grams run on from part to part, so a text that lies across a cut is found, and marks both sides.
        """
        words = [word_hashes(part.text) for part in parts]
        word_W = np.concatenate(words)
        part_W = np.repeat(np.arange(len(parts)), [word.size for word in words])
        matches_F = np.zeros(len(self.files), np.int64)
        touched = np.zeros(len(parts), np.bool_)
        for size, (hash_G, file_G) in self._grams.items():
            place_M, gram_M = _matches(hash_G, ngram_hashes(word_W, size))
            for within in range(size):
                touched[part_W[place_M + within]] = True
            worth = 1 if size == self.settings.words else self.settings.min_matches  # a whole text is enough by itself
            matches_F += worth * np.bincount(file_G[np.unique(gram_M)], minlength=matches_F.size)
        contaminated = int(matches_F.sum()) >= self.settings.min_matches
        file = self.files[int(matches_F.argmax())] if contaminated else ""
        return [{"contaminated": file if touch else ""} for touch in touched.tolist()]

    def _read(self, number: int, uri: str) -> dict[int, NDArray[np.uint64]]:
        """The different n-grams of one file, by their length."""
        found: dict[int, list[NDArray[np.uint64]]] = {}
        texts = 0
        for text in _texts(uri, self.settings.fields):
            texts += 1
            word_W = word_hashes(text)
            if word_W.size < self.settings.min_words:
                self.too_short += 1
                continue
            size = min(self.settings.words, int(word_W.size))
            found.setdefault(size, []).append(ngram_hashes(word_W, size))
            self.texts += 1
        if not found:
            why = "long enough to look for" if texts else f"in the field {' or '.join(self.settings.fields)}"
            raise ConfigError(f"The evaluation file {self.files[number]} has no text {why}; name its fields.")
        return {size: np.unique(np.concatenate(grams)) for size, grams in found.items()}


def _texts(uri: str, fields: Sequence[str]) -> Iterator[str]:
    """Every text of a source, field by field; records without a field are passed over, as files differ in their fields."""
    for field in fields:
        for record in open_source(uri, SourceOptions(text_field=field)):
            if isinstance(record, Document):
                yield record.text


def _sorted_grams(
    grams: Sequence[tuple[int, NDArray[np.uint64]]],
) -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
    """The n-grams of all files in order, each under the first file that has it."""
    hash_G = np.concatenate([hashes for _, hashes in grams])
    file_G = np.concatenate([np.full(hashes.size, number, np.uint16) for number, hashes in grams])
    unique_G, first_G = np.unique(hash_G, return_index=True)
    return unique_G, file_G[first_G]


def _matches(sorted_G: NDArray[np.uint64], asked_N: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places n of the n-grams that are in a sorted array, and where in it each of them is."""
    gram_N = np.minimum(np.searchsorted(sorted_G, asked_N), sorted_G.size - 1)
    place_M = np.flatnonzero(sorted_G[gram_N] == asked_N)
    return place_M, gram_N[place_M]


def _file_name(uri: str) -> str:
    """The last path component of a source, the same wherever the folder lies."""
    return PurePosixPath(uri.partition("?")[0].rstrip("/")).name or uri
