"""Take the score files of a finished job over into another one, so that it can select again without a model.

Each file is compared with the hash in the finished job's manifest, then linked into the new work folder (copied where the file
system has no links), then entered into the new ledger: a step like any other, which a killed process does not leave half done.
Cost: one reading of the score files, about 60 bytes a document and target.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from curator.files import atomic_file, partial_name
from curator.filtering.cascade_plan import PREFILTER
from curator.filtering.job import Job
from curator.filtering.ledger import Ledger, ShardRecord
from curator.filtering.output import load_manifest
from curator.filtering.run_shard import score_step
from curator.filtering.score_file import read_score_file, score_file_name


def adopt_scores(job: Job, finished: Path) -> list[ShardRecord]:
    """Take the score files of a finished job over; the ledger entry of each follows its file."""
    _adopt_prefilter(job, finished)
    ledger = Ledger(job.work)
    files = {file.name: file for file in load_manifest(finished).files}
    adopted = []
    for number in range(len(job.plan.scoring.pieces)):
        step, inputs = score_step(job, number)
        found = ledger.find(step, inputs)
        if found is None:
            file = files[score_file_name(step)]
            window_R = read_score_file(finished, file, ["window"])["window"].to_numpy()
            counts = {"records": int((window_R <= 0).sum()), "rows": int(window_R.size)}
            link_or_copy(finished / file.name, job.work / file.name)
            record = ShardRecord(
                step=step, inputs=inputs, files=(file,), documents=file.documents, tokens=file.tokens, **counts
            )
            found = ledger.commit(record)
        adopted.append(found)
    return adopted


def _adopt_prefilter(job: Job, finished: Path) -> None:
    """The prefilter stays with its scores; it is compared with its own fingerprint when it is read."""
    if job.plan.scoring.cascade is not None:
        for path in (finished / PREFILTER).iterdir():
            link_or_copy(path, job.work / PREFILTER / path.name)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a finished file a second name, or copy it where that cannot be; ``target`` appears whole."""
    temporary = partial_name(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, temporary)
    except OSError:  # another disk, or a file system without links
        with source.open("rb") as reader, atomic_file(target) as writer:
            shutil.copyfileobj(reader, writer)
        return
    try:
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)  # a rename onto another name of the same file does nothing and leaves both
