"""A job whose pieces are scored by parts that never meet: the bytes of one process, whatever happens to a part."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator.errors import ConfigError, FingerprintError
from curator.files import exclusive, partial_name, shared
from curator.filtering.dataset import run_request
from curator.filtering.ledger import Ledger
from curator.filtering.output import OutputOptions
from curator.filtering.parts import PartReport, prepare, score_part
from curator.filtering.policy import Policy
from curator.filtering.request import FilterRequest
from curator.filtering.run_shard import score_step
from curator.shares import Share
from tests.filtering.filtering_pool import Factory, TextScorer, files_of, run, write_pool

POLICY = Policy(keep_fraction=0.5)
PARTS = 3


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_pool(tmp_path_factory.mktemp("pool") / "pool.jsonl")


@pytest.fixture(scope="module")
def whole(pool, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    run(pool, out, POLICY, piece_bytes=900, options=OutputOptions(target_shard_bytes=900))
    return files_of(out)


@pytest.fixture
def request_(pool, tmp_path):
    return FilterRequest(
        sources=(str(pool),),
        factory=Factory(loads=tmp_path / "loads"),
        out=tmp_path / "out",
        policy=POLICY,
        options=OutputOptions(target_shard_bytes=900),
        piece_bytes=900,
    )


def shares(count=PARTS):
    return [Share(index, count) for index in range(count)]


def test_parts_in_any_order_make_the_bytes_of_one_process(request_, whole):
    pieces = prepare(request_)
    reports = [score_part(request_, share) for share in reversed(shares())]
    assert sum(report.pieces for report in reports) == pieces > PARTS
    assert all(report.scored == report.pieces for report in reports)
    loaded = request_.factory.loads.read_text()
    run_request(request_)
    assert request_.factory.loads.read_text() == loaded  # finishing loads no model
    assert files_of(request_.out) == whole


def test_a_part_that_runs_again_scores_nothing_and_one_that_is_lost_is_made_at_the_end(request_, whole):
    prepare(request_)
    first, *_ = shares()
    done = score_part(request_, first)
    assert score_part(request_, first) == PartReport(done.pieces, 0)
    run_request(request_)
    assert files_of(request_.out) == whole
    assert score_part(request_, first) == PartReport(0, 0)
    assert prepare(request_) > 0


@dataclass(frozen=True)
class InStep(Factory):
    """Scorers of two processes of which none goes ahead: each score file is open in both of them at a time."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(2, timeout=60), compare=False)

    def __call__(self, worker):
        scorer, score = super().__call__(worker), TextScorer.score_one

        def score_in_step(document):
            self.barrier.wait()
            return score(scorer, document)

        scorer.score_one = score_in_step
        return scorer


def test_a_part_that_runs_twice_at_a_time_on_machines_with_equal_process_ids_makes_the_same_bytes(request_, whole):
    """Two threads stand for the machines: they see one folder and have one process id."""
    prepare(request_)
    twice = replace(request_, factory=InStep())
    with ThreadPoolExecutor(2) as machines:
        reports = list(machines.map(score_part, [twice] * 2, [Share(0, 1)] * 2))
    assert reports[0] == reports[1] and reports[0].scored > PARTS
    assert not list(request_.work.rglob("*.partial-*"))
    run_request(request_)
    assert files_of(request_.out) == whole


def test_what_a_killed_part_left_is_gone_from_the_finished_output(request_, whole):
    prepare(request_)
    score_part(request_, Share(0, 1))
    for file in list(request_.work.rglob("*.parquet")):
        partial_name(file).write_bytes(b"half")
    run_request(request_)
    assert files_of(request_.out) == whole


def test_a_part_of_what_nobody_prepared_is_refused_and_leaves_nothing(request_):
    with pytest.raises(ConfigError, match="with --prepare first"):
        score_part(request_, Share(0, 2))
    assert not request_.work.exists()


@pytest.mark.parametrize("change", [{"policy": Policy(threshold=0.5)}, {"factory": Factory(etag="etag-2")}])
def test_a_part_of_another_job_is_refused_by_name(request_, change):
    prepare(request_)
    with pytest.raises(FingerprintError, match=r"policy\.threshold|the neuron set"):
        score_part(replace(request_, **change), Share(0, 2))


def test_an_input_that_changed_after_it_was_prepared_is_refused(request_, tmp_path):
    pool = write_pool(tmp_path / "own.jsonl")
    own = replace(request_, sources=(str(pool),))
    prepare(own)
    pool.write_text(pool.read_text().replace("naïve", "naive"))
    with pytest.raises(FingerprintError, match="changed"):
        score_part(own, Share(0, 1))


def test_finishing_waits_for_the_parts_and_parts_for_nobody(request_):
    prepare(request_)
    with shared(request_.work, "a part"):
        score_part(request_, Share(0, 2))
        with pytest.raises(ConfigError, match="Another process is at work"):
            run_request(request_)
    with exclusive(request_.work, "the end"), pytest.raises(ConfigError, match="Another process is at work"):
        score_part(request_, Share(1, 2))


def test_a_damaged_score_file_is_made_again_by_its_part(request_):
    prepare(request_)
    score_part(request_, Share(0, 1))
    job = request_.job(request_.planned(request_.work, lambda _: None))
    record = Ledger(request_.work).find(*score_step(job, 1))
    (request_.work / record.files[0].name).unlink()
    assert score_part(request_, Share(0, 1)).scored == 1


@given(st.integers(1, 12), st.integers(0, 40))
def test_every_number_is_in_exactly_one_share(count, numbers):
    parts = [Share(index, count).of(range(numbers)) for index in range(count)]
    assert sorted(number for part in parts for number in part) == list(range(numbers))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
