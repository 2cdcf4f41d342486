"""Scores as dolma attributes: a file beside every document file, line for line, from which ``dolma mix`` can filter.

    pool/documents/2024/a.jsonl.gz      {"id": "d1", "text": "...", "source": "web"}
    pool/attributes/medicine/2024/a.jsonl.gz
        {"id":"d1","attributes":{"medicine__curator__biomedical":[[0,1873,0.9714]]},"source":"web"}

The format is the toolkit's own (allenai/dolma 1.2: docs/data-format.md, src/shard.rs, core/data_types.py):

- A span is ``[start, end, number]`` in characters (Unicode code points) of the text; the number is the calibrated probability.
  A document that was scored whole has one span over all of it, one that was scored by windows has one for each window.
- A key has three parts, ``<experiment>__<tagger>__<type>``, or the toolkit's own readers refuse it; so a name and a target are
  written with single underscores in place of everything but letters and digits.
- Line k of an attribute file belongs to line k of the document file, and ``dolma mix`` compares their ``id`` as JSON values: ids
  are copied as they stand. A document without a score has no span, ``[]``, and no filter on a span matches it.

Attributes come from a finished output of ``curator filter`` (no model is needed), or from scoring here and now. Compression
follows the file's suffix; bytes are the same on every run. Cost: one reading of the documents; memory for a batch of them. It
writes to this machine's disk alone, and does not know which documents were kept: mixing by a threshold says that again.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby, islice, zip_longest
from pathlib import Path
from typing import IO, Any, NamedTuple

import zstandard

from curator.errors import ArtifactError, ConfigError, FingerprintError
from curator.files import atomic_file
from curator.filtering.job import load_plan
from curator.filtering.ledger import step_name
from curator.filtering.output import load_manifest
from curator.filtering.rows import to_line
from curator.filtering.score_file import SCORES, read_score_file, score_file_name
from curator.filtering.shards import ShardInfo
from curator.integrations.lazy import LazyScorer
from curator.records import Rejection
from curator.text.folders import find_files
from curator.text.lines import blocks_of, bounded_lines
from curator.text.pieces import piece_is_current
from curator.text.rows import DEFAULT_MAX_RECORD_BYTES, SourceOptions
from curator.text.uris import JSONL_SUFFIXES, Scheme, has_suffix, parse_uri

TAGGER = "curator"
_BATCH_DOCUMENTS = 256
_DOCUMENTS = "documents"
Span = tuple[int, int, float]
Spans = Mapping[str, Sequence[Span]]
"""Spans of one document by target."""


class Line(NamedTuple):
    """What an attribute needs of one line of a document file."""

    id: object
    source: object
    text: str


def attributes_from_output(out: Path, name: str) -> list[Path]:
    """Write the scores of a finished filter output beside the documents that it read; returns the files written.

    Args:
        out: the output folder; every source must be a JSONL file in a folder ``documents``, or below one.
        name: of the folder under ``attributes``, and the first part of every key.

    Raises:
        ConfigError: a source is not such a file.
        FingerprintError: a document file is not what was scored.
        ArtifactError: a score file is damaged.
    """
    plan, manifest = load_plan(out).scoring, load_manifest(out)
    paths = {piece.uri: _local_file(piece.uri) for piece in plan.pieces}
    known: dict[str, str] = {}
    for piece in plan.pieces:
        if not piece_is_current(piece, known):
            raise FingerprintError(f"{piece.uri} is not the file that was scored; run the filter again.")
    files = {file.name: file for file in manifest.files}
    names = [score_file_name(step_name(SCORES, number, len(plan.pieces))) for number in range(len(plan.pieces))]
    targets = plan.scorer.targets
    written = []
    for uri, group in groupby(zip(plan.pieces, names, strict=True), key=lambda pair: pair[0].uri):
        rows = _rows(out, [files[file] for _, file in group], targets)
        found = _spans_of_rows(rows, targets, lines_of(paths[uri], plan.source_options), uri)
        written.append(write_attributes(paths[uri], name, targets, found))
    return written


def tag(
    documents: Sequence[str | Path], scorer: LazyScorer, name: str, options: SourceOptions | None = None
) -> list[Path]:
    """Score document files and write their attributes, file by file; returns the files written.

    Args:
        documents: files, folders or globs of JSONL files in a folder ``documents``, or below one.
        scorer: what to score with.
        name: of the folder under ``attributes``, and the first part of every key.
        options: which fields hold id, source and text.

    Raises ConfigError for another source, and what scoring raises.
    """
    options = options or SourceOptions()
    paths = [_local_file(str(path)) for place in documents for path in find_files(str(place))]
    return [write_attributes(path, name, scorer.targets, _scored(lines_of(path, options), scorer)) for path in paths]


def write_attributes(
    documents: Path, name: str, targets: Sequence[str], attributes: Iterable[tuple[Line, Spans]]
) -> Path:
    """Write the attribute file of one document file, whole or not at all; returns its path.

    ``attributes`` gives each line of the document file, in order, with its spans. Raises ConfigError as ``attribute_path`` does,
    and for two targets that have one key.
    """
    target, keys = attribute_path(documents, name), {domain: attribute_key(name, domain) for domain in targets}
    if len(set(keys.values())) < len(keys):
        raise ConfigError(
            f"Of the targets {', '.join(targets)} two would have one key; filter for one of them at a time."
        )
    with atomic_file(target) as handle, ExitStack() as stack:
        stream = _compressed(handle, target.name, stack)
        for line, spans in attributes:
            attached = {keys[domain]: found for domain, found in spans.items()}
            record = {"id": line.id, "attributes": attached, "source": line.source}
            if line.source is None:
                del record["source"]
            stream.write(to_line(record))
    return target


def attribute_path(documents: Path, name: str) -> Path:
    """Where dolma looks for the attributes of a document file: every folder ``documents`` becomes ``attributes/<name>``.

    Raises ConfigError for a file that is not in such a folder, or for a name that is no plain folder name.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name):
        raise ConfigError(f"{name!r} cannot name attributes; begin with a letter, then letters, digits, ., - and _.")
    *folders, file = documents.parts
    if _DOCUMENTS not in folders:
        raise ConfigError(
            f"{documents} is not in a folder `documents`; dolma finds attributes by that name, so move it there."
        )
    moved = [part for folder in folders for part in (("attributes", name) if folder == _DOCUMENTS else (folder,))]
    return Path(*moved, file)


