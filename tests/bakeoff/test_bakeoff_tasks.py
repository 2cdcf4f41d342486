"""Contests are drawn as the regime says, alike for every number of examples; finished results are not run again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curator.bakeoff.contest import Result, Results, run_contests
from curator.bakeoff.entrants import text_selectors
from curator.bakeoff.schedule import BASE, Trained
from curator.bakeoff.selectors import Lesson, Score
from curator.bakeoff.settings import BakeoffSettings
from curator.bakeoff.summary import interval, macro, overlaps, paired_difference, pretraining_table, table
from curator.bakeoff.tasks import Regime, Task, draw_task, regimes, targets_of
from curator.bakeoff.texts import TextViews
from curator.errors import ArtifactError

DOMAINS = ("python", "cpp", "prose")
DOMAIN_D = np.repeat(DOMAINS, 100)
IN_POOL_D = np.tile(np.arange(100) >= 50, 3)
SETTINGS = BakeoffSettings(negatives=30)
PLAIN = Regime("k3", 3, 0.06)


def drawn(regime: Regime, seed: int = 0) -> Task:
    task = draw_task(regime, "python", seed, DOMAIN_D, IN_POOL_D, SETTINGS)
    assert task is not None
    return task


def test_examples_and_pool_share_no_row_and_labels_are_true() -> None:
    task = drawn(PLAIN)
    assert (
        not IN_POOL_D[task.positive_P].any() and not IN_POOL_D[task.negative_M].any() and IN_POOL_D[task.pool_D].all()
    )
    assert (DOMAIN_D[task.positive_P] == "python").all() and (DOMAIN_D[task.negative_M] != "python").all()
    assert np.array_equal(task.truth_D, DOMAIN_D[task.pool_D] == "python")


@pytest.mark.parametrize("share", [0.01, 0.06, 0.2])
def test_the_pool_holds_the_wanted_share_of_the_target(share: float) -> None:
    task = drawn(Regime("x", 3, share))
    assert task.truth_D.mean() == pytest.approx(share, abs=0.01)


def test_fewer_examples_are_among_more_and_seeds_differ() -> None:
    few, many = drawn(PLAIN), drawn(Regime("k10", 10, 0.06))
    assert set(few.positive_P) <= set(many.positive_P) and np.array_equal(few.pool_D, many.pool_D)
    assert set(drawn(PLAIN, 1).positive_P) != set(few.positive_P)


def test_noise_gives_the_wanted_share_of_wrong_labels() -> None:
    task = drawn(Regime("noise", 40, 0.06, noise=0.05))
    assert (DOMAIN_D[task.positive_P] != "python").sum() == 2
    assert (DOMAIN_D[task.negative_M] == "python").sum() == round(0.05 * 30)
    assert len(set(task.positive_P) | set(task.negative_M)) == 70


def test_a_near_contest_has_only_the_resembling_domain() -> None:
    task = drawn(Regime("near", 10, 0.2, near=True))
    assert set(DOMAIN_D[task.pool_D]) == {"python", "cpp"}
    assert targets_of(Regime("near", 10, 0.2, near=True), DOMAINS, SETTINGS) == ["python"]


def test_a_target_with_too_few_examples_has_no_contest() -> None:
    assert draw_task(Regime("k200", 200, 0.06), "python", 0, DOMAIN_D, IN_POOL_D, SETTINGS) is None


def test_the_hard_regimes_can_be_left_out() -> None:
    assert {one.name for one in regimes(BakeoffSettings(hard=False))} == {"k0", "k3", "k10", "k40", "k200"}
    assert {"k10-near", "k10-short", "k40-noise"} < {one.name for one in regimes(BakeoffSettings())}


class Counting:
    """A selector that says how often it was fitted."""

    name, kind, fewest = "counting", "text", 0

    def __init__(self) -> None:
        self.fits = 0

    def fit(self, lesson: Lesson) -> Score:
        self.fits += 1
        return lambda rows: -rows.astype(float)


def run(path: Path, identity: str = "one") -> tuple[Results, Counting]:
    texts = TextViews([f"word{row % 7} of {DOMAIN_D[row]}" for row in range(300)], np.flatnonzero(IN_POOL_D))
    counting, results = Counting(), Results(path, identity)
    selectors = [counting, *text_selectors(texts, DOMAIN_D)[:2]]
    tasks = [drawn(PLAIN, seed) for seed in (0, 1)]
    run_contests(tasks, lambda _: selectors, lambda _: texts, [str(row) for row in range(300)], results)
    return results, counting


def test_a_stopped_bake_off_goes_on_where_it_was(tmp_path: Path) -> None:
    whole, counted = run(tmp_path / "whole.jsonl")
    assert counted.fits == 2 and len(whole.found) == 6
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:40])
    resumed, again = run(tmp_path / "cut.jsonl")
    assert again.fits == 1
    assert _chosen(resumed) == _chosen(whole) == _chosen(Results(tmp_path / "cut.jsonl", "one"))


def test_results_of_another_bake_off_are_not_taken(tmp_path: Path) -> None:
    run(tmp_path / "results.jsonl")
    assert run(tmp_path / "results.jsonl", "another")[1].fits == 2


def test_a_damaged_line_within_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    run(path)
    path.write_text("broken\n" + path.read_text())
    with pytest.raises(ArtifactError, match=r"results\.jsonl:1"):
        Results(path, "one")


def _chosen(results: Results) -> dict[tuple[str, str, int, str], tuple[int, ...]]:
    return {key: result.kept for key, result in sorted(results.found.items())}


def test_summaries_are_means_over_targets_within_seeds(tmp_path: Path) -> None:
    found = list(run(tmp_path / "results.jsonl")[0].found.values())
    entry = table(found, {})["k3"]["oracle"]
    assert (
        entry["precision"] == 1.0 and entry["precision_interval"] == (1.0, 1.0) and entry["targets"] == {"python": 1.0}
    )
    assert macro([one for one in found if one.selector == "oracle"]) == [1.0, 1.0]
    against = paired_difference(found, "k3", "oracle", "random")
    assert against["mean"] == pytest.approx(1 - table(found, {})["k3"]["random"]["precision"])
    same = overlaps(found, "k3")
    assert same["oracle"]["random"] == same["random"]["oracle"]


def test_an_interval_is_students() -> None:
    assert interval([1.0]) is None
    low, high = interval([1.0, 2.0, 3.0]) or (0, 0)
    assert (high + low) / 2 == pytest.approx(2.0) and (high - low) / 2 == pytest.approx(4.3027 / np.sqrt(3), abs=1e-3)


def test_the_recovered_gain_is_one_for_the_oracle_and_zero_for_random() -> None:
    losses = {BASE: 4.0, "random": 3.5, "oracle": 3.0, "ours": 3.1}
    trained = [
        Trained(domain=domain, seed=0, selector=name, target=loss, general=5.0, tokens=1, documents=1, precision=0.5)
        for domain in ("a", "b")
        for name, loss in losses.items()
    ]
    found = pretraining_table(trained)
    assert [found[name]["recovered_gain"] for name in ("random", "oracle")] == [0.0, 1.0]
    assert found["ours"]["recovered_gain"] == pytest.approx(0.8)
    assert found[BASE]["recovered_gain"] is None


def test_every_result_of_a_contest_can_be_read_back() -> None:
    result = Result.model_validate(
        dict.fromkeys(Result.model_fields, 0) | {"regime": "", "target": "", "selector": "", "kind": "", "kept": (1, 2)}
    )
    assert Result.model_validate_json(result.model_dump_json()) == result
