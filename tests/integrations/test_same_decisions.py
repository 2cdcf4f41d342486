"""Ten thousand documents are decided alike by one process, by two, by a Ray cluster, and over the wire."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from curator_client import ConnectionOptions
from curator_server.app import running_server

from curator.factories import NeuronSetFactory, RemoteFactory
from curator.filtering.output import load_manifest
from curator.filtering.policy import Policy
from curator.filtering.select import NEAR_CUTOFF
from curator.offline import filter_dataset
from tests.atlas.core_world import make_corpus
from tests.contract.service_fakes import SETTINGS

pytestmark = [pytest.mark.timeout(1200), pytest.mark.filterwarnings("ignore::ResourceWarning")]
DOCUMENTS = 10_000
POLICY = Policy(keep_fraction=0.3)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Passages of 40 to 240 characters from documents that the set was not made with."""
    generator = np.random.default_rng(2)
    texts = [document.text for document in make_corpus(60, seed=9).documents]
    path = tmp_path_factory.mktemp("same") / "pool.jsonl"
    with path.open("w", encoding="utf-8") as handle:
        for number in range(DOCUMENTS):
            text = texts[int(generator.integers(len(texts)))]
            start = int(generator.integers(max(1, len(text) - 60)))
            passage = text[start : start + int(generator.integers(40, 240))]
            handle.write(json.dumps({"id": f"d{number}", "text": f"{number} {passage}"}) + "\n")
    return path


@pytest.fixture(scope="module")
def local(pool: Path, set_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("same-local") / "out"
    filter_dataset(pool, _factory(set_folder), out, POLICY, piece_bytes=200_000)
    return out


def _factory(set_folder: Path) -> NeuronSetFactory:
    return NeuronSetFactory.of(set_folder, targets=["digits"])


def _scores(out: Path) -> tuple[list[str], np.ndarray]:
    columns = ["document_id", "value:digits", "probability:digits"]
    table = pq.read_table(out / "scores", columns=columns)
    return table["document_id"].to_pylist(), np.stack([table[name].to_numpy() for name in columns[1:]])


def _kept(out: Path) -> set[str]:
    return {row["document_id"] for row in pq.read_table(out / "decisions.parquet").to_pylist() if row["kept"]}


def _assert_same(out: Path, local: Path) -> None:
    """Scores within the stated tolerance, and no decision other than at documents that the report counts as near the cut."""
    names, scores = _scores(out)
    expected_names, expected = _scores(local)
    assert names == expected_names and len(names) == DOCUMENTS
    assert np.abs(scores - expected).max() < NEAR_CUTOFF
    near = load_manifest(local).report["targets"]["digits"]["near_cutoff"]
    assert len(_kept(out) ^ _kept(local)) <= near < DOCUMENTS // 50
    assert len(_kept(out)) == len(_kept(local)) == round(0.3 * DOCUMENTS)


def test_by_two_workers(pool: Path, set_folder: Path, local: Path, tmp_path: Path) -> None:
    filter_dataset(pool, _factory(set_folder), tmp_path / "out", POLICY, piece_bytes=200_000, workers=2)
    _assert_same(tmp_path / "out", local)


def test_by_actors_of_a_ray_cluster(pool: Path, set_folder: Path, local: Path, tmp_path: Path, cluster: Any) -> None:
    filter_dataset(pool, _factory(set_folder), tmp_path / "out", POLICY, piece_bytes=200_000, workers=2, engine="ray")
    _assert_same(tmp_path / "out", local)


def test_over_the_wire(pool: Path, set_folder: Path, local: Path, tmp_path: Path) -> None:
    with running_server(SETTINGS, [_factory(set_folder)(0)]) as address:
        factory = RemoteFactory.of(address, ConnectionOptions())
        filter_dataset(pool, factory, tmp_path / "out", POLICY, piece_bytes=200_000)
    _assert_same(tmp_path / "out", local)


def test_in_other_pieces_and_by_other_threads(pool: Path, set_folder: Path, local: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        filter_dataset(pool, _factory(set_folder), tmp_path / "out", POLICY, piece_bytes=70_000)
    finally:
        torch.set_num_threads(threads)
    _assert_same(tmp_path / "out", local)
