"""What the page's script draws neurons from: an index of all of them, and the evidence of each as one line of compact JSON.

The index holds what the table shows, sorts and filters by; a neuron's line is parsed only when it is opened. Token values
travel as one character each: whole standard deviations from -8 to 8 (the shade that is shown), and a character for the
token's length, so that 2,000 neurons with eight contexts read by three models stay below 15 MB. The numbers themselves are
in ``report.json``. ``<`` and ``&`` leave as escapes, so that no text can end the script element or begin a comment.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from curator.report.derived import mean_rho, worst_q
from curator.report.inputs import ReportInputs
from curator.report.parts import Context, NeuronEntry, Reading

LEVELS = 8
LEVEL_CHARACTERS = "abcdefghijklmnopq"  # -8 to 8
NOT_SCORED = "."
LENGTH_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def level(value: float, unit: float = 1.0) -> int:
    """The shade of a value: whole units towards zero, at most eight."""
    return max(-LEVELS, min(LEVELS, math.trunc(value / unit))) if unit > 0 else 0


def index_json(inputs: ReportInputs) -> str:
    """The index: models, domains, and a row for each neuron."""
    return _script_safe(
        {
            "models": _models(inputs),
            "domains": _domains(inputs.neuron_set),
            "columns": [
                "id",
                "domain",
                "auroc",
                "controlled",
                "ap",
                "rho",
                "q",
                "specialisation",
                "strict",
                "partners",
            ],
            "neurons": [
                [
                    neuron.id,
                    neuron.domain,
                    _rounded(neuron.auroc_report),
                    _rounded(neuron.auroc_controlled),
                    _rounded(neuron.ap_report),
                    _rounded(mean_rho(neuron)),
                    _rounded(worst_q(neuron), 5),
                    _rounded(neuron.specialisation),
                    neuron.strict,
                    " ".join(match.neuron for match in neuron.matches),
                ]
                for neuron in inputs.neuron_set
            ],
        }
    )


def evidence_lines(inputs: ReportInputs) -> str:
    """A line of JSON for each neuron, in the order of the index."""
    domains = _domains(inputs.neuron_set)
    return "\n".join(_script_safe(_evidence(neuron, domains)) for neuron in inputs.neuron_set)


def encoded_reading(reading: Reading) -> str:
    """Two characters a token: its length in characters (longer tokens go in pieces) and its level."""
    out = []
    for length, z in zip(reading.lengths, reading.z, strict=True):
        shade = NOT_SCORED if z is None else LEVEL_CHARACTERS[level(z) + LEVELS]
        longest = len(LENGTH_CHARACTERS) - 1
        whole, rest = divmod(length, longest)
        out += [LENGTH_CHARACTERS[longest] + shade] * whole
        if rest:
            out.append(LENGTH_CHARACTERS[rest] + shade)
    return "".join(out)


def _evidence(neuron: NeuronEntry, domains: Sequence[str]) -> dict[str, Any]:
    histogram = neuron.histogram
    return {
        "sign": neuron.sign,
        "universal": neuron.universal,
        "choose": _rounded(neuron.auroc_choose),
        "fire": _rounded(neuron.normalized_fire, 2),
        "dprime": _rounded(neuron.d_prime_report, 2),
        "bits": _rounded(neuron.mutual_information_report, 3),
        "counted": neuron.counted_contexts,
        "domains": [
            [domain, _rounded(one.auroc, 3), _rounded(one.average_precision, 3), _rounded(one.d_prime, 2),
             _rounded(one.mutual_information, 3), _rounded(one.normalized_fire, 2)]
            for domain, one in neuron.domains.items()
        ],
        "matches": [
            [match.peer, match.neuron, _rounded(match.rho), *(_rounded(end) for end in match.interval or (None, None)),
             _rounded(match.q, 5)]
            for match in neuron.matches
        ],
        "histogram": None if histogram is None else {
            "low": round(histogram.edges[0], 3),
            "high": round(histogram.edges[-1], 3),
            "counts": [list(histogram.counts.get(domain, ())) for domain in domains],
        },
        "contexts": [_context(context) for context in neuron.contexts],
    }  # fmt: skip


def _context(context: Context) -> list[Any]:
    readings = [[reading.model, reading.neuron, encoded_reading(reading)] for reading in context.readings]
    return [context.kind, context.domain, round(context.z, 2), context.text, *context.span, readings]


def _models(inputs: ReportInputs) -> list[str]:
    return [inputs.model.name, *(peer.name for peer in inputs.peers)]


def _domains(neurons: Sequence[NeuronEntry]) -> list[str]:
    """All domains that histograms count, in their order; the same for every neuron of a report."""
    return list(dict.fromkeys(domain for neuron in neurons if neuron.histogram for domain in neuron.histogram.counts))


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)


def _script_safe(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