def attribute_key(name: str, target: str) -> str:
    """The key of one target's spans: three parts that ``__`` divides, usable in a jsonpath without quotes."""
    return "__".join((_variable(name), TAGGER, _variable(target)))


def lines_of(path: Path, options: SourceOptions) -> Iterator[Line]:
    """Lines of a JSONL file as they stand. A line that is no record, which dolma will refuse, has neither id nor text."""
    with path.open("rb") as handle:
        for _, line in bounded_lines(blocks_of(handle, path.name), str(path), DEFAULT_MAX_RECORD_BYTES):
            if isinstance(line, Rejection):
                yield Line(None, None, "")
            elif line.strip():
                yield _line(line, options)


def _line(line: bytes, options: SourceOptions) -> Line:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        return Line(None, None, "")
    text = row.get(options.text_field)
    return Line(row.get(options.id_field), row.get(options.source_field), text if isinstance(text, str) else "")


def _scored(lines: Iterator[Line], scorer: LazyScorer) -> Iterator[tuple[Line, Spans]]:
    while batch := list(islice(lines, _BATCH_DOCUMENTS)):
        for line, result in zip(batch, scorer.score([line.text for line in batch]), strict=True):
            scores = [None] * len(scorer.targets) if isinstance(result, Rejection) else result
            pairs = zip(scorer.targets, scores, strict=True)
            yield line, {target: [(0, len(line.text), score.probability)] if score else [] for target, score in pairs}


def _rows(out: Path, files: Sequence[ShardInfo], targets: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of some score files, one after the other."""
    columns = ["window", "window_start", "window_end", *(f"probability:{target}" for target in targets)]
    for file in files:
        for batch in read_score_file(out, file, columns).to_batches(max_chunksize=1024):
            yield from batch.to_pylist()


def _spans_of_rows(
    rows: Iterable[dict[str, Any]], targets: Sequence[str], lines: Iterable[Line], uri: str
) -> Iterator[tuple[Line, Spans]]:
    """Each line with the spans of its row, or of the rows of its windows. Raises ArtifactError unless they come out even."""
    for line, record in zip_longest(lines, _records(rows)):
        if line is None or record is None:
            raise ArtifactError(f"The scores of {uri} do not belong to its lines; run the filter again.")
        ranges = list(_ranges(line.text, record))
        yield line, {target: list(_spans(record, ranges, f"probability:{target}")) for target in targets}


def _spans(record: Sequence[Mapping[str, Any]], ranges: Sequence[tuple[int, int]], column: str) -> Iterator[Span]:
    for row, (start, end) in zip(record, ranges, strict=True):
        if row[column] is not None:
            yield start, end, row[column]


def _records(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The rows of one record at a time: a row for the whole document, or one for each of its windows."""
    record: list[dict[str, Any]] = []
    for row in rows:
        if row["window"] <= 0 and record:
            yield record
            record = []
        record.append(row)
    if record:
        yield record


def _ranges(text: str, record: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, int]]:
    """The range of each row in characters: all of a whole document, or what the bytes of a window are, windows in order."""
    data, byte, character = b"", 0, 0
    for row in record:
        if row["window"] < 0:
            yield 0, len(text)
            continue
        data = data or text.encode()
        character += len(data[byte : row["window_start"]].decode())
        byte = row["window_start"]
        yield character, character + len(data[byte : row["window_end"]].decode())


def _local_file(uri: str) -> Path:
    parsed = parse_uri(uri)
    path = Path(parsed.location)
    if parsed.scheme is not Scheme.FILE or parsed.hash_split or not has_suffix(path.name, JSONL_SUFFIXES):
        raise ConfigError(f"{uri} is not a whole local JSONL file; dolma attributes stand beside such files alone.")
    return path


def _compressed(handle: IO[bytes], name: str, stack: ExitStack) -> IO[bytes]:
    name = name.lower()
    if name.endswith(".gz"):
        return stack.enter_context(gzip.GzipFile(filename="", mode="wb", fileobj=handle, mtime=0))  # pyright: ignore
    if name.endswith((".zst", ".zstd")):
        return stack.enter_context(zstandard.ZstdCompressor(level=3).stream_writer(handle, closefd=False))  # pyright: ignore
    return handle


def _variable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "_"
