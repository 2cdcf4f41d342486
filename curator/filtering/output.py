"""The finished output of a filter: its manifest, its dataset card, and the checks before and after.

    out/kept/kept-00000.jsonl.zst      shards, in each wanted format
    out/rejected/rejected-00000...     the same for what was not kept, where asked for
    out/unreadable.jsonl               place, reason and detail of every record that never became a document
    out/scores.parquet                 one row per document in corpus order: scores, tokens, top neurons, verdict
    out/README.md                      dataset card, so that ``datasets.load_dataset(out)`` opens the kept shards as ``train``
    out/manifest.json                  written last: policy, options, context, report, and the SHA-256 of every other file

The manifest carries no clock and no machine, so equal runs have equal manifests. An output with a manifest is finished: the
same settings again are a no-op, other settings are refused with the names of what differs. Cost: ``verify_output`` reads
every file once. It does not know how the files were made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curator import fingerprint
from curator.errors import ArtifactError, ConfigError, FingerprintError
from curator.files import inside, read_json
from curator.filtering.policy import Policy
from curator.filtering.shards import DEFAULT_SHARD_BYTES, SUFFIXES, ShardFormat, ShardInfo
from curator.filtering.tally import FilterReport
from curator.version import __version__

MANIFEST = "manifest.json"
CARD = "README.md"
FORMAT = "curator-filter-output"
FORMAT_VERSION = 1


class OutputOptions(BaseModel):
    """How the output is laid out; part of a job's identity, as it changes the bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    formats: tuple[ShardFormat, ...] = Field(
        default=("jsonl",), min_length=1, description="Shard formats; the first is the one that load_dataset opens."
    )
    target_shard_bytes: int = Field(
        default=DEFAULT_SHARD_BYTES, ge=1, description="Shard size before compression, in bytes of JSON lines."
    )
    write_rejected: bool = Field(default=True, description="Write rejected documents with their reasons.")
    write_scores: bool = Field(default=True, description="Write scores.parquet where pyarrow is installed.")


