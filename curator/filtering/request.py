"""What a job is asked to do, as one value: sources, scorer, policy and layout, and the folder of its output.

A request becomes a plan once its input has been cut; the plan is the job's identity, and a request that gives another one is
refused. Several processes that make parts of one job are each given the same request. It does not know who makes the steps.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from curator.filtering.annotate import Annotator
from curator.filtering.cascade_plan import CascadeOptions, CascadePlan
from curator.filtering.inputs import STDIN, cut_input, require_documents, spool
from curator.filtering.job import Job, Plan, ScoringPlan
from curator.filtering.output import OutputOptions
from curator.filtering.policy import Policy
from curator.filtering.progress import Meter, Watch
from curator.filtering.tasks import ScorerFactory
from curator.text.pieces import DEFAULT_PIECE_BYTES, Piece
from curator.text.rows import SourceOptions

WORK_SUFFIX = ".work"
WINDOWS = "windows"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterRequest:
    """A filtering job before anything of it exists."""

    sources: tuple[str, ...]
    """URIs as ``curator.text`` opens them; ``-`` is JSONL on standard input."""
    factory: ScorerFactory
    """Loads the scorer, in this process or in each worker."""
    out: Path
    """A new or empty folder, or one that holds the same job finished; absolute."""
    policy: Policy
    """Which documents to keep."""
    source_options: SourceOptions = field(default_factory=SourceOptions)
    """Which fields of a record are its text, id, domain and source."""
    options: OutputOptions = field(default_factory=OutputOptions)
    """Formats and sizes of the output."""
    annotators: tuple[Annotator, ...] = ()
    """What else is computed beside the scores (near-duplicate signatures, contamination)."""
    window_characters: int = 0
    """Cut longer documents into windows of about this length, scored each for itself; 0 for none."""
    cascade: CascadeOptions | None = None
    """Put a prefilter before the model that stops documents which the policy cannot keep."""
    piece_bytes: int = DEFAULT_PIECE_BYTES
    """About how much input makes one step; part of the job's identity."""
    stdin: IO[bytes] | None = None
    """Read for ``-`` in place of the process's own standard input."""

    @property
    def work(self) -> Path:
        """The folder that the job works in."""
        return work_folder(self.out)

    def planned(self, work: Path, watch: Watch) -> Plan:
        """Cut the input and make the plan; standard input is copied into ``work`` first.

        Raises what cutting raises, and as ``require_documents`` does for an input that cannot be meant.
        """
        if STDIN in self.sources:
            spool(self.stdin or sys.stdin.buffer, work)
        meter = Meter("cut", watch)
        pieces = cut_input(
            self.sources, self.source_options, work, piece_bytes=self.piece_bytes, progress=meter.reading
        )
        require_documents(pieces, self.source_options, work)
        plan = self.plan_of(pieces)
        meter(None, len(pieces), 0)
        return plan

    def plan_of(self, pieces: tuple[Piece, ...]) -> Plan:
        """The plan over an input that has been cut before."""
        scorer = self.factory.identity
        extra = {annotator.name: annotator.fingerprint for annotator in self.annotators}
        windows = self.window_characters
        scoring = ScoringPlan(
            scorer=scorer,
            sources=self.sources,
            source_options=self.source_options,
            annotators=extra | ({WINDOWS: str(windows)} if windows else {}),
            pieces=pieces,
            cascade=CascadePlan.of(self.cascade, self.policy, scorer.targets, windows) if self.cascade else None,
        )
        return Plan(scoring=scoring, policy=self.policy, options=self.options)

    def job(self, plan: Plan) -> Job:
        """The plan at work in its folder."""
        return Job(plan, self.work, self.annotators, self.window_characters)


def work_folder(out: Path) -> Path:
    """Where a job works until its output is complete."""
    return out.with_name(out.name + WORK_SUFFIX)
