import json
import threading

import pytest

from curator.errors import ArtifactError, FingerprintError, OverloadedError
from curator.filtering.batches import (
    BATCH_CHARACTERS,
    BATCH_DOCUMENTS,
    ReadAhead,
    in_batches,
    score_batch,
    score_stream,
)
from curator.filtering.evaluation import kept_ids
from curator.filtering.output import OutputOptions
from curator.filtering.policy import Policy
from curator.filtering.run_shard import run_shard
from curator.records import Document, Rejection, RejectReason
from tests.filtering.filtering_pool import Factory, TextScorer, line, run, write_pool

GOOD = Document("good", "p=0.75 t=3")
BAD = Document("bad", "this one explodes p=0.5 t=1")


class Exploding(TextScorer):
    """Raises for any batch with a text that explodes, or for every one."""

    always: Exception | None = None

    def score_targets(self, documents):
        if self.always:
            raise self.always
        if any("explodes" in document.text for document in documents):
            raise RuntimeError("CUDA error:\nillegal")
        return super().score_targets(documents)


def test_a_document_that_breaks_the_scorer_is_rejected_alone():
    scorer = Exploding()
    good, bad, last = score_batch(scorer, [GOOD, BAD, GOOD])
    assert (good[0].probability, last[0].probability) == (0.75, 0.75)
    assert bad == Rejection("bad", RejectReason.SCORING_FAILED, "RuntimeError: CUDA error: illegal")
    assert scorer.batches == [1, 1]


def test_a_batch_of_bad_documents_is_rejected_while_the_scorer_can_still_score():
    results = score_batch(Exploding(), [BAD, BAD])
    assert [result.reason for result in results] == [RejectReason.SCORING_FAILED] * 2


def test_a_scorer_that_fails_at_everything_ends_the_job_with_its_own_error():
    scorer = Exploding()
    scorer.always = RuntimeError("no kernel image")
    with pytest.raises(RuntimeError, match="no kernel image"):
        score_batch(scorer, [GOOD, BAD])


@pytest.mark.parametrize("error", [FingerprintError("another set"), OverloadedError("later"), KeyboardInterrupt()])
def test_errors_raised_on_purpose_end_the_job_at_once(error):
    scorer = Exploding()
    scorer.always = error
    with pytest.raises(type(error)):
        score_batch(scorer, [GOOD])


def test_a_scorer_that_loses_documents_or_targets_is_broken():
    class Forgetful(TextScorer):
        def score_targets(self, documents):
            return super().score_targets(documents)[1:]

    with pytest.raises(ArtifactError, match="0 results for 1 documents"):
        score_batch(Forgetful(), [GOOD])
    lying = TextScorer(targets=("a", "b"))
    lying.score_one = TextScorer().score_one
    with pytest.raises(ArtifactError, match="1 scores for 2 targets"):
        score_batch(lying, [GOOD])


def test_batches_are_bounded_by_documents_and_by_characters():
    sizes = [10] * (BATCH_DOCUMENTS + 1) + [BATCH_CHARACTERS * 2] + [BATCH_CHARACTERS // 2] * 3
    batches = list(in_batches(sizes, lambda size: size))
    assert [size for batch in batches for size in batch] == sizes
    assert [len(batch) for batch in batches] == [BATCH_DOCUMENTS, 1, 1, 2, 1]


def test_a_stream_is_scored_in_order_and_rejections_pass():
    lost = Rejection("p:1", RejectReason.EMPTY_TEXT)
    first, second, third = score_stream([GOOD, lost, BAD], TextScorer())
    assert (first[0], second, third[0]) == (GOOD, lost, BAD)
    assert third[1][0].probability == 0.5


def test_reading_ahead_gives_the_items_in_order_and_raises_where_they_are_taken():
    with ReadAhead(range(50)) as items:
        assert list(items) == list(range(50))

    def breaking():
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"), ReadAhead(breaking()) as items:
        assert next(items) == 1
        next(items)


def test_leaving_early_ends_the_reading_thread():
    def endless():
        while True:
            yield 0

    before = threading.active_count()
    with ReadAhead(endless()) as items:
        next(items)
    assert threading.active_count() == before


class Breaking(Factory):
    def __call__(self, worker):
        return Exploding()


def test_a_job_rejects_what_breaks_the_scorer_and_keeps_the_rest(tmp_path):
    bad = json.loads(line(1, 0.9)) | {"text": "explodes p=0.9 t=4"}
    pool = write_pool(tmp_path / "pool.jsonl", [line(0, 0.9), json.dumps(bad), line(2, 0.8)])
    options = OutputOptions(write_rejected=True)
    report = run(pool, tmp_path / "out", Policy(threshold=0.5), Breaking(), options=options)
    assert list(kept_ids(tmp_path / "out")) == ["d0", "d2"]
    assert report.rejected == {"scoring_failed": 1}


def test_a_batch_never_crosses_a_piece(tmp_path, monkeypatch):
    scorers = []

    class Watching(Factory):
        def __call__(self, worker):
            scorers.append(super().__call__(worker))
            return scorers[-1]

    pool = write_pool(tmp_path / "pool.jsonl", [line(number, 0.5) for number in range(40)])
    run(pool, tmp_path / "out", Policy(threshold=0.5), Watching(), piece_bytes=1_000)
    pieces = len(list((tmp_path / "out/scores").iterdir()))
    assert pieces > 3 and len(scorers[0].batches) == pieces and sum(scorers[0].batches) == 40
    assert run_shard.__doc__
