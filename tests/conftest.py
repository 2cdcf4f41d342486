"""What holds for all tests: no example has a deadline, and a file that runs the command in its own process leaves no trace in the
logging of the next file.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import settings

from curator.cli.logs import OUR_PACKAGES

settings.register_profile(
    "any machine", deadline=None
)  # how long an example takes says nothing about whether it is right
settings.load_profile("any machine")


@contextmanager
def unchanged_logging() -> Iterator[None]:
    """Handlers and levels are afterwards what they were before."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in OUR_PACKAGES}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, value in levels.items():
        logging.getLogger(name).setLevel(value)


@pytest.fixture(scope="module", autouse=True)
def logging_after_each_file() -> Iterator[None]:
    with unchanged_logging():
        yield
