"""Every command and the report's example that README and docs show: options that exist, values that are read."""

import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from curator.cli.main import app
from curator.report.inputs import ModelRef, ReportInputs
from curator.report.page import write_report

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = re.compile(r"```(?:console|sh|bash)\n(.*?)```", re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """The words of each ``$ curator ...`` line of a page, continued lines joined."""
    lines = "\n".join(BLOCKS.findall(page.read_text())).replace("\\\n", " ").splitlines()
    shown = (line.removeprefix("$ ") for line in lines)
    return [shlex.split(line, comments=True)[1:] for line in shown if line.startswith("curator ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_the_page_can_be_typed(page: Path):
    group = typer.main.get_command(app)
    for words in commands(page):
        command, context, rest = group, group.make_context("curator", list(words), resilient_parsing=True), list(words)
        while hasattr(command, "commands"):
            name, command, rest = command.resolve_command(context, rest)
            assert command is not None, words
            context = command.make_context(name, list(rest), parent=context)
            rest = [] if not hasattr(command, "commands") else rest[1:]


def test_the_user_pages_show_commands():
    shown = {page.name: commands(page) for page in PAGES}
    verbs = {words[0] for name in ("identify.md", "filtering.md", "report.md") for words in shown[name]}
    assert verbs >= {"identify", "filter", "plan", "study", "report"}


def test_the_example_of_the_reports_json_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "report.md").read_text(), re.DOTALL)
    report = write_report(ReportInputs(target_domain="law", model=ModelRef(name="anchor")), tmp_path / "report")
    stored = json.loads(report.json.read_text())
    stored["inputs"]["neuron_set"] = [{"matches": [], "domains": {}}]
    report.json.write_text(json.dumps(stored))
    monkeypatch.chdir(tmp_path)
    names: dict[str, dict[str, object]] = {}
    exec(compile(example, "docs/report.md", "exec"), names)
    assert names["report"]["schema"] == "curator.report/2"
