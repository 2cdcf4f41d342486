"""Where jobs may read and which models they may load: rules on names, without a server."""

import json

import pytest
from curator_server.jobs.places import Places
from curator_server.jobs.settings import JobSettings

from curator.api.v1 import jobs_pb2
from curator.errors import ConfigError
from curator.orders import LoadModelOrder, ModelOrder, Work
from curator.text.places import find_places
from curator.text.uris import parse_uri
from tests.contract.job_fakes import JobWorld
from tests.contract.job_requests import study

Job = jobs_pb2.Job


def places(root, *names, **more):
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
    return Places(JobSettings(state=root / "state", source_roots=tuple(root / name for name in names), **more))


def saved(folder, *splits):
    """A folder as ``DatasetDict.save_to_disk`` leaves it."""
    for split in splits:
        (folder / split).mkdir(parents=True)
        for name in ("state.json", "dataset_info.json", "data.arrow"):
            (folder / split / name).write_text("{}")
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": splits}))


def test_a_link_deep_in_a_saved_dataset_that_leads_out_is_refused(tmp_path):
    found = places(tmp_path, "texts")
    saved(tmp_path / "texts/good", "train", "test")
    assert found.sources(["good"]) == ("texts/good",)
    saved(tmp_path / "texts/bad", "train", "test")
    (tmp_path / "secret.arrow").write_text("secret")
    (tmp_path / "texts/bad/test/data.arrow").unlink()
    (tmp_path / "texts/bad/test/data.arrow").symlink_to(tmp_path / "secret.arrow")
    with pytest.raises(ConfigError, match="not below a folder"):
        found.sources(["bad"])


def test_a_linked_split_is_looked_through_too_and_circles_end(tmp_path):
    found = places(tmp_path, "texts")
    saved(tmp_path / "texts/parts", "train")
    (tmp_path / "texts/parts/train/again").symlink_to(tmp_path / "texts/parts")
    (tmp_path / "texts/all").mkdir()
    saved(tmp_path / "texts/all")
    (tmp_path / "texts/all/train").symlink_to(tmp_path / "texts/parts/train")
    assert found.sources(["all"]) == ("texts/all",)
    (tmp_path / "texts/parts/train/out").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="not below a folder"):
        found.sources(["all"])


def test_sources_are_named_below_the_last_part_of_their_root_and_a_worker_finds_them_so(tmp_path, monkeypatch):
    found = places(tmp_path, "one/texts", "two/texts", "inputs")
    (tmp_path / "link").symlink_to(tmp_path / "two/texts")
    for name in ("one/texts/a.jsonl", "two/texts/b c.jsonl", "inputs/d.jsonl", "one/texts/q?x=1.jsonl"):
        (tmp_path / name).write_text('{"text": "tree"}\n')
    assert found.sources(["a.jsonl", "b c.jsonl", "d.jsonl", str(tmp_path / "link/b*.jsonl"), "a.jsonl?split=test"]) == (
        "texts/a.jsonl", "texts-2/b c.jsonl", "inputs-2/d.jsonl", "texts-2/b*.jsonl", "texts/a.jsonl?split=test",
    )  # fmt: skip
    odd = found.sources([f"file://{tmp_path}/one/texts/q%3Fx=1.jsonl", "*.jsonl"])
    (tmp_path / "job").mkdir()
    order = LoadModelOrder(model=ModelOrder(name="zoo:a"))
    work = Work(order=order, atlases="/", roots={name: str(root) for name, root in found.roots.items()})
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # a worker that goes on finds the links of the one before it
        work.enter(tmp_path / "job")
    names = [place.name for uri in odd for place in find_places(parse_uri(uri))]
    assert names == ["q?x=1.jsonl", "a.jsonl", "q?x=1.jsonl"]


@pytest.mark.parametrize(
    ("patterns", "revision", "allowed"),
    [
        (("owner/*",), "", True),
        (("owner/*",), "v1.0", True),
        (("owner/*",), "refs/pr/12", False),
        (("owner/*", "*"), "REFS/pr/12", False),
        (("owner/*@refs/pr/12",), "refs/pr/12", True),
        (("owner/*@refs/pr/12",), "refs/pr/13", False),
        (("owner/tiny@main",), "", True),
        (("owner/tiny@main",), "refs/pr/12", False),
        (("owner/tiny@0123*",), "", False),
        (("other/*@*",), "main", False),
    ],
)
def test_a_revision_that_anybody_can_propose_must_be_named_by_the_operator(tmp_path, patterns, revision, allowed):
    found = places(tmp_path, models=patterns)
    if allowed:
        assert found.model("owner/tiny", revision) == "owner/tiny"
        return
    with pytest.raises(ConfigError, match="ask its operator"):
        found.model("owner/tiny", revision)


def test_a_model_that_is_pinned_by_the_operator_can_be_worked_with_and_a_pull_request_cannot_be_loaded(tmp_path):
    world = JobWorld(tmp_path)
    world.given["models"] = ("owner/*@main",)
    with world.client() as client:
        with pytest.raises(ConfigError, match="refs/pr/12"):
            client.jobs.load_model("owner/a", revision="refs/pr/12")
        for name in "ab":
            client.jobs.wait(client.jobs.load_model(f"owner/{name}").name)
        assert client.jobs.wait(client.jobs.create(study()).name).state == Job.STATE_SUCCEEDED


def test_a_model_in_a_folder_is_shown_by_its_last_part(tmp_path):
    world = JobWorld(tmp_path)
    world.given["models"] = (f"{tmp_path}/*",)
    world.made("weights/tiny")
    with world.client() as client:
        client.jobs.wait(client.jobs.load_model(f"{tmp_path}/weights/tiny").name)
        assert {model.name: model.repo for model in client.jobs.models()}["models/tiny"] == "tiny"