class Manifest(BaseModel):
    """What a finished output is made of and made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["curator-filter-output"] = FORMAT
    format_version: Literal[1] = FORMAT_VERSION
    software: str = __version__
    policy: Policy
    options: OutputOptions
    context: dict[str, str]
    report: dict[str, Any]
    files: tuple[ShardInfo, ...]

    @property
    def formats(self) -> tuple[ShardFormat, ...]:
        """The shard formats, the default one first."""
        return self.options.formats

    def filter_report(self) -> FilterReport:
        """The counts of the run. Raises ArtifactError when they are damaged."""
        return FilterReport.from_json(self.report)


def load_manifest(out: Path) -> Manifest:
    """The manifest of a finished output. Raises ArtifactNotFoundError without one, ArtifactError when it is damaged."""
    value = read_json(out / MANIFEST)
    try:
        return Manifest.model_validate(value)
    except (ValidationError, ConfigError) as error:
        raise ArtifactError(f"{out / MANIFEST} is not a manifest of this version; filter into a new folder.") from error


def finished_report(
    out: Path, policy: Policy, options: OutputOptions, context: Mapping[str, str]
) -> FilterReport | None:
    """The report of the same job if ``out`` already holds it whole, None if ``out`` is free to be written.

    Ask before loading a model: a finished job needs none.

    Raises:
        FingerprintError: ``out`` holds the output of another job; the message names what differs.
        ConfigError: ``out`` is a file, or a folder with something else in it.
    """
    if (out / MANIFEST).is_file():
        manifest = load_manifest(out)
        _require_same(
            out, _identity(manifest.policy, manifest.options, manifest.context), _identity(policy, options, context)
        )
        return manifest.filter_report()
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"The folder {out} is not empty and holds no finished output; name a new or an empty folder.")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; name a folder for the output.")
    return None


def verify_output(out: Path) -> FilterReport:
    """Hash every file of a finished output against its manifest and check that the counts add up.

    Raises:
        ArtifactNotFoundError: there is no manifest.
        ArtifactError: a file is missing, changed or not in the manifest, or the counts contradict each other.
    """
    manifest = load_manifest(out)
    for entry in manifest.files:
        path = inside(out, entry.name)
        if not path.is_file():
            raise ArtifactError(f"{path} is missing; run the filter again into a new folder.")
        if path.stat().st_size != entry.bytes or fingerprint.of_file(path) != entry.sha256:
            raise ArtifactError(f"{path} is not the file that the manifest describes; run the filter again.")
    listed = {entry.name for entry in manifest.files} | {MANIFEST}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        if path.relative_to(out).as_posix() not in listed:
            raise ArtifactError(f"{path} is not in the manifest; move it out of the folder.")
    report = manifest.filter_report()
    _require_counts(out, manifest, report)
    return report


def dataset_card(manifest: Manifest) -> str:
    """The README.md of an output: YAML that tells ``datasets`` which files to open, then the job in words and numbers."""
    report = manifest.filter_report()
    rows = [
        ("in", report.documents_in, report.tokens_in),
        ("kept", report.documents_kept, report.tokens_kept),
        ("rejected", report.documents_rejected, report.tokens_in - report.tokens_kept),
        ("unreadable", report.documents_unreadable, 0),
    ]
    job = {
        "policy": manifest.policy.model_dump(exclude_none=True),
        "cutoff": report.cutoff,
        "rejected": dict(report.rejected),
        "unreadable": dict(report.unreadable),
        "context": manifest.context,
    }
    return "\n".join(
        [
            "---",
            *_card_configs(manifest),
            "tags:",
            "- rosetta-curator",
            "---",
            "",
            "# Filtered documents",
            "",
            f"Selected by rosetta-curator {manifest.software}. Columns that begin with `curator_` were added: the score, its "
            "calibrated probability, the number of tokens, the neurons that spoke for the document, and the reason where it "
            "was rejected. All other fields are as they came in.",
            "",
            "| | documents | tokens |",
            "|---|---:|---:|",
            *(f"| {name} | {documents:,} | {tokens:,} |" for name, documents, tokens in rows),
            "",
            "```json",
            json.dumps(job, indent=2, ensure_ascii=True),
            "```",
            "",
        ]
    )


def _card_configs(manifest: Manifest) -> list[str]:
    """One configuration per kind that has shards, in the first format alone: ``datasets`` reads all by one loader."""
    suffix = SUFFIXES[manifest.formats[0]]
    lines: list[str] = []
    for name, kind in (("default", "kept"), ("rejected", "rejected")):
        if any(file.name.startswith(f"{kind}/") for file in manifest.files):
            lines += [f"- config_name: {name}", "  data_files:", "  - split: train", f"    path: {kind}/*{suffix}"]
    return ["configs:", *lines] if lines else []


def _identity(policy: Policy, options: OutputOptions, context: Mapping[str, str]) -> dict[str, object]:
    """Everything that makes two jobs the same job, flat, so that a difference has a name."""
    return {
        **{f"policy.{name}": value for name, value in policy.model_dump(mode="json").items()},
        **{f"options.{name}": value for name, value in options.model_dump(mode="json").items()},
        **{f"context.{name}": value for name, value in context.items()},
    }


def _require_same(out: Path, there: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    differing = sorted(name for name in {*there, *wanted} if there.get(name) != wanted.get(name))
    if differing:
        raise FingerprintError(
            f"{out} holds the output of another job ({', '.join(differing)} differ); name a new folder or delete this one."
        )


def _require_counts(out: Path, manifest: Manifest, report: FilterReport) -> None:
    """The shards of each format must hold the documents and tokens that the report counts."""
    for shard_format in manifest.formats:
        shards = [file for file in manifest.files if file.name.endswith(SUFFIXES[shard_format])]
        kept = [file for file in shards if file.name.startswith("kept/")]
        rejected = sum(file.documents for file in shards if file.name.startswith("rejected/"))
        if (sum(file.documents for file in kept), sum(file.tokens for file in kept)) != (
            report.documents_kept,
            report.tokens_kept,
        ) or (manifest.options.write_rejected and rejected != report.documents_rejected):
            raise ArtifactError(f"The shards and the report of {out} disagree; run the filter again.")
    if not report.adds_up:
        raise ArtifactError(f"The counts of {out} do not add up; run the filter again.")
