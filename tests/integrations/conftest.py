"""The tiny neuron set that these tests score with, on disk."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest

from curator.neuronset.artifact import save_neuron_set
from tests.atlas.core_world import make_corpus
from tests.neuronset.made_set import make_set


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.fixture(scope="session")
def set_folder(world: Path) -> Path:
    """A set for two target domains, ``digits`` and ``letters``."""
    folder = world / "integrated-set"
    save_neuron_set(make_set(world), folder)
    return folder


@pytest.fixture
def here(set_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the files that the page names, and a set called science."""
    home = tmp_path / "home" / "neuron-sets"
    home.mkdir(parents=True)
    (home / "science").symlink_to(set_folder)
    monkeypatch.setenv("CURATOR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    lines = "".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in make_corpus(20, seed=9).documents)
    for path in ("pool/a.jsonl", "dolma/documents/a.jsonl.gz"):
        Path(path).parent.mkdir(parents=True)
        Path(path).write_bytes(gzip.compress(lines.encode()) if path.endswith("gz") else lines.encode())
    return tmp_path


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and one more machine with one core each; a third can be added and lost."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    before = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = cluster.address
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    os.environ.pop("RAY_ADDRESS") if before is None else os.environ.update(RAY_ADDRESS=before)
