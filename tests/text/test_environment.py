"""The embedded corpus is real, seeded, deduplicated and cut at natural boundaries."""

from __future__ import annotations

from pathlib import Path

import pytest

from curator.errors import ConfigError, InsufficientDataError
from curator.records import Document
from curator.text import environment
from curator.text.environment import MAX_DOCUMENT_CHARS, MIN_DOCUMENT_CHARS, environment_domains, harvest


def licence(name: str, paragraphs: int = 12) -> str:
    return "\n\n".join(f"Clause {i} of {name}. " + f"The {name} terms apply. " * 12 for i in range(paragraphs))


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environment, "_roots", lambda: [("site", tmp_path)])
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "LICENSE").write_text(licence(name))
        (tmp_path / name / "code.py").write_text(
            f"# Copyright {name}\n\nimport os\n\n\n" + "def f():\n    pass\n\n\n" * 40
        )
    return tmp_path


def test_this_installation_holds_real_text() -> None:
    found = harvest("legal", max_chars=100_000)
    assert sum(len(document.text) for document in found) > 80_000
    assert len({document.id for document in found}) == len({document.text for document in found}) == len(found)
    assert all(MIN_DOCUMENT_CHARS <= len(document.text) <= MAX_DOCUMENT_CHARS for document in found)
    assert {document.source.split("/")[0] for document in found} <= {"stdlib", "site", "include", "common-licenses"}


def test_the_domains_are_the_published_ones() -> None:
    assert environment_domains() == ("python", "cpp", "legal", "prose", "docstrings", "stubs", "cython")


def test_documents_carry_their_domain_and_the_file_they_come_from(packages: Path) -> None:
    found = harvest("legal")
    assert {(document.domain, document.source) for document in found} == {
        ("legal", f"site/{name}/LICENSE") for name in ("one", "two", "three")
    }


def test_a_licence_that_ships_twice_counts_once(packages: Path) -> None:
    before = sorted(document.text for document in harvest("legal"))
    (packages / "four").mkdir()
    (packages / "four" / "LICENSE.txt").write_text(licence("one").upper().replace(" ", "  "))
    after = harvest("legal")
    assert len(after) == len(before)
    assert sum("CLAUSE 3" in document.text.upper() for document in after) == 3


def test_text_is_cut_only_between_paragraphs(packages: Path) -> None:
    paragraphs = {part for name in ("one", "two", "three") for part in licence(name).split("\n\n")}
    found = [part for document in harvest("legal") for part in document.text.split("\n\n")]
    assert set(found) <= paragraphs
    assert len(found) == len(set(found))


def test_a_budget_stops_after_the_file_that_fills_it(packages: Path) -> None:
    assert len({document.source for document in harvest("legal", max_chars=1)}) == 1


def test_the_seed_orders_files_and_documents_reproducibly(packages: Path) -> None:
    orders: list[list[Document]] = [harvest("legal", seed=seed) for seed in range(5)]
    assert orders == [harvest("legal", seed=seed) for seed in range(5)]
    assert len({tuple(document.id for document in order) for order in orders}) > 1


def test_code_loses_the_licence_it_opens_with(packages: Path) -> None:
    (packages / "long.py").write_text("# Copyright me\n# All rights reserved\n" + "value = compute(1)\n" * 30)
    (document,) = [document for document in harvest("python") if document.source == "site/long.py"]
    assert document.text.startswith("value = ")


def test_files_that_are_not_text_are_passed_over(packages: Path) -> None:
    (packages / "COPYING").write_bytes(b"\xff\xfe" * 500)
    assert all(document.source != "site/COPYING" for document in harvest("legal"))


def test_an_unknown_domain_and_an_empty_one_are_refused(packages: Path) -> None:
    with pytest.raises(ConfigError, match="python, cpp, legal"):
        harvest("poetry")
    with pytest.raises(InsufficientDataError, match="'cython'"):
        harvest("cython")
