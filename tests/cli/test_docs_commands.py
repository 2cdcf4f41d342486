"""Every command and the report's example that README and docs show: options that exist, values that are read."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
import zstandard

from curator.cli.main import app
from curator.neuronset.artifact import load_neuron_set
from curator.report.inputs import ModelRef, ReportInputs
from curator.report.page import write_report
from tests.cli.cli_world import CliWorld, curator, text

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


def test_the_first_commands_of_the_identify_page_run_as_they_stand(
    world: CliWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    page = ROOT / "docs" / "identify.md"
    plan, identify = commands(page)[:2]
    assert (plan[0], identify[0]) == ("plan", "identify")
    (probe,) = re.findall(r"```toml\n# probe.toml\n(.*?)```", page.read_text(), re.DOTALL)
    (tmp_path / "probe.toml").write_text(probe)
    for domain, own in zip(("law", "news", "code"), ("digits", "letters", "marks"), strict=True):
        write_texts(tmp_path / domain, own)
    models = iter((world.model("gpt2"), world.model("gpt_neox"), world.model("gpt_neox", 1)))
    tiny: dict[str, str] = {}
    for word in identify:
        if "/" in word and not word.endswith("/"):
            tiny[word] = str(next(models))
    monkeypatch.chdir(tmp_path)
    asked = curator(*(tiny.get(word, word) for word in plan), "--no-calibrate")
    assert asked.exit_code == 0, asked.output
    found = curator(*(tiny.get(word, word) for word in identify), "--settings", world.settings, "--out", "set")
    assert found.exit_code == 0, found.output
    assert load_neuron_set(tmp_path / "set").manifest.name == "law-410m"
    assert (tmp_path / "report" / "report.html").is_file()


def write_texts(folder: Path, domain: str) -> None:
    """Documents as the page's probe file names them: compressed JSONL, or Parquet of code."""
    generator = np.random.default_rng(2)
    rows = [{"id": f"{domain}-{n}", "text": text(domain, generator), "source": f"{domain}/{n}"} for n in range(60)]
    folder.mkdir()
    if folder.name == "code":
        pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
        return
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "a.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
