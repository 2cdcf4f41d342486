"""Every Python example of docs/integrations.md but Ray's, with a small set and small files in place."""

import gzip
from pathlib import Path

import datasets
import pytest

from curator.filtering.dataset import filter_sources
from curator.filtering.policy import Policy
from tests.integrations.letters import LettersFactory
from tests.integrations.page import examples, run


def test_the_datasets_example(here: Path) -> None:
    (block,) = examples("datasets")
    run(block)
    kept = datasets.load_dataset("parquet", data_files="kept.parquet", split="train")
    assert 10 < kept.num_rows < 30
    assert min(kept["curator_probability"]) >= 0.8


def test_the_datatrove_example(here: Path) -> None:
    pytest.importorskip("datatrove")
    (block,) = examples("datatrove")
    run(block)
    counts = {
        folder: sum(gzip.decompress(path.read_bytes()).count(b"\n") for path in (here / folder).iterdir())
        for folder in ("kept", "rejected")
    }
    assert counts["kept"] > 10
    assert sum(counts.values()) == 60


def test_the_dolma_examples(here: Path) -> None:
    from_output, scored_here = examples("dolma")
    filter_sources(
        ["dolma/documents/*.jsonl.gz"], LettersFactory(), here / "out", Policy(threshold=0.1, target="letter e")
    )
    run(from_output)
    written = here / "dolma/attributes/science_v1/a.jsonl.gz"
    first = gzip.decompress(written.read_bytes())
    assert b"science_v1__curator__letter_e" in first
    run(scored_here)
    second = gzip.decompress(written.read_bytes())
    assert b"science_v1__curator__digits" in second
    assert first.count(b"\n") == second.count(b"\n") == 60
