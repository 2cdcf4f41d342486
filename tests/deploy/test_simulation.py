"""The model of a job against what can be computed, against its bounds, and against jobs that really ran here."""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulation import Fleet, Piece, simulate
from curator.filtering.engines import LocalEngine
from tests.deploy.commands import ROOT

WORKS = st.lists(st.floats(0.01, 100), min_size=1, max_size=60)
FLEETS = st.builds(
    Fleet,
    workers=st.integers(1, 8),
    start_s=st.floats(0, 10),
    spread=st.floats(0, 0.3),
    stall_share=st.floats(0, 0.3),
    stall_factor=st.floats(1, 5),
    deaths_per_hour=st.floats(0, 20),
)


def test_equal_pieces_take_rounds():
    outcome = simulate([Piece(2.0)] * 10, Fleet(workers=4, start_s=5.0))
    assert outcome.seconds == 5 + 3 * 2
    assert outcome.busy_s == 20
    assert outcome.efficiency(4) == pytest.approx(20 / 44)


def test_one_straggler_at_the_end_keeps_everyone_waiting_and_at_the_start_nobody():
    late = simulate([Piece(1.0)] * 8 + [Piece(8.0)], Fleet(workers=2))
    early = simulate([Piece(8.0)] + [Piece(1.0)] * 8, Fleet(workers=2))
    assert (late.seconds, early.seconds) == (12.0, 8.0)


def test_a_narrow_source_sets_the_pace():
    pieces = [Piece(1.0, 100.0)] * 50
    assert simulate(pieces, Fleet(workers=10, bytes_per_s=1000.0)).seconds == pytest.approx(5.0)
    assert simulate(pieces, Fleet(workers=10, bytes_per_s=100.0)).seconds == pytest.approx(50.0)


@given(WORKS, FLEETS, st.integers(0, 99))
def test_every_piece_is_made_once_and_the_same_seed_tells_the_same_story(works, fleet, seed):
    pieces = [Piece(work) for work in works]
    outcome = simulate(pieces, fleet, seed)
    assert all(0 <= worker < fleet.workers for worker in outcome.made_by)
    assert outcome == simulate(pieces, fleet, seed)
    assert (outcome.deaths == 0) == (outcome.lost_s == 0)


@given(WORKS, st.integers(1, 8), st.floats(0, 10))
def test_the_end_lies_within_grahams_bounds(works, workers, start):
    found = simulate([Piece(work) for work in works], Fleet(workers=workers, start_s=start)).seconds
    total, longest = sum(works), max(works)
    assert start + max(total / workers, longest) - 1e-6 <= found
    assert found <= start + total / workers + longest * (1 - 1 / workers) + 1e-6


def test_deaths_cost_about_what_they_destroy():
    pieces = [Piece(60.0)] * 4000
    fleet = {"workers": 8, "start_s": 60.0}
    calm = simulate(pieces, Fleet(**fleet))
    rough = [simulate(pieces, Fleet(**fleet, deaths_per_hour=0.5), seed) for seed in range(5)]
    for outcome in rough:
        assert outcome.deaths == pytest.approx(0.5 * 4000 / 60, rel=0.6)
        assert outcome.seconds > calm.seconds
        assert outcome.seconds == pytest.approx(calm.seconds + outcome.lost_s / 8, rel=0.01)


@dataclass(frozen=True)
class Sleeps:
    """Steps that sleep for known times; writes down when each worker was ready and each step was done."""

    seconds: tuple[float, ...]
    folder: str
    title: str = "sleep"

    def start(self, worker):
        Path(self.folder, f"ready-{worker}").write_text(str(time.time()))
        return lambda number, report: time.sleep(self.seconds[number])


def test_it_foretells_a_local_run_with_a_straggler(tmp_path):
    works = (0.3, 0.1, 0.2, 0.9, 0.1, 0.3, 0.2, 0.4, 0.1, 0.3, 0.2, 1.2)
    LocalEngine(3).run(Sleeps(works, str(tmp_path)), range(len(works)), lambda *_: None)
    end = time.time()
    ready = [float((tmp_path / f"ready-{worker}").read_text()) for worker in range(3)]
    first = min(ready)
    fleet = Fleet(workers=3, start_s=[moment - first for moment in ready])
    foretold = simulate([Piece(work) for work in works], fleet).seconds
    assert end - first == pytest.approx(foretold, rel=0.25, abs=0.3)
    assert foretold < sum(works)


def test_it_foretells_the_measured_job_of_two_workers_from_that_of_one():
    """What two cores lose to each other is measured apart from the job, where the results have it; else it bounds the rest."""
    rows = {row["name"]: row for row in json.loads((ROOT / "benchmarks/results/filter.json").read_text())["rows"]}
    detail = rows["workers_2_over_1"]["detail"]
    one, two = detail["seconds"]
    pieces = [Piece(one / 24)] * 24
    ideal = simulate(pieces, Fleet(workers=2)).seconds
    assert ideal <= two <= 1.35 * ideal
    if "cores_2_over_1" in detail:
        slowed = Fleet(workers=2, slowdown=2 / detail["cores_2_over_1"])
        assert simulate(pieces, slowed).seconds == pytest.approx(two, rel=0.15)


@settings(max_examples=5)
@given(st.integers(0, 99))
def test_a_large_fleet_is_simulated_whole(seed):
    pieces = [Piece(300.0, 1e9)] * 20_000
    outcome = simulate(pieces, Fleet(workers=512, start_s=120, spread=0.1, deaths_per_hour=0.01), seed)
    assert outcome.seconds > 300 * 20_000 / 512
    assert not math.isinf(outcome.seconds)
