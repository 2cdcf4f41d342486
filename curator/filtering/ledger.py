"""The ledger of a job: which steps are done, and what they made.

A step (``scores-00012``, ``select``, ``kept-00003``) writes its files, each by an atomic rename, and then its entry
``ledger/<step>.json``, which is the commit: without an entry the step was never made, and whatever it left is written over
by the same bytes. An entry counts only while it names the same inputs and its files lie there in their full size, so deleting
a damaged file is enough to have it made again. Cost: one small file and two flushes to disk a step. It does not know what
steps mean, and hashes nothing again: ``verify_output`` does.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curator.errors import ArtifactError, ArtifactNotFoundError
from curator.files import read_json, remove_partials, write_json
from curator.filtering.shards import ShardInfo

LEDGER = "ledger"


class ShardRecord(BaseModel):
    """The entry of one step: what it depended on, what it counted, and its files with sizes and hashes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str
    inputs: str = Field(description="Fingerprint of everything that the files depend on.")
    files: tuple[ShardInfo, ...]
    records: int = Field(default=0, description="Records of the piece, unreadable ones included.")
    rows: int = Field(default=0, description="Rows written: one per record, or one per window.")
    documents: int = Field(default=0, description="Records that were documents.")
    tokens: int = Field(default=0, description="Tokens read by the model.")


class Ledger:
    """The entries of one work folder."""

    def __init__(self, work: Path) -> None:
        self._work = work

    def find(self, step: str, inputs: str) -> ShardRecord | None:
        """The entry of a step that is done with these inputs and whose files are there; None otherwise."""
        try:
            record = ShardRecord.model_validate(read_json(self._path(step)))
        except (ArtifactNotFoundError, ArtifactError, ValidationError):
            return None
        if record.inputs != inputs or record.step != step:
            return None
        return record if all(self._is_whole(file) for file in record.files) else None

    def commit(self, record: ShardRecord) -> ShardRecord:
        """Write the entry of a step whose files are all in place."""
        write_json(self._path(record.step), record.model_dump(mode="json"))
        return record

    def sweep(self) -> None:
        """Delete what killed processes left half-written; call it while no step is being made."""
        for folder in (self._work, *(path for path in self._work.iterdir() if path.is_dir())):
            remove_partials(folder)

    def _path(self, step: str) -> Path:
        return self._work / LEDGER / f"{step}.json"

    def _is_whole(self, file: ShardInfo) -> bool:
        path = self._work / file.name
        return path.is_file() and path.stat().st_size == file.bytes


def step_name(kind: str, number: int, total: int) -> str:
    """``kept-00003``: zero-filled so that names sort as numbers do, five digits or as many as ``total`` needs."""
    return f"{kind}-{number:0{max(5, len(str(total - 1)))}d}"
