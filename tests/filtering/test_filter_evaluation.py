import pytest

from curator.errors import ArtifactError
from curator.filtering.evaluation import Evaluation, evaluate
from curator.filtering.policy import Policy
from curator.filtering.tally import HISTOGRAM_BINS, FilterReport, TargetReport
from tests.filtering.filtering_pool import line, run, write_pool

TRUTH = {"a": True, "b": True, "c": True, "d": False, "e": False}


def test_counts_and_ratios_follow_from_the_kept_ids():
    result = evaluate(["a", "b", "d", "unknown"], TRUTH)
    assert result == Evaluation(true_positives=2, false_positives=1, false_negatives=1, true_negatives=1, unlabelled=1)
    assert result.precision == pytest.approx(2 / 3)
    assert result.recall == pytest.approx(2 / 3)
    assert result.f1 == pytest.approx(2 / 3)


def test_ratios_without_a_denominator_are_zero():
    nothing = evaluate([], TRUTH)
    assert (nothing.precision, nothing.recall, nothing.f1) == (0.0, 0.0, 0.0)
    assert evaluate(["d"], {"d": False}).recall == 0.0


def test_an_id_that_comes_twice_counts_once():
    assert evaluate(["a", "a"], TRUTH) == evaluate(["a"], TRUTH)


def test_the_histogram_covers_both_ends(tmp_path):
    pool = write_pool(tmp_path / "pool.jsonl", [line(n, p, tokens=2) for n, p in enumerate((0.0, 0.049, 0.05, 1.0))])
    report = run(pool, tmp_path / "out", Policy(threshold=2.0 - 1.0, field="value"))
    target = report.targets["law"]
    assert (target.histogram_rejected[0], target.histogram_rejected[1]) == (2, 1)
    assert len(target.histogram_kept) == HISTOGRAM_BINS and target.histogram_kept[-1] == 1
    assert report.rejected == {"below_threshold": 3}
    assert (report.tokens_in, report.tokens_kept, target.cutoff) == (8, 2, 5.0)


def test_a_report_survives_json():
    targets = {"law": TargetReport(rows_kept=1, cutoff=0.25)}
    report = FilterReport(documents_in=3, documents_kept=1, rejected={"no_spans": 2}, targets=targets)
    assert FilterReport.from_json(report.to_json()) == report
    with pytest.raises(ArtifactError, match="incomplete"):
        FilterReport.from_json({**report.to_json(), "targets": {"law": {}}})
    with pytest.raises(ArtifactError, match="other histogram bins"):
        FilterReport.from_json({**report.to_json(), "histogram_edges": [0, 1]})
