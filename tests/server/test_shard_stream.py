"""Where shards end, and which configurations are refused before anything is read."""

import pytest
from curator_server.shard_stream import ShardStream

from curator.api.v1 import scoring_pb2
from curator.errors import ConfigError
from curator.records import Document, RejectReason, Score


def stream(**config):
    return ShardStream(scoring_pb2.FilterConfig(min_score=0, **config), "law")


def commits(events):
    return [event.committed_seq for event in events if isinstance(event, scoring_pb2.ShardCommit)]


def test_a_commit_comes_when_what_the_client_must_hold_reaches_its_bytes_metadata_and_all():
    shards = stream(commit_every_bytes=1000)
    rejected = [Document("a", "t", metadata={"blob": "z" * 400})], [Score("a", -1.0, 0.1, 1)]
    found = [commits(shards.add(seq, *rejected, 450)) for seq in range(1, 7)]
    assert found == [[], [], [3], [], [], [6]]


def test_batches_that_were_refused_count_too():
    shards = stream(commit_every_bytes=1000)
    found = [commits(shards.refuse(seq, 5, RejectReason.NOT_A_RECORD, 600)) for seq in (1, 2)]
    assert found == [[], [2]]
    assert shards.report.documents_failed == 10


def test_a_format_that_is_not_offered_is_refused():
    stream(format=scoring_pb2.FilterConfig.FORMAT_JSONL_ZST)
    with pytest.raises(ConfigError, match="not format 99"):
        stream(format=99)


def test_a_resumed_stream_pins_its_neuron_set():
    stream(resume_after_seq=4, score=scoring_pb2.ScoreConfig(etag="e"))
    with pytest.raises(ConfigError, match=r"pin score\.etag"):
        stream(resume_after_seq=4)
