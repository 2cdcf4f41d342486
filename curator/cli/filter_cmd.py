"""``curator filter``: any text source in, kept and rejected shards out, with a manifest written last.

The identity of a job is the scorer, the policy, the output's layout, the sources with their sizes, and the fields read. It is
compared before any model is loaded: the same job again does nothing, another job into the same folder is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from curator.cli import options, scorers
from curator.cli.console import ConsoleReporter, FilterMeter, remark, say, show_table
from curator.errors import ConfigError

if TYPE_CHECKING:
    from curator.filtering.output import Manifest
    from curator.filtering.tally import FilterReport
    from curator.text.sources import SourceOptions

STDIN = "-"
SHOWN_FILES = 12


def filter_(
    sources: options.Sources,
    out: Annotated[Path, typer.Option(help="A new folder for the output.", metavar="DIR")],
    neuron_set: scorers.NeuronSetPlace = None,
    threshold: Annotated[float | None, typer.Option(help="Keep documents that score at least this.")] = None,
    keep_fraction: Annotated[float | None, typer.Option(help="Keep this fraction of the documents, the best.")] = None,
    token_budget: Annotated[str | None, typer.Option(help="Keep the best within so many tokens, e.g. 16M.")] = None,
    by: Annotated[Literal["probability", "value"], typer.Option(help="Calibrated or raw score.")] = "probability",
    domain: scorers.Domain = None,
    method: scorers.Method = None,
    model: scorers.Model = None,
    remote: scorers.Remote = None,
    token: scorers.Token = "",
    tls: scorers.Tls = False,
    formats: Annotated[list[str] | None, typer.Option("--format", help="jsonl (zstd) or parquet; repeat.")] = None,
    rejected: Annotated[bool, typer.Option(help="Write the rejected documents too, with their reasons.")] = True,
    shard_size: Annotated[str, typer.Option(help="Size of a shard before compression.")] = "128MiB",
    text_field: options.TextField = "text",
    id_field: options.IdField = "id",
    domain_field: options.DomainField = "domain",
    source_field: options.SourceField = "source",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Keep the documents of a source that a neuron set speaks for."""
    from curator.filtering.job import filter_stream, score_stream
    from curator.filtering.output import OutputOptions, finished_report
    from curator.filtering.policy import Policy
    from curator.text.sources import SourceOptions, open_sources

    budget = options.parse_count(token_budget) if token_budget else None
    policy = Policy(threshold=threshold, keep_fraction=keep_fraction, token_budget=budget, field=by)
    layout = OutputOptions.model_validate(
        {
            "formats": tuple(dict.fromkeys(formats or ["jsonl"])),
            "target_shard_bytes": options.parse_size(shard_size),
            "write_rejected": rejected,
        }
    )
    fields = SourceOptions(
        text_field=text_field, id_field=id_field, domain_field=domain_field, source_field=source_field
    )
    chosen = scorers.chosen_scorer(
        neuron_set,
        model=model,
        domain=domain,
        method=method,
        device=device,
        dtype=dtype,
        remote=remote,
        token=token,
        tls=tls,
    )
    with chosen as choice:
        context = {**choice.identity, **source_identity(sources, fields)}
        finished = finished_report(out, policy, layout, context)
        if finished is not None:
            _require_comparable(sources, out)
            remark(f"{out} already holds this job, finished; nothing was read or written")
            _show(finished, out)
            return
        records = open_sources(sources, fields)
        with ConsoleReporter() as reporter:
            scorer = choice.load(reporter)
        with FilterMeter() as meter:
            scored = score_stream(records, scorer, batch_documents=choice.batch_documents)
            report = filter_stream(scored, policy, out, options=layout, context=context, progress=meter)
    remark(meter.summary(report))
    _show(report, out)


def source_identity(sources: Sequence[str], fields: SourceOptions) -> dict[str, str]:
    """What is read: the URIs as given, the fields, and the bytes of local files, so that a file that grew is another job."""
    return {
        "sources": json.dumps(list(sources), ensure_ascii=False),
        "source_bytes": json.dumps([_local_bytes(source) for source in sources]),
        "source_fields": fields.model_dump_json(),
    }


def _local_bytes(source: str) -> int | None:
    """Size of everything that a URI stands for on this disk; None for other places."""
    from curator.text.uris import Scheme, find_files, parse_uri

    parsed = parse_uri(source)
    if parsed.scheme is not Scheme.FILE:
        return None
    found = [
        path for place in find_files(parsed.location) for path in ([place] if place.is_file() else place.rglob("*"))
    ]
    return sum(path.stat().st_size for path in found if path.is_file())


def _require_comparable(sources: Sequence[str], out: Path) -> None:
    if STDIN in sources:
        raise ConfigError(
            f"{out} holds a finished job, and whether standard input is the same text as then cannot be known; name a new "
            "folder."
        )


def _show(report: FilterReport, out: Path) -> None:
    from curator.filtering.output import load_manifest

    manifest = load_manifest(out)
    rows: list[tuple[str, int, int | None]] = [
        ("read", report.documents_in + report.documents_unreadable, None),
        ("kept", report.documents_kept, report.tokens_kept),
        *((f"rejected: {reason}", count, None) for reason, count in report.rejected.items()),
        *((f"unreadable: {reason}", count, None) for reason, count in report.unreadable.items()),
        ("scored in all", report.documents_in, report.tokens_in),
    ]
    show_table(f"Filtered by {manifest.context['neuron_set']}", ("documents", "count", "tokens"), rows)
    if report.cutoff is not None:
        say(f"cutoff   {report.cutoff:.6g} ({manifest.policy.field})")
    _show_files(manifest, out)


def _show_files(manifest: Manifest, out: Path) -> None:
    for entry in manifest.files[:SHOWN_FILES]:
        say(f"wrote    {out / entry.name}  {entry.documents:,} documents, {entry.bytes:,} bytes")
    if len(manifest.files) > SHOWN_FILES:
        say(f"wrote    {len(manifest.files) - SHOWN_FILES} more files")
    say(f"manifest {out / 'manifest.json'}")
