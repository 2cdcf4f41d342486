"""The blocks in real datatrove pipelines: kept and excluded documents, statistics, several tasks, pickling."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dill
import pytest

from curator.errors import ConfigError
from curator.neuronset.artifact import load_neuron_set
from curator.neuronset.places import model_of
from curator.records import Document, Score
from curator.scoring.scorer import NeuronSetScorer
from tests.atlas.core_world import make_corpus

pytest.importorskip("datatrove")
from datatrove.data import Document as TroveDocument
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.readers.jsonl import JsonlReader
from datatrove.pipeline.writers.jsonl import JsonlWriter

from curator.integrations.datatrove import NeuronFilter, NeuronScorer

UNSCORABLE = {"empty-ish": "x", "blank": "   \n"}


@pytest.fixture
def documents() -> list[Document]:
    return list(make_corpus(20, seed=9).documents)


@pytest.fixture
def pool(tmp_path: Path, documents: list[Document]) -> Path:
    """Two input files, with two documents among them that cannot be scored."""
    rows = [{"id": d.id, "text": d.text, "topic": d.domain} for d in documents]
    rows[7:7] = [{"id": name, "text": text, "topic": "none"} for name, text in UNSCORABLE.items()]
    folder = tmp_path / "pool"
    folder.mkdir()
    for number in range(2):
        lines = [json.dumps(row) + "\n" for row in rows[number::2]]
        (folder / f"part-{number}.jsonl").write_text("".join(lines))
    return folder


def _scores(set_folder: Path, documents: list[Document], domain: str) -> dict[str, Score]:
    found = load_neuron_set(set_folder)
    scorer = NeuronSetScorer(model_of(found.manifest, device="cpu", dtype="auto").load(), found, domain)
    return {score.document_id: score for score in scorer.score(documents) if isinstance(score, Score)}


def _written(folder: Path) -> dict[str, dict[str, Any]]:
    lines = (line for data in _unpacked(folder).values() for line in data.splitlines())
    return {row["id"]: row for row in map(json.loads, lines)}


def _unpacked(folder: Path) -> dict[str, bytes]:
    return {path.name: gzip.decompress(path.read_bytes()) for path in sorted(folder.glob("*.jsonl.gz"))}


def test_a_filter_splits_the_pool_and_says_why(
    set_folder: Path, tmp_path: Path, pool: Path, documents: list[Document]
) -> None:
    block = NeuronFilter(
        set_folder, 0.5, targets="digits", batch_size=16, exclusion_writer=JsonlWriter(str(tmp_path / "excluded"))
    )
    pipeline = [JsonlReader(str(pool)), block, JsonlWriter(str(tmp_path / "kept"))]
    stats = LocalPipelineExecutor(pipeline, tasks=2, workers=1, logging_dir=str(tmp_path / "logs")).run()
    kept, excluded = _written(tmp_path / "kept"), _written(tmp_path / "excluded")

    expected = _scores(set_folder, documents, "digits")
    wanted = {name for name, score in expected.items() if score.probability >= 0.5}
    assert set(kept) == wanted
    assert set(excluded) == (set(expected) - wanted) | set(UNSCORABLE)
    for name, row in kept.items():
        metadata = row["metadata"]
        assert metadata["topic"] == "digits"
        assert metadata["curator_score"] == pytest.approx(expected[name].value, abs=1e-4)
        assert metadata["curator_probability"] == pytest.approx(expected[name].probability, abs=1e-3)
        assert (metadata["curator_tokens"], metadata["curator_reason"]) == (expected[name].tokens, "")
    reasons = {name: excluded[name]["metadata"]["filter_reason"] for name in UNSCORABLE}
    assert reasons == {"empty-ish": "no_spans", "blank": "empty_text"}
    assert excluded["blank"]["metadata"]["curator_score"] is None

    ours = next(step for step in stats.stats if "Rosetta" in step.name).stats
    counts = {name: ours[name].total for name in ("total", "forwarded", "dropped", "dropped_no_spans", "unscored")}
    assert counts == {
        "total": 62,
        "forwarded": len(kept),
        "dropped": len(excluded),
        "dropped_no_spans": 1,
        "unscored": 2,
    }
    assert ours["curator_tokens"].total == sum(score.tokens for score in expected.values())


def test_a_scorer_passes_everything_on_with_the_scores_of_all_targets(
    set_folder: Path, documents: list[Document]
) -> None:
    given = [TroveDocument(text=d.text, id=d.id, metadata={"topic": d.domain}) for d in documents]
    given.insert(3, TroveDocument(text="x", id="short"))
    passed = list(NeuronScorer(set_folder, batch_size=7)(iter(given)))
    assert [document.id for document in passed] == [document.id for document in given]
    assert passed[3].metadata["curator_reason"] == "no_spans"
    for target in ("digits", "letters"):
        expected = _scores(set_folder, documents, target)
        found = {d.id: d.metadata[f"curator_score:{target}"] for d in passed if d.id != "short"}
        assert found == pytest.approx({name: score.value for name, score in expected.items()}, abs=1e-4)
    assert passed[0].metadata["topic"] == documents[0].domain


def test_worker_processes_load_the_model_themselves(set_folder: Path, tmp_path: Path, pool: Path) -> None:
    outputs = []
    for workers in (1, 2):
        out = tmp_path / f"out-{workers}"
        pipeline = [JsonlReader(str(pool)), NeuronFilter(set_folder, targets="letters"), JsonlWriter(str(out))]
        logs = str(tmp_path / f"logs-{workers}")
        LocalPipelineExecutor(pipeline, tasks=2, workers=workers, logging_dir=logs, start_method="spawn").run()
        outputs.append(_unpacked(out))
    assert len(outputs[0]) == 2
    assert outputs[0] == outputs[1]


def test_a_block_is_pickled_without_its_model(set_folder: Path, documents: list[Document]) -> None:
    block = NeuronFilter(set_folder, targets="digits")
    given = TroveDocument(text=documents[0].text, id="a")
    verdict = block.filter(given)
    again = dill.loads(dill.dumps(block))
    assert block.scorer.is_loaded
    assert not again.scorer.is_loaded
    assert again.filter(given) == verdict


def test_mistakes_are_named(set_folder: Path) -> None:
    with pytest.raises(ConfigError, match="targets="):
        NeuronFilter(set_folder)
    with pytest.raises(ConfigError, match="probability"):
        NeuronFilter(set_folder, 1.5, targets="digits")


def test_without_datatrove_the_message_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['datatrove'] = None\n"
        "from curator.errors import MissingExtraError\n"
        "try:\n    import curator.integrations.datatrove\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install datatrove" in done.stdout
