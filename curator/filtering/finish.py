"""The last step of a job: what is written once for all, then the manifest, then one rename of ``OUT.work`` to ``OUT``.

Each file is a pure function of what is already committed and appears by a rename, so a process that dies here leaves a folder
from which the same steps are taken again. With the manifest the output is whole: whatever it does not name (ledger, selection,
spooled input) is deleted, and the folder takes its place. Cost: one pass over ids and reasons of the score files, in groups of
65,536 rows. It does not know models or texts.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from curator.files import atomic_file, sync_folder, write_json
from curator.filtering.arrays import REASONS
from curator.filtering.cascade_plan import PREFILTER
from curator.filtering.job import PLAN, Job
from curator.filtering.ledger import ShardRecord
from curator.filtering.output import (
    CARD,
    DECISIONS,
    MANIFEST,
    TIMING,
    UNREADABLE,
    Manifest,
    arrow_folder_files,
    dataset_card,
    load_manifest,
)
from curator.filtering.packing import NO_SHARD
from curator.filtering.rows import to_line
from curator.filtering.score_file import read_score_file
from curator.filtering.selection import Selection
from curator.filtering.shards import ShardInfo, describe
from curator.filtering.write_shard import shard_step

pc: Any = pyarrow.compute  # its functions are made at import, so no type checker sees them
_ROW_GROUP = 16_384
_ZSTD_LEVEL = 3
_DECISIONS_SCHEMA = pa.schema(
    [
        ("document_id", pa.string()),
        ("window", pa.int32()),
        ("kept", pa.bool_()),
        ("reason", pa.string()),
        ("target", pa.string()),
        ("shard", pa.string()),
    ]
)


def finish(job: Job, scored: Sequence[ShardRecord], selection: Selection, written: Sequence[ShardRecord]) -> None:
    """Write decisions, unreadable records, card and manifest of a job whose shards are all there."""
    work, plan, report = job.work, job.plan, selection.report
    _write_decisions(job, scored, selection)
    _write_unreadable(job, scored)
    shards = [file for record in written for file in record.files]
    prefilter = sorted((work / PREFILTER).iterdir()) if plan.scoring.cascade else []
    extras = [
        *(describe(path, work) for path in prefilter),
        *_arrow_files(job, shards),
        describe(work / DECISIONS, work, documents=report.rows_in, tokens=report.tokens_in),
        describe(work / UNREADABLE, work, documents=report.documents_unreadable),
        describe(work / PLAN, work),
    ]
    fields = {
        "policy": plan.policy,
        "options": plan.options,
        "context": plan.context,
        "report": report.to_json(),
        "shift": selection.shift,
        "prefilter": selection.prefilter,
    }
    files = [*shards, *(record.files[0] for record in scored), *extras]
    with atomic_file(work / CARD) as card:
        card.write(dataset_card(Manifest(**fields, files=tuple(files))).encode())
    manifest = Manifest(**fields, files=(*files, describe(work / CARD, work)))
    write_json(work / MANIFEST, manifest.model_dump(mode="json"))


def publish(work: Path, out: Path) -> None:
    """Turn a work folder that has its manifest into the output: delete what it does not name, then rename."""
    listed = {file.name for file in load_manifest(work).files} | {MANIFEST, TIMING}
    for path in [path for path in work.rglob("*") if path.is_file()]:
        if path.relative_to(work).as_posix() not in listed:
            path.unlink(missing_ok=True)
    for folder, _, _ in os.walk(work, topdown=False):
        if not any(Path(folder).iterdir()):
            Path(folder).rmdir()
    sync_folder(work)
    work.rename(out)
    sync_folder(out.parent)


def _write_decisions(job: Job, scored: Sequence[ShardRecord], selection: Selection) -> None:
    """One row for every document or window that was read, in corpus order."""
    schema = _DECISIONS_SCHEMA
    with (
        atomic_file(job.work / DECISIONS) as handle,
        pq.ParquetWriter(handle, schema, compression="zstd", compression_level=_ZSTD_LEVEL) as writer,
    ):
        pending: list[pa.Table] = []
        for table in _decisions(job, scored, selection):
            pending.append(table)
            if sum(part.num_rows for part in pending) >= _ROW_GROUP:
                writer.write_table(pa.concat_tables(pending), row_group_size=_ROW_GROUP)
                pending = []
        if pending:
            writer.write_table(pa.concat_tables(pending), row_group_size=_ROW_GROUP)


def _decisions(job: Job, scored: Sequence[ShardRecord], selection: Selection) -> Iterator[pa.Table]:
    names = pa.array([*(shard_step(job, selection, place)[0] for place in range(len(selection.shards))), ""])
    targets, reasons = pa.array([*selection.targets, ""]), pa.array(REASONS)
    for record, (start, end) in zip(scored, itertools.pairwise(selection.piece_start_P.tolist()), strict=True):
        table = read_score_file(job.work, record.files[0], ["document_id", "place", "window"])
        window_R = table["window"].to_numpy()
        by_window = job.plan.policy.windows == "window"
        unit_R = np.ones(window_R.size, np.bool_) if by_window else window_R <= 0
        row_R = np.flatnonzero(unit_R & pc.equal(table["place"], "").to_numpy())
        reason_R, target_R, shard_R = (
            np.asarray(column)[row_R]
            for column in (selection.reason_D[start:end], selection.target_D[start:end], selection.places(start, end))
        )
        columns = [
            table["document_id"].take(pa.array(row_R)),
            pa.array(window_R[row_R] if by_window else np.full(row_R.size, -1, np.int32)),
            pa.array(target_R >= 0),
            reasons.take(pa.array(reason_R)),
            targets.take(pa.array(np.where(target_R < 0, len(selection.targets), target_R))),
            names.take(pa.array(np.where(shard_R == NO_SHARD, len(selection.shards), shard_R))),
        ]
        yield pa.table(columns, schema=_DECISIONS_SCHEMA)


def _write_unreadable(job: Job, scored: Sequence[ShardRecord]) -> None:
    with atomic_file(job.work / UNREADABLE) as handle:
        for record in scored:
            if record.records == record.documents:
                continue
            table = read_score_file(job.work, record.files[0], ["place", "reason", "detail"])
            for row in table.to_pylist():
                if row["place"]:
                    handle.write(to_line(row))


def _arrow_files(job: Job, shards: Sequence[ShardInfo]) -> list[ShardInfo]:
    """The files that make ``kept`` and ``rejected`` folders of ``datasets``, where the format is wanted."""
    described: list[ShardInfo] = []
    for kind in ("kept", "rejected"):
        arrow = [file for file in shards if file.name.startswith(f"{kind}/") and file.name.endswith(".arrow")]
        for name, value in arrow_folder_files(arrow, job.plan.fingerprint).items() if arrow else ():
            write_json(job.work / kind / name, value)
            described.append(describe(job.work / kind / name, job.work))
    return described
