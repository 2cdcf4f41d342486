"""Several processes make one output: the same bytes, one clear error, and nobody left behind."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from curator.errors import ConfigError, CuratorError, FingerprintError
from curator.filtering.engines import LocalEngine, cores, sendable
from curator.filtering.output import OutputOptions
from curator.filtering.policy import Policy
from curator.offline import engine_of
from tests.filtering.filtering_pool import Factory, TextScorer, files_of, run, write_pool

POLICY = Policy(keep_fraction=0.5)
SETTINGS = {"options": OutputOptions(target_shard_bytes=900, write_rejected=True), "piece_bytes": 900}
KEEPS_WORKING = """
import sys, time
from pathlib import Path
from curator.filtering.engines import LocalEngine
class Slow:
    title = "step"
    def start(self, worker):
        Path(sys.argv[1], str(__import__("os").getpid())).touch()
        return self.step
    def step(self, number, report):
        time.sleep(0.05)
        report(1, 1)
if __name__ == "__main__":
    LocalEngine(2).run(Slow(), range(10_000), lambda *_: None)
"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_pool(tmp_path_factory.mktemp("pool") / "pool.jsonl")


@dataclass(frozen=True)
class Patient(Factory):
    """Begins when two workers have loaded a scorer, so that neither is done before the other has started."""

    def __call__(self, worker: int) -> TextScorer:
        scorer = super().__call__(worker)
        deadline = time.monotonic() + 90
        while len(self.loads.read_text().split()) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        return scorer


def test_two_workers_write_what_one_writes_and_share_the_work(pool, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    run(pool, one, POLICY, **SETTINGS)
    seen, loads = [], tmp_path / "loads"
    report = run(pool, two, POLICY, Patient(loads=loads), engine=LocalEngine(2), watch=seen.append, **SETTINGS)
    assert files_of(one) == files_of(two)
    assert sorted(loads.read_text().split()) == ["0", "1"]
    scored = [state for state in seen if state.phase == "score"]
    assert (scored[-1].done, scored[-1].tokens) == (scored[-1].total, report.tokens_in)


@dataclass(frozen=True)
class Fatal(Factory):
    """Its scorer ends its process at every batch."""

    def __call__(self, worker: int) -> TextScorer:
        scorer = super().__call__(worker)
        scorer.score_targets = lambda documents: os._exit(7)
        return scorer


@dataclass(frozen=True)
class Broken(Factory):
    """Its scorer is not the planned one."""

    def __call__(self, worker: int) -> TextScorer:
        return TextScorer(etag="another")


def test_a_piece_that_takes_three_workers_with_it_ends_the_job_with_one_sentence(pool, tmp_path):
    with pytest.raises(CuratorError, match=r"3 workers died at piece \d+ \(exit code 7\)"):
        run(pool, tmp_path / "out", POLICY, Fatal(), engine=LocalEngine(2), **SETTINGS)
    run(pool, tmp_path / "out", POLICY, **SETTINGS)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_scorer_that_is_not_the_planned_one_is_refused_wherever_it_is_loaded(pool, tmp_path, workers):
    with pytest.raises(FingerprintError, match=r"'fake' \(another\) is not the planned 'fake' \(etag-1\)"):
        run(pool, tmp_path / "out", POLICY, Broken(), engine=LocalEngine(workers), **SETTINGS)


def test_workers_leave_when_the_main_process_is_killed(tmp_path):
    script, alive = tmp_path / "script.py", tmp_path / "alive"
    script.write_text(KEEPS_WORKING)
    alive.mkdir()
    main = subprocess.Popen(
        [sys.executable, str(script), str(alive)], env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
    while len(list(alive.iterdir())) < 2:
        time.sleep(0.02)
    workers = [int(path.name) for path in alive.iterdir()]
    main.send_signal(signal.SIGKILL)
    main.wait()
    deadline = time.monotonic() + 60
    while any(_lives(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_lives(worker) for worker in workers)


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_an_error_crosses_processes_as_itself_or_as_a_sentence():
    assert str(sendable(FingerprintError("no; yes."))) == "no; yes."

    class LocalError(Exception):
        pass

    assert isinstance(sendable(LocalError("x")), CuratorError) and "LocalError: x" in str(sendable(LocalError("x")))


def test_engines_are_named_and_need_a_worker():
    assert engine_of("local", 3) == LocalEngine(3) and engine_of(LocalEngine(2), 1) == LocalEngine(2)
    assert cores() >= 1
    with pytest.raises(ConfigError, match="at least one worker"):
        engine_of("local", 0)
    with pytest.raises(ConfigError, match="local or ray"):
        engine_of("spark", 1)
