"""One world for all tests of the command, and no trace of the command's set-up in the tests after it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.cli_world import CliWorld
from tests.conftest import unchanged_logging


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Artifacts go to a folder of these tests, and the hub is out of reach."""
    folder = tmp_path_factory.mktemp("curator-home")
    before = dict(os.environ)
    os.environ |= {"CURATOR_HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    yield folder
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def world(home: Path, tmp_path_factory: pytest.TempPathFactory) -> CliWorld:
    return CliWorld.make(tmp_path_factory.mktemp("cli-world"))


@pytest.fixture(autouse=True)
def logging_after_each_test() -> Iterator[None]:
    with unchanged_logging():
        yield
