import pytest

from curator.filtering.evaluation import Evaluation, evaluate
from curator.filtering.tally import HISTOGRAM_BINS, FilterReport, Tally
from curator.records import Decision, Document, RejectReason, Score

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


def test_the_histogram_covers_both_ends():
    tally = Tally()
    for probability in (0.0, 0.049, 0.05, 1.0):
        score = Score("d", 0.0, probability, 2)
        tally.came_in(score)
        tally.was_decided(Decision(Document("d", "t"), score, kept=False, reason=RejectReason.BELOW_THRESHOLD), 0.0)
    report = tally.report()
    assert (report.histogram_rejected[0], report.histogram_rejected[1], report.histogram_rejected[-1]) == (2, 1, 1)
    assert len(report.histogram_kept) == HISTOGRAM_BINS and sum(report.histogram_kept) == 0
    assert report.rejected == {"below_threshold": 4}
    assert (report.tokens_in, report.tokens_kept, report.cutoff) == (8, 0, None)


def test_a_report_survives_json():
    report = FilterReport(documents_in=3, documents_kept=1, rejected={"no_spans": 2}, cutoff=0.25)
    assert FilterReport.from_json(report.to_json()) == report
