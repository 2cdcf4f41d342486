"""The Dockerfile: its linter, its promises, and its entry command as the image's user with the image's environment."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from curator.version import __version__
from tests.deploy.commands import (
    DOCKERFILE,
    ROOT,
    USER,
    as_image,
    environment_of_image,
    exec_form,
    free_port,
    instructions,
    other_user,
    running,
)

TEXT = DOCKERFILE.read_text()
CONSTRAINTS = (ROOT / "constraints.txt").read_text()


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_base_is_pinned_by_a_digest_that_the_builder_must_choose():
    stages = {words.split(" AS ")[1] for words in re.findall(r"^FROM (.+ AS .+)$", TEXT, re.MULTILINE)}
    bases = [name.split(" AS ")[0] for name in re.findall(r"^FROM (.+)$", TEXT, re.MULTILINE)]
    outside = {base for base in bases if base not in stages | {"build-${VARIANT}"}}
    assert outside == {"python:3.11-slim-bookworm@${PYTHON_DIGEST}"}
    assert f"ARG PYTHON_DIGEST=sha256:{'0' * 64}" in TEXT
    assert {"build-cpu", "build-gpu"} <= stages


def test_the_last_stage_is_a_numbered_user_exec_forms_and_no_build_tools():
    named = dict(instructions())
    assert named["USER"] == f"{USER}:{USER}"
    assert exec_form("ENTRYPOINT") == ["curator"]
    assert exec_form("HEALTHCHECK") == ["curator", "health"]
    assert exec_form("CMD") == ["--help"]
    assert named["STOPSIGNAL"] == "SIGTERM"
    copied = [argument for name, argument in instructions() if name == "COPY"]
    assert copied == ["--from=built /opt/curator /opt/curator"]


def test_what_the_build_copies_exists_and_the_context_lets_it_through():
    allowed = [line[1:] for line in Path(f"{DOCKERFILE}.dockerignore").read_text().splitlines() if line[:1] == "!"]
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+)$", TEXT, re.MULTILINE) for word in line.split()[:-1]]
    assert sorted(copied) == sorted(allowed)
    assert all((ROOT / name).exists() for name in copied)


def test_the_version_of_ray_is_that_of_the_constraints_and_of_the_rayjob():
    (version,) = re.findall(r"^ray==(.+)$", CONSTRAINTS, re.MULTILINE)
    assert f"ARG RAY=ray[default]=={version}" in TEXT
    assert f'rayVersion: "{version}"' in (ROOT / "deploy/ray/rayjob.yaml").read_text()
    assert f"rosetta-curator:{__version__} ." in TEXT


@pytest.fixture
def root(world, tmp_path):
    shutil.copytree(world.neuron_set, tmp_path / "neuron-sets/default")
    return tmp_path


def test_the_image_started_bare_says_what_it_can_do(tmp_path):
    done = subprocess.run(
        **as_image([*exec_form("ENTRYPOINT"), *exec_form("CMD")], tmp_path), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout and "filter" in done.stdout


def test_the_entry_command_serves_is_found_healthy_and_leaves_on_sigterm(root):
    port, words = free_port(), exec_form("ENTRYPOINT")
    serve = [*words, "--log-json", "serve", "--neuron-set=/neuron-sets/default", f"--port={port}", "--drain-delay=3"]
    check = as_image(exec_form("HEALTHCHECK"), root, {"CURATOR_HEALTH_ADDRESS": f"127.0.0.1:{port}"})
    before = subprocess.run(**check, capture_output=True, check=False)
    assert before.returncode == 1 and "does not answer" in before.stderr
    with running(as_image(serve, root)) as server:
        for line in server.stderr:
            if line.startswith("{") and json.loads(line)["message"] == "serving":
                break
        status = Path(f"/proc/{server.pid}/status").read_text()
        healthy = subprocess.run(**check, capture_output=True, check=False)
        assert (healthy.returncode, healthy.stdout) == (0, f"127.0.0.1:{port} SERVING\n"), healthy.stderr
        server.terminate()
        draining = subprocess.run(**check, capture_output=True, check=False)
        assert draining.returncode == 1
        assert server.wait(90) == 0
    if other_user():
        assert re.search(r"^CapEff:\s*0+$", status, re.MULTILINE), "the process has privileges"
    written = {path.relative_to(root).parts[0] for path in root.rglob("*") if path.is_file()}
    assert written <= {"var", "models", "tmp", "neuron-sets"}


def test_the_image_says_where_everything_goes():
    environment = environment_of_image()
    made = next(argument for name, argument in instructions() if name == "RUN" and "install --directory" in argument)
    assert environment["CURATOR_HOME"] in made and environment["HF_HOME"] in made
    assert environment["PATH"].startswith("/opt/curator/bin:")
