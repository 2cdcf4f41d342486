"""Write a report: one HTML file that needs no network, ``report.json``, ``report.md``, and the figures as SVG and PNG.

All come from one value, so they cannot disagree: the JSON holds the inputs, what was derived from them and every figure's
numbers; the page prints numbers inside ``<data value="...">`` elements that keep the full precision behind the rounded figure.
Jinja escapes every text, contexts hold arbitrary web text, and a content security policy in the page allows one script only,
ours, by its hash, and no outside resource at all. Without that script the page still shows figures, samples and a table of the
first neurons. The bytes depend on the inputs only. Cost: some 0.15 s a figure, and 0.3 ms a neuron.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pydantic import ValidationError

from curator.errors import ArtifactError
from curator.files import atomic_file, read_json
from curator.report import payload, printing
from curator.report.derived import mean_rho, worst_q
from curator.report.findings import Findings, find
from curator.report.inputs import ReportInputs, ReportPaths
from curator.report.panels import Panel
from curator.report.sections import panels_of
from curator.report.study_sections import study_panels

SCHEMA = "curator.report/2"
STATIC_NEURONS = 40
"""Neurons in the table of a page whose script does not run."""


def write_report(inputs: ReportInputs, out_dir: Path) -> ReportPaths:
    """Write all forms of a report into ``out_dir``, each file whole or not at all; the JSON last."""
    findings = find(inputs)
    panels = (*panels_of(inputs, findings), *study_panels(inputs.study, findings))
    paths = ReportPaths(
        html=out_dir / "report.html",
        json=out_dir / "report.json",
        markdown=out_dir / "report.md",
        figures=out_dir / "figures",
    )
    for drawing in (drawing for panel in panels for drawing in panel.drawings):
        _write(paths.figures / f"{drawing.name}.svg", drawing.file_svg.encode())
        _write(paths.figures / f"{drawing.name}.png", drawing.png)
    _write(paths.html, render_html(inputs, findings, panels).encode())
    _write(paths.markdown, render_markdown(inputs, findings, panels).encode())
    _write(paths.json, _compact(report_json(inputs, findings, panels)))
    return paths


def load_report(path: Path) -> ReportInputs:
    """The inputs of a written ``report.json``, from which the same report can be written again.

    Raises ArtifactNotFoundError when there is none, ArtifactError when it is of another version or damaged.
    """
    stored = read_json(path)
    found = stored.get("schema") if isinstance(stored, dict) else None
    if found != SCHEMA:
        raise ArtifactError(
            f"{path} has the schema {found!r}, not {SCHEMA!r}; write the report again with this version."
        )
    try:
        return ReportInputs.model_validate(stored.get("inputs"))
    except ValidationError as error:
        raise ArtifactError(f"{path} is not a valid report; write it again.") from error


def report_json(inputs: ReportInputs, findings: Findings, panels: tuple[Panel, ...]) -> dict[str, Any]:
    """The report as a JSON value: inputs, derived numbers, the study's analysis, every figure's numbers, the page's sentences."""
    return {
        "schema": SCHEMA,
        "headline": list(findings.headline),
        "doubts": list(findings.doubts),
        "inputs": inputs.model_dump(mode="json"),
        "study": findings.study.model_dump(mode="json") if findings.study else None,
        "derived": findings.derived.model_dump(mode="json"),
        "sections": {panel.anchor: panel.as_json() for panel in panels},
    }


def render_html(inputs: ReportInputs, findings: Findings, panels: tuple[Panel, ...]) -> str:
    """The page as one string."""
    environment = _environment()
    script = _source(environment, "report.js")
    return environment.get_template("report.html.j2").render(
        inputs=inputs,
        panels={panel.anchor: panel for panel in panels},
        growth=[panel for panel in panels if panel.anchor.startswith("study")],
        # Safe to mark: the style and the script are files of this package, and the payload escapes what ends an element.
        style=Markup(_source(environment, "report.css")),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        index=Markup(payload.index_json(inputs)),  # noqa: S704
        evidence=Markup(payload.evidence_lines(inputs)),  # noqa: S704
        static_neurons=STATIC_NEURONS,
        **findings._asdict(),
    )


def render_markdown(inputs: ReportInputs, findings: Findings, panels: tuple[Panel, ...]) -> str:
    """The report as Markdown, its figures by relative links; contexts and samples are in the page alone."""
    environment = _environment(autoescape=False)
    return environment.get_template("report.md.j2").render(inputs=inputs, panels=panels, **findings._asdict())


def _environment(*, autoescape: bool = True) -> Environment:
    environment = Environment(
        loader=PackageLoader("curator.report"),
        autoescape=autoescape,  # noqa: S701 -- off for Markdown only, whose cells escape themselves
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        num=printing.format_number,
        percent=partial(printing.format_number, percent=True),
        interval=printing.format_interval,
        cell=printing.format_cell,
        plain=printing.plain_cell,
        text=lambda text: text if text else printing.NOT_MEASURED,
        runs=printing.text_runs,
        one_line=lambda text: text.replace("\n", "\u21b5 "),
        shade=printing.shade_class,
        mean_rho=mean_rho,
        worst_q=worst_q,
        svg=lambda drawing: Markup(drawing.page_svg),  # noqa: S704 -- made by drawing.py, which escapes its texts
    )
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None  # noqa: S101 -- set three lines above
    return environment.loader.get_source(environment, name)[0]


def _compact(value: object) -> bytes:
    """JSON without white space: indenting would put every token's value on a line of its own."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    with atomic_file(path) as handle:
        handle.write(data)
