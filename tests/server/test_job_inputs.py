"""What is done to a caller's documents and words before a job sees them, and what is done to a server's before a caller does."""

import pytest
from curator_server.jobs.desk import job_filter
from curator_server.jobs.inputs import FEW, PASSAGE_CHARS, cut_few, write_documents
from curator_server.jobs.places import public_message
from hypothesis import given
from hypothesis import strategies as st

from curator.api.v1 import common_pb2, jobs_pb2
from curator.errors import ConfigError
from curator.records import Document
from curator.text.formats import read_file
from curator.text.rows import SourceOptions


@given(st.lists(st.text(min_size=1, max_size=3000).filter(lambda text: not text.isspace()), min_size=1, max_size=5))
def test_a_handful_is_cut_without_losing_a_letter(texts):
    documents = [Document(str(number), text, domain="law") for number, text in enumerate(texts)]
    passages = list(cut_few(documents))
    for document in documents:
        mine = [one for one in passages if one.id.rpartition("#")[0] == document.id]
        joined = "".join(one.text for one in mine)
        assert document.text.startswith(joined) and document.text[len(joined) :].strip() == ""
        assert all(len(one.text) <= 1.5 * PASSAGE_CHARS and one.domain == "law" for one in mine)
    assert len({one.source for one in passages}) == len(passages)


def test_many_documents_are_left_whole():
    documents = [Document(str(number), "tree " * 500) for number in range(FEW)]
    assert list(cut_few(documents)) == documents


def test_documents_are_written_under_the_fields_that_the_job_reads(tmp_path):
    wire = common_pb2.Documents(documents=[common_pb2.Document(id="a", text="tree"), common_pb2.Document(text="leaf")])
    fields = SourceOptions(text_field="content", id_field="key")
    write_documents(tmp_path / "0.jsonl", wire, fields, passages=False)
    found = list(read_file(tmp_path / "0.jsonl", fields))
    assert [(one.id, one.text, dict(one.metadata)) for one in found] == [("a", "tree", {}), ("document-2", "leaf", {})]


@pytest.mark.parametrize(
    ("message", "public"),
    [
        ("There is no file /srv/a/b.jsonl; check the path.", "There is no file b.jsonl; check the path."),
        ("'/srv/a/b' and (/srv/c/d).", "'b' and (d)."),
        ("Read https://host/a/b and hf:owner/name, 3/4 of it.", "Read https://host/a/b and hf:owner/name, 3/4 of it."),
        ("atlas of zoo:neox-32x2", "atlas of zoo:neox-32x2"),
        ("loading /srv/models/neox", "loading neox"),
        ("Cannot read /srv/my data/set one: it is gone.", "Cannot read set one: it is gone."),
        ("'/srv/one two/three four/five.jsonl' is bad", "'five.jsonl' is bad"),
        ("from /srv/a and /srv/b", "from a and b"),
        ("at /srv//twice/", "at twice"),
    ],
)
def test_a_public_message_keeps_the_last_part_of_a_path_only(message, public):
    assert public_message(message) == public


def test_a_filter_names_a_state_a_kind_or_both():
    running = jobs_pb2.Job.STATE_RUNNING
    assert job_filter("") == (0, "")
    assert job_filter("state = RUNNING") == job_filter("state=STATE_RUNNING") == (running, "")
    assert job_filter("kind = load_model AND state = RUNNING") == (running, "load_model")
    for wrong in ("state", "state = UNSPECIFIED", "state = RUNNING OR kind = x", "state = RUNNING; DROP"):
        with pytest.raises(ConfigError):
            job_filter(wrong)
