"""One world for all tests of the command, and no trace of the command's set-up in the tests after it."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from curator.cli.logs import OUR_PACKAGES
from tests.cli.cli_world import CliWorld


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
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in OUR_PACKAGES}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, value in levels.items():
        logging.getLogger(name).setLevel(value)
