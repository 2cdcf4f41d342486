"""Assemble the report: one HTML file that needs no network and no script, and ``report.json`` with the same numbers.

Both come from one value, so they cannot disagree: the JSON is that value, and the page prints its numbers inside
``<data value="...">`` elements that keep the full precision behind the rounded figure. Jinja escapes every text (contexts hold
arbitrary web text), and a content security policy in the page forbids scripts and outside resources altogether. The bytes
depend on the inputs only. Cost: some 40 ms a figure, one figure for each neuron.
"""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from curator.files import atomic_file, write_json
from curator.report import figures
from curator.report.findings import Findings, find
from curator.report.inputs import FilterResult, NeuronEntry, ReportInputs, ReportPaths

SCHEMA = "curator.report/1"
NOT_MEASURED = Markup('<span class="none">not measured</span>')
_TOKEN_LEVELS = 8
_CONTEXTS_OPEN = 3


def write_report(inputs: ReportInputs, out_dir: Path) -> ReportPaths:
    """Write ``report.html`` and ``report.json`` into ``out_dir``, each whole or not at all; the JSON last."""
    findings = find(inputs)
    paths = ReportPaths(html=out_dir / "report.html", json=out_dir / "report.json")
    with atomic_file(paths.html) as handle:
        handle.write(render_html(inputs, findings).encode())
    write_json(paths.json, report_json(inputs, findings))
    return paths


def report_json(inputs: ReportInputs, findings: Findings) -> dict[str, Any]:
    """The report as a JSON value: inputs, fits, derived numbers, and the sentences of the page."""
    return {
        "schema": SCHEMA,
        "headline": list(findings.headline),
        "doubts": list(findings.doubts),
        "inputs": inputs.model_dump(mode="json"),
        "fits": {rule: fit.model_dump(mode="json") for rule, fit in findings.fits.items()},
        "derived": findings.derived.model_dump(mode="json"),
    }


def render_html(inputs: ReportInputs, findings: Findings) -> str:
    """The page as one string."""
    template = _environment().get_template("report.html.j2")
    drawings = _drawings(inputs, findings)
    return template.render(inputs=inputs, drawings=drawings, contexts_open=_CONTEXTS_OPEN, **findings._asdict())


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("curator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        num=format_number,
        percent=partial(format_number, percent=True),
        interval=format_interval,
        text=lambda text: text if text else NOT_MEASURED,
        short=lambda fingerprint: fingerprint[:12],
        token_class=token_class,
    )
    return environment


def format_number(value: float | None, digits: int = 2, *, percent: bool = False) -> Markup:
    """A number for the page: whole numbers in full with thousands separated, others rounded, None as "not measured"."""
    if value is None:
        return NOT_MEASURED
    if percent:
        shown = f"{100 * value:.{digits}f}%"
    elif isinstance(value, int):
        shown = f"{value:,}"
    elif value and (abs(value) < 10**-digits / 2 or abs(value) >= 1e7):
        shown = f"{value:.{max(digits - 1, 1)}e}"
    else:
        shown = f"{value:,.{digits}f}"
    return Markup('<data value="{}">{}</data>').format(json.dumps(value), shown.replace("-", "\N{MINUS SIGN}"))


def format_interval(ends: tuple[float, float] | None, digits: int = 2, *, percent: bool = False) -> Markup:
    """Both ends of an interval, or "not measured"."""
    if ends is None:
        return NOT_MEASURED
    low, high = (format_number(end, digits, percent=percent) for end in ends)
    return Markup("{}&ensp;to&ensp;{}").format(low, high)


def token_class(value: float, scale: float) -> str:
    """The CSS class of a token's colour: ``p1``..``p8`` along the neuron's direction, ``n1``..``n8`` against it, or none.

    ``scale`` is the strongest activation of any token in the neuron's contexts, so shades compare between its contexts.
    """
    if scale <= 0:
        return ""
    level = min(_TOKEN_LEVELS, math.floor(_TOKEN_LEVELS * abs(value) / scale + 0.5))
    return f"{'p' if value > 0 else 'n'}{level}" if level else ""


def _drawings(inputs: ReportInputs, findings: Findings) -> dict[str, Any]:
    """Every figure as safe markup; a figure without data is None. The neurons' histograms are a list in their order."""
    study, curve = inputs.study, inputs.precision_recall
    chosen, prevalence = _operating_point(inputs.filter), findings.derived.target_fraction
    return {
        "scaling": _safe(figures.scaling_figure(study.points, findings.fits)) if study and study.points else None,
        "calibration": _safe(figures.calibration_figure(inputs.calibration)) if inputs.calibration else None,
        "precision_recall": _safe(figures.precision_recall_figure(curve, chosen, prevalence)) if curve else None,
        "neurons": [_histogram(neuron, number) for number, neuron in enumerate(inputs.neuron_set, start=1)],
    }


def _histogram(neuron: NeuronEntry, number: int) -> Markup | None:
    if neuron.histogram is None:
        return None
    name, title = f"neuron-{number}-histogram", f"Activation of {neuron.id} by domain"
    return _safe(figures.histogram_figure(neuron.histogram, neuron.domain, name, title))


def _safe(svg: str) -> Markup:
    # Safe to mark: figures.py builds the SVG itself, and matplotlib and html.escape have escaped the texts in it.
    return Markup(svg)  # noqa: S704


def _operating_point(result: FilterResult | None) -> tuple[float, float] | None:
    if result is None or result.precision is None or result.recall is None:
        return None
    return result.recall, result.precision
