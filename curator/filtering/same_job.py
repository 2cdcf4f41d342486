"""Whether two plans are one job, and in words what distinguishes them.

Paths of this machine are compared as the files that they lead to: another spelling, a link or another working folder makes no
other job. A relative path in an older plan is taken from the working folder of now. It does not know what a plan is for.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

from curator.errors import FingerprintError
from curator.filtering.job import Plan
from curator.text.pieces import Piece
from curator.text.uris import canonical

_SHOWN_FILES = 3


def require_same_plan(folder: Path, there: Plan, wanted: Plan) -> None:
    """Raise FingerprintError with the names of what differs, unless both plans are one."""
    if differing := differences(there, wanted):
        raise FingerprintError(
            f"{folder} belongs to another job: {', '.join(differing)}; run the job as it was, name a new folder, or "
            "delete this one (scores of a finished job serve another policy by --from-scores)."
        )


def differences(there: Plan, wanted: Plan) -> list[str]:
    """What distinguishes two plans, in words; empty when they are the same."""
    left, right = _flat(there), _flat(wanted)
    names = [
        name for name in [*left, *(name for name in right if name not in left)] if left.get(name) != right.get(name)
    ]
    before, now = there.scoring.pieces, wanted.scoring.pieces
    inputs = changed_inputs(before, now)
    if not inputs and _cuts(before) != _cuts(now):
        names.append("piece size")
    return [*([f"{', '.join(names)} changed"] if names else []), *inputs]


def changed_inputs(there: Iterable[Piece], now: Iterable[Piece]) -> list[str]:
    """Which input files differ between two cuts, and how; the first three by name."""
    before, after = ({canonical(piece.uri): piece for piece in pieces} for pieces in (there, now))
    new = {piece.fingerprint: piece.uri for place, piece in after.items() if place not in before}
    told: list[str] = []
    for place, piece in sorted(before.items()):
        if place not in after:
            moved = new.pop(piece.fingerprint, None)
            told.append(f"the input {piece.uri} " + (f"moved to {moved}" if moved else "is missing"))
        elif after[place].fingerprint != piece.fingerprint:
            told.append(f"the input {piece.uri} changed")
    told += [f"the input {uri} is new" for uri in sorted(new.values())]
    more = len(told) - _SHOWN_FILES
    return [*told[:_SHOWN_FILES], f"and so of {more} more inputs"] if more > 0 else told


def _cuts(pieces: Iterable[Piece]) -> list[tuple[str, str, int, int]]:
    return [(canonical(piece.uri), piece.kind, piece.start, piece.end) for piece in pieces]


def _flat(plan: Plan) -> dict[str, object]:
    scoring = plan.scoring
    names = {
        "etag": "the neuron set or its method",
        "model_fingerprint": "the model",
        "neuron_set": "the neuron set's name",
    }
    scorer = scoring.scorer.model_dump(mode="json")
    return {
        **{names.get(name, name): value for name, value in scorer.items()},
        "sources": [canonical(uri) for uri in scoring.sources],
        **_prefixed("source_options", scoring.source_options),
        **{f"the {name} settings": value for name, value in scoring.annotators.items()},
        **({} if scoring.cascade is None else _prefixed("cascade", scoring.cascade)),
        **_prefixed("policy", plan.policy),
        **_prefixed("options", plan.options),
    }


def _prefixed(prefix: str, part: BaseModel) -> dict[str, object]:
    return {f"{prefix}.{name}": value for name, value in part.model_dump(mode="json").items()}
