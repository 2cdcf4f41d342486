"""Probe, examples, pool and test share no source; the world on disk is the one that was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator.bakeoff.settings import PoolSettings, ProbeDials
from curator.bakeoff.world import (
    Use,
    World,
    build_bakeoff_probe,
    build_world,
    domains_of,
    embedded_domains,
    kept_world,
    labelled_domains,
    use_of,
)
from curator.errors import ArtifactError, ConfigError, InsufficientDataError, SourceNotFoundError
from curator.text.splits import Split, split_of

SETTINGS = PoolSettings(passage_chars=50, pool_per_domain=20, examples_per_domain=20, test_per_domain=5)


@pytest.fixture
def domains(tmp_path: Path) -> dict[str, tuple[str, ...]]:
    found = {}
    for domain in ("a", "b"):
        rows = (
            json.dumps({"id": f"{n}", "text": f"{domain} text {n} " * 9, "source": f"{domain}-work{n // 3}"})
            for n in range(240)
        )
        path = tmp_path / f"{domain}.jsonl"
        path.write_text("\n".join(rows))
        found[domain] = (str(path),)
    return found


def sources(world: World, use: Use) -> set[str]:
    return {document.source for document in world.parts[use]}


def test_no_two_parts_share_a_source(domains: dict[str, tuple[str, ...]]) -> None:
    world = build_world(domains, SETTINGS)
    parts = [sources(world, use) for use in Use]
    assert all(parts) and sum(map(len, parts)) == len(set.union(*parts))
    assert all(split_of(source) is Split.POOL for source in sources(world, Use.POOL))
    assert all(split_of(source) is Split.TRAIN for source in sources(world, Use.PROBE) | sources(world, Use.EXAMPLES))


def test_each_part_has_as_many_documents_as_wanted_and_they_are_cut(domains: dict[str, tuple[str, ...]]) -> None:
    world = build_world(domains, SETTINGS)
    assert world.counts()["a"] | {"probe": 0} == {"probe": 0, "examples": 20, "pool": 20, "test": 5}
    assert all(len(document.text) == 50 for document in world.of(Use.POOL))
    assert any(len(document.text) > 50 for document in world.of(Use.PROBE))


@given(st.text())
def test_a_source_has_one_use_and_keeps_to_the_projects_split(source: str) -> None:
    assert {Use.POOL: Split.POOL, Use.TEST: Split.TEST}.get(use_of(source), Split.TRAIN) is split_of(source)


def test_a_text_in_two_domains_counts_once(domains: dict[str, tuple[str, ...]]) -> None:
    world = build_world({"a": domains["a"], "b": (*domains["b"], *domains["a"])}, SETTINGS)
    assert not {d.text for d in world.of(Use.PROBE, "a")} & {d.text for d in world.of(Use.PROBE, "b")}


def test_the_world_is_written_once_and_read_again(domains: dict[str, tuple[str, ...]], tmp_path: Path) -> None:
    first = kept_world(domains, SETTINGS, tmp_path / "out")
    Path(domains["a"][0]).write_text("")
    again = kept_world(domains, SETTINGS, tmp_path / "out")
    assert again.fingerprint == first.fingerprint and again.counts() == first.counts()
    with pytest.raises(ConfigError, match="other text"):
        kept_world(domains, PoolSettings(), tmp_path / "out")


def test_a_damaged_world_is_refused(domains: dict[str, tuple[str, ...]], tmp_path: Path) -> None:
    kept_world(domains, SETTINGS, tmp_path / "out")
    (tmp_path / "out" / "world" / "pool.jsonl.zst").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="damaged"):
        kept_world(domains, SETTINGS, tmp_path / "out")


def test_one_domain_and_an_empty_part_are_refused(domains: dict[str, tuple[str, ...]], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two domains"):
        build_world({"a": domains["a"]}, SETTINGS)
    lone = tmp_path / "lone.jsonl"
    lone.write_text(json.dumps({"text": "x", "source": "s"}))
    with pytest.raises(InsufficientDataError, match="has no source for the part"):
        build_world({"a": domains["a"], "lone": (str(lone),)}, SETTINGS)


def test_the_probe_holds_every_domain_and_nothing_of_the_other_parts(
    domains: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    world = build_world(domains, SETTINGS)
    corpus = build_bakeoff_probe(world, ProbeDials(spans_per_domain=500), tmp_path / "probe")
    assert set(corpus.domains) == {"a", "b"}
    assert {document.source for document in corpus.documents} <= sources(world, Use.PROBE)


def test_built_in_domains_are_the_embedded_ones_and_those_of_a_folder(tmp_path: Path) -> None:
    assert "licences" in embedded_domains() and "legal" not in embedded_domains()
    with pytest.raises(SourceNotFoundError):
        labelled_domains(tmp_path)
    (tmp_path / "legal.jsonl.zst").write_bytes(b"")
    assert {"legal", "python"} <= set(domains_of((), tmp_path))
    assert domains_of(("x=env:python", "y=env:cpp"), None) == {"x": ("env:python",), "y": ("env:cpp",)}
