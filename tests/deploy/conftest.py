"""A tiny neuron set for the commands of ``deploy/``, made by the command itself once a session, a corpus, and machines."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from tests.cli.cli_world import CliWorld, rows
from tests.deploy.forked import forked_commands
from tests.integrations.conftest import cluster

__all__ = ["cluster"]


@pytest.fixture(scope="session")
def deploy_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where artifacts of these tests go."""
    return tmp_path_factory.mktemp("deploy-home")


@pytest.fixture(autouse=True)
def artifacts_stay_here(deploy_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not into the home of another folder's tests, which the process may have run before."""
    monkeypatch.setenv("CURATOR_HOME", str(deploy_home))


@pytest.fixture(scope="session")
def world(deploy_home: Path, tmp_path_factory: pytest.TempPathFactory) -> CliWorld:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATOR_HOME", str(deploy_home))
        made = CliWorld.make(tmp_path_factory.mktemp("deploy-world"))
        assert Path(made.neuron_set).is_dir()
    return made


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the path in which the package's commands are."""
    with forked_commands(tmp_path_factory.mktemp("tools")) as folder:
        yield folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six compressed files, each at least one piece of a job."""
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(6):
        lines = "".join(json.dumps(row) + "\n" for row in rows(6, seed=20 + number))
        (folder / f"part-{number}.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
    return folder
