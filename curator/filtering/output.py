"""The finished output of a filter: its manifest, its dataset card, and the checks of both.

    out/kept/kept-00000.jsonl.zst      shards, in each wanted format, rows in the order of the corpus
    out/rejected/rejected-00000...     the same for what was not kept, where asked for
    out/scores/scores-00000.parquet    one file a piece of the input, one row a record: scores, tokens, top neurons, hashes
    out/prefilter/                     of a cascade: what was asked before the model
    out/decisions.parquet              one row a document (or window): kept, reason, target, shard
    out/unreadable.jsonl               place, reason and detail of every record that never became a document
    out/plan.json                      scorer, sources, pieces with fingerprints, policy, options
    out/README.md                      dataset card: ``datasets.load_dataset(out)`` opens the kept shards as ``train``
    out/manifest.json                  written last: policy, options, context, report, and the SHA-256 of every other file
    out/timing.json                    how long it took; the only file that differs between equal runs, and not in the manifest

With the format ``arrow``, ``out/kept`` is besides a folder that ``datasets.load_from_disk`` opens. Until all of it is there the
folder is called ``out.work`` and holds two more, which the last step removes:

    out.work/ledger/<step>.json        what is done: see ``ledger``
    out.work/sample/                   of a cascade: texts and scores that the prefilter is learned from
    out.work/selection/                the verdict on every row, the shards to be written, the report
    out.work/input/                    standard input, spooled

The manifest carries no clock and no machine, so equal runs have equal manifests. An output with a manifest is finished: the
same settings again are a no-op, other settings are refused with the names of what differs. Cost: ``verify_output`` reads
every file once. It does not know how the files were made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curator import fingerprint
from curator.errors import ArtifactError, ConfigError
from curator.files import inside, read_json
from curator.filtering.policy import Policy
from curator.filtering.shards import DEFAULT_SHARD_BYTES, SUFFIXES, ShardFormat, ShardInfo
from curator.filtering.tally import FilterReport
from curator.version import __version__

MANIFEST = "manifest.json"
CARD = "README.md"
TIMING = "timing.json"
DECISIONS = "decisions.parquet"
UNREADABLE = "unreadable.jsonl"
FORMAT = "curator-filter-output"
FORMAT_VERSION = 2


class OutputOptions(BaseModel):
    """How the output is laid out; part of a job's identity, as it changes the bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    formats: tuple[ShardFormat, ...] = Field(
        default=("jsonl",), min_length=1, description="Shard formats; the first is the one that load_dataset opens."
    )
    target_shard_bytes: int = Field(
        default=DEFAULT_SHARD_BYTES, ge=1, description="Shard size: bytes of the users' part of the rows as JSON lines."
    )
    write_rejected: bool = Field(default=False, description="Write rejected documents with their reasons.")


class Manifest(BaseModel):
    """What a finished output is made of and made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["curator-filter-output"] = FORMAT
    format_version: Literal[2] = FORMAT_VERSION
    software: str = __version__
    policy: Policy
    options: OutputOptions
    context: dict[str, str]
    report: dict[str, Any]
    shift: dict[str, Any] = Field(default_factory=dict, description="Kept against all, by length and by source.")
    prefilter: dict[str, Any] = Field(
        default_factory=dict,
        description="Of a cascade: settings, the recall on held-out documents by target, and whether the cutoffs held.",
    )
    files: tuple[ShardInfo, ...]

    @property
    def formats(self) -> tuple[ShardFormat, ...]:
        """The shard formats, the default one first."""
        return self.options.formats

    def filter_report(self) -> FilterReport:
        """The counts of the run. Raises ArtifactError when they are damaged."""
        return FilterReport.from_json(self.report)

    def shards(self, kind: str, shard_format: ShardFormat | None = None) -> list[ShardInfo]:
        """The ``kept`` or ``rejected`` shards in one format, in order; of the first format unless one is named."""
        suffix = SUFFIXES[shard_format or self.formats[0]]
        return [file for file in self.files if file.name.startswith(f"{kind}/") and file.name.endswith(suffix)]


def is_finished(out: Path) -> bool:
    """Whether a folder holds a finished output."""
    return (out / MANIFEST).is_file()


def load_manifest(out: Path) -> Manifest:
    """The manifest of a finished output. Raises ArtifactNotFoundError without one, ArtifactError when it is damaged."""
    value = read_json(out / MANIFEST)
    try:
        return Manifest.model_validate(value)
    except (ValidationError, ConfigError) as error:
        raise ArtifactError(f"{out / MANIFEST} is not a manifest of this version; filter into a new folder.") from error


def require_free_or_finished(out: Path) -> None:
    """Raise ConfigError when ``out`` is a file, or a folder with something else than an output in it."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; name a folder for the output.")
    if out.is_dir() and not is_finished(out) and any(out.iterdir()):
        raise ConfigError(f"The folder {out} is not empty and holds no finished output; name a new or an empty folder.")


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
    listed = {entry.name for entry in manifest.files} | {MANIFEST, TIMING}
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
        "policy": manifest.policy.model_dump(mode="json", exclude_none=True),
        "kept": {name: {"rows": t.rows_kept, "cutoff": t.cutoff} for name, t in report.targets.items()},
        "rejected": dict(report.rejected),
        "unreadable": dict(report.unreadable),
        **({"prefilter": manifest.prefilter} if manifest.prefilter else {}),
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
            f"Selected by rosetta-curator {manifest.software}. Columns that begin with `curator_` were added: the target that "
            "a row was kept for, the score, its calibrated probability, the number of tokens, the neurons that spoke for the "
            "document, and the reason where it was rejected. All other fields are as they came in.",
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


def arrow_folder_files(shards: Sequence[ShardInfo], identity: str) -> dict[str, Any]:
    """The two JSON files that make a folder of Arrow shards one that ``datasets.load_from_disk`` opens.

    The features are left to the schema of the shards, which says them already. ``identity`` names the content, by which
    ``datasets`` keys its caches.
    """
    files = [{"filename": shard.name.rpartition("/")[2]} for shard in shards]
    state = {
        "_data_files": files,
        "_fingerprint": identity[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": "train",
    }
    return {
        "state.json": state,
        "dataset_info.json": {"citation": "", "description": "", "homepage": "", "license": ""},
    }


def _card_configs(manifest: Manifest) -> list[str]:
    """One configuration per kind that has shards, in the first format alone: ``datasets`` reads all by one loader."""
    suffix = SUFFIXES[manifest.formats[0]]
    lines: list[str] = []
    for name, kind in (("default", "kept"), ("rejected", "rejected")):
        if manifest.shards(kind):
            lines += [f"- config_name: {name}", "  data_files:", "  - split: train", f"    path: {kind}/*{suffix}"]
    return ["configs:", *lines] if lines else []


def _require_counts(out: Path, manifest: Manifest, report: FilterReport) -> None:
    """The shards of each format must hold the rows and tokens that the report counts."""
    for shard_format in manifest.formats:
        kept = manifest.shards("kept", shard_format)
        rejected = manifest.shards("rejected", shard_format)
        found = sum(file.documents for file in kept), sum(file.tokens for file in kept)
        unkept = report.rows_in - report.rows_kept
        if found != (report.rows_kept, report.tokens_kept) or (
            manifest.options.write_rejected and sum(file.documents for file in rejected) != unkept
        ):
            raise ArtifactError(f"The shards and the report of {out} disagree; run the filter again.")
    if not report.adds_up:
        raise ArtifactError(f"The counts of {out} do not add up; run the filter again.")
