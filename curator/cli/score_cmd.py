"""``curator score``: one line for each document with its score, or with the reason why it has none; nothing is dropped.

    {"document_id": "a", "value": 1.3, "probability": 0.97, "tokens": 211, "top_neurons": ["L3/U17"]}
    {"document_id": "b", "rejected": "no_spans", "detail": "the text is too short: 0 scored tokens"}
    {"place": "pool.jsonl:7", "rejected": "invalid_json", "detail": "..."}

To standard output, or to a file that appears when it is whole: ``.jsonl``, ``.jsonl.zst`` or ``.parquet``.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from curator.cli import options, scorers
from curator.cli.console import ConsoleReporter, remark
from curator.cli.partners import require_partners
from curator.errors import ConfigError
from curator.files import atomic_file
from curator.records import Rejection

if TYPE_CHECKING:
    from curator.records import Document, TargetResult

Write = Callable[[dict[str, Any]], None]
_ROW_GROUP = 16_384


def score(
    context: typer.Context,
    sources: options.Sources,
    neuron_set: scorers.NeuronSetPlace = None,
    domain: scorers.Domain = None,
    method: scorers.Method = None,
    model: scorers.Model = None,
    remote: scorers.Remote = None,
    token: scorers.Token = "",
    tls: scorers.Tls = False,
    out: Annotated[
        Path | None, typer.Option(help="A .jsonl, .jsonl.zst or .parquet file; else standard output.")
    ] = None,
    replace: options.Replace = False,
    text_field: options.TextField = "text",
    id_field: options.IdField = "id",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Score every document of a source."""
    from curator.filtering.batches import score_stream
    from curator.text.head import with_documents
    from curator.text.sources import SourceOptions, open_sources

    scorers.require_sense(context)
    require_partners(context, {"replace": ("out",)})
    if out is not None and out.exists() and not replace:
        raise ConfigError(f"{out} exists; replace it with --replace, or name another file with --out.")
    counts: Counter[str] = Counter()
    records = open_sources(sources, SourceOptions(text_field=text_field, id_field=id_field))
    factory = scorers.chosen_scorer(
        neuron_set,
        model=model,
        targets=(domain,) if domain else (),
        method=method,
        device=device,
        dtype=dtype,
        remote=remote,
        token=token,
        tls=tls,
    )
    records = with_documents(records)
    with open_output(out) as write:
        with ConsoleReporter() as reporter:
            reporter.stage(f"loading {factory.identity.neuron_set}")
            scorer = factory(0)
        for item in score_stream(records, scorer):
            row = as_row(item)
            counts[row.get("rejected", "scored")] += 1
            write(row)
    remark(", ".join(f"{name}: {count:,}" for name, count in counts.most_common()))
    if out:
        remark(f"wrote {out}")


def as_row(item: tuple[Document, TargetResult] | Rejection) -> dict[str, Any]:
    """A result as it is written."""
    if isinstance(item, Rejection):
        return {"place": item.place, "rejected": str(item.reason), "detail": item.detail}
    document, result = item
    if isinstance(result, Rejection):
        return {"document_id": document.id, "rejected": str(result.reason), "detail": result.detail}
    return {**asdict(result[0]), "document_id": document.id}


@contextmanager
def open_output(path: Path | None) -> Iterator[Write]:
    """A function that writes one row. Raises ConfigError for a suffix that is not written."""
    if path is None:
        yield lambda row: _write_line(sys.stdout, row)
    elif path.name.endswith(".parquet"):
        with atomic_file(path) as handle, _parquet(handle) as write:
            yield write
    elif path.name.endswith(".jsonl"):
        with atomic_file(path) as handle:
            yield lambda row: _write_bytes(handle, row)
    elif path.name.endswith(".jsonl.zst"):
        import zstandard

        with atomic_file(path) as handle, zstandard.ZstdCompressor().stream_writer(handle, closefd=False) as packed:
            yield lambda row: _write_bytes(packed, row)
    else:
        raise ConfigError(f"{path} has a suffix that is not written; use .jsonl, .jsonl.zst or .parquet.")


def _write_line(stream: IO[str], row: dict[str, Any]) -> None:
    stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_bytes(stream: Any, row: dict[str, Any]) -> None:
    stream.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace"))


@contextmanager
def _parquet(handle: IO[bytes]) -> Iterator[Write]:
    from curator.filtering.shards import load_pyarrow

    pyarrow, parquet = load_pyarrow()
    text, real = pyarrow.string(), pyarrow.float64()
    schema = pyarrow.schema(
        [
            ("document_id", text),
            ("value", real),
            ("probability", real),
            ("tokens", pyarrow.int64()),
            ("top_neurons", pyarrow.list_(text)),
            ("place", text),
            ("rejected", text),
            ("detail", text),
        ]
    )
    rows: list[dict[str, Any]] = []
    with parquet.ParquetWriter(handle, schema, compression="zstd") as writer:

        def flush() -> None:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
            rows.clear()

        def write(row: dict[str, Any]) -> None:
            rows.append(row)
            if len(rows) == _ROW_GROUP:
                flush()

        yield write
        flush()
