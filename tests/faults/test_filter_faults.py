"""Exactly once: a filter that is killed anywhere, any number of times, ends with the bytes of one that never was."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curator.errors import StorageError
from curator.filtering.dataset import reselect
from curator.filtering.engines import LocalEngine
from curator.filtering.output import OutputOptions, verify_output
from curator.filtering.policy import Policy
from tests.faults.injector import Injector, Killed, ThreadEngine, injected
from tests.filtering.filtering_pool import Factory, files_of, run, write_pool

POLICY = Policy(keep_fraction=0.5)
OPTIONS = OutputOptions(formats=("jsonl", "arrow"), target_shard_bytes=2_000, write_rejected=True)
SETTINGS = {"options": OPTIONS, "piece_bytes": 1_300}
KILLS = 150
SCRIPT = """
import sys, time
from pathlib import Path
from tests.filtering.filtering_pool import Factory, TextScorer, run
from curator.filtering.engines import LocalEngine
from curator.filtering.output import OutputOptions
from curator.filtering.policy import Policy
class Slow(Factory):
    def __call__(self, worker):
        scorer = super().__call__(worker)
        scorer.score_one = lambda document: (time.sleep(0.005), TextScorer.score_one(scorer, document))[1]
        return scorer
if __name__ == "__main__":
    pool, out, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    options = OutputOptions(formats=("jsonl", "arrow"), target_shard_bytes=2_000, write_rejected=True)
    run(pool, out, Policy(keep_fraction=0.5), Slow(), options=options, piece_bytes=1_300, engine=LocalEngine(workers))
"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_pool(tmp_path_factory.mktemp("faults") / "pool.jsonl")


@pytest.fixture(scope="module")
def clean(pool, tmp_path_factory):
    out = tmp_path_factory.mktemp("clean") / "out"
    run(pool, out, POLICY, **SETTINGS)
    assert len(list((out / "scores").iterdir())) >= 4 and len(list((out / "kept").glob("*.zst"))) >= 2
    return out


def work_of(out):
    return out.with_name(f"{out.name}.work")


def test_an_injector_that_does_not_kill_changes_nothing_and_counts_the_points(pool, clean, tmp_path):
    with injected(Injector()) as injector:
        run(pool, tmp_path / "out", POLICY, **SETTINGS)
    assert files_of(tmp_path / "out") == files_of(clean)
    assert injector.count > 200


@pytest.mark.parametrize("engine", [LocalEngine(), ThreadEngine()], ids=["one worker", "two workers"])
def test_killed_over_and_over_the_output_is_the_same_to_the_byte(pool, clean, tmp_path, engine):
    draws, points, lives = random.Random(7), [], 0
    while len(points) < KILLS:
        out = tmp_path / f"out-{lives}"
        lives += 1
        while not out.exists():
            injector = Injector(draws.randint(1, 60), after=draws.random() < 0.5)
            try:
                with injected(injector):
                    run(pool, out, POLICY, engine=engine, **SETTINGS)
            except Killed:
                points.append(injector.killed_at)
        assert files_of(out) == files_of(clean)
        assert not work_of(out).exists()
    places = " ".join(points)
    assert all(part in places for part in ("scores", "ledger", "selection", "kept", "rejected"))


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_operation_of_the_last_step_the_output_is_the_same(pool, clean, tmp_path, after):
    out, saved = tmp_path / "out", tmp_path / "saved"
    with injected(Injector()) as counted:
        run(pool, tmp_path / "counted", POLICY, **SETTINGS)
    with injected(Injector(counted.count - 40)) as injector, pytest.raises(Killed):
        run(pool, out, POLICY, **SETTINGS)
    assert "decisions" in injector.killed_at or "kept" in injector.killed_at or "rejected" in injector.killed_at
    shutil.copytree(work_of(out), saved)
    point = 0
    while not out.exists():
        shutil.rmtree(work_of(out))
        shutil.copytree(saved, work_of(out))
        point += 1
        try:
            with injected(Injector(point, after=after)):
                run(pool, out, POLICY, **SETTINGS)
        except Killed:
            run(pool, out, POLICY, **SETTINGS)
            assert files_of(out) == files_of(clean)
            out.rename(work_of(out))
    assert files_of(out) == files_of(clean) and point > 40


def test_a_selection_from_kept_scores_survives_kills_too(pool, clean, tmp_path):
    other, draws = Policy(threshold=0.7), random.Random(3)
    reselect(clean, tmp_path / "whole", other, options=OPTIONS)
    out = tmp_path / "out"
    while not out.exists():
        try:
            with injected(Injector(draws.randint(1, 40), after=draws.random() < 0.5)):
                reselect(clean, out, other, options=OPTIONS)
        except Killed:
            continue
    assert files_of(out) == files_of(tmp_path / "whole")
    assert verify_output(clean).documents_kept == 18


@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_is_killed_for_real_goes_on_where_it_stopped(pool, clean, tmp_path, workers):
    out, script = tmp_path / "out", tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(pool), str(out), str(workers)]
    ledger = tmp_path / "out.work" / "ledger"
    for entries in (1, 3):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        while len(list(ledger.glob("*.json"))) < entries and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not out.exists()
    loads = tmp_path / "loads"
    run(pool, out, POLICY, Factory(loads=loads), **SETTINGS)
    assert files_of(out) == files_of(clean)


def test_a_worker_that_dies_changes_nothing(pool, clean, tmp_path):
    factory = Factory(dies_once=tmp_path / "died")
    run(pool, tmp_path / "out", POLICY, factory, engine=LocalEngine(2), **SETTINGS)
    assert (tmp_path / "died").exists()
    assert files_of(tmp_path / "out") == files_of(clean)


@pytest.mark.parametrize("room", [3, 12, 30])
def test_a_full_disk_ends_the_job_with_a_sentence_and_it_goes_on_when_there_is_room(pool, clean, tmp_path, room):
    left, real = [room], os.fsync

    def fills_up(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "full")
        real(descriptor)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(StorageError, match="free space there"):
        patch.setattr(os, "fsync", fills_up)
        run(pool, tmp_path / "out", POLICY, **SETTINGS)
    assert not (tmp_path / "out").exists()
    run(pool, tmp_path / "out", POLICY, **SETTINGS)
    assert files_of(tmp_path / "out") == files_of(clean)


def test_no_document_is_lost_or_doubled(clean, pool):
    wanted = [json.loads(one)["id"] for one in pool.read_text().splitlines() if not one.startswith("{a")]
    decided = pq.read_table(clean / "decisions.parquet").to_pylist()
    assert [row["document_id"] for row in decided] == wanted
    assert verify_output(clean).documents_in == len(wanted)


def test_a_finished_job_is_compared_without_one_change_to_the_disk(pool, clean):
    before = files_of(clean)
    with injected(Injector(1)) as injector:
        run(pool, clean, POLICY, **SETTINGS)
    assert injector.count == 0 and files_of(clean) == before
