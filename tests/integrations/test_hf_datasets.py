"""A neuron set inside ``datasets``: the same scores, one load per process, and a cache that knows what it holds."""

import math
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from datasets.fingerprint import Hasher

from curator.errors import ArtifactNotFoundError, ConfigError, FingerprintError
from curator.integrations.hf import Scorer, keep
from curator.neuronset.artifact import NeuronSet, load_neuron_set, save_neuron_set
from curator.neuronset.places import model_of
from curator.records import Document, Score
from curator.scoring.factory import ScorerFactory
from curator.scoring.scorer import NeuronSetScorer
from tests.atlas.core_world import make_corpus

OWN = {"curator_score", "curator_probability", "curator_neurons", "curator_tokens", "curator_reason"}


@pytest.fixture(autouse=True)
def quiet() -> None:
    datasets.disable_progress_bars()


@pytest.fixture
def documents() -> list[Document]:
    return list(make_corpus(20, seed=9).documents)


@pytest.fixture
def dataset(tmp_path: Path, documents: list[Document]) -> datasets.Dataset:
    """On disk, for ``datasets`` caches nothing of what is in memory."""
    rows = {"text": [d.text for d in documents], "domain": [d.domain for d in documents]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "pool")
    return datasets.load_from_disk(tmp_path / "pool")


def _expected(set_folder: Path, documents: list[Document], domain: str) -> list[Score]:
    found = load_neuron_set(set_folder)
    scorer = NeuronSetScorer(model_of(found.manifest, device="cpu", dtype="auto").load(), found, domain)
    return [score for score in scorer.score(documents) if isinstance(score, Score)]


def test_map_adds_the_scores_of_the_scorer_and_leaves_the_rest_alone(
    set_folder: Path, dataset: datasets.Dataset, documents: list[Document]
) -> None:
    scored = dataset.map(Scorer(set_folder, targets="digits"), batched=True, batch_size=16)
    assert set(scored.column_names) == {"text", "domain"} | OWN
    assert scored["text"][:] == dataset["text"][:]
    expected = _expected(set_folder, documents, "digits")
    assert scored["curator_score"][:] == pytest.approx([score.value for score in expected], abs=1e-4)
    assert scored["curator_probability"][:] == pytest.approx([score.probability for score in expected], abs=1e-3)
    assert scored["curator_tokens"][:] == [score.tokens for score in expected]
    assert scored["curator_reason"][:] == [""] * len(documents)


def test_several_targets_have_columns_of_their_own(
    set_folder: Path, dataset: datasets.Dataset, documents: list[Document]
) -> None:
    scored = dataset.map(Scorer(set_folder), batched=True)
    for target in ("digits", "letters"):
        values = [score.value for score in _expected(set_folder, documents, target)]
        assert scored[f"curator_score:{target}"][:] == pytest.approx(values, abs=1e-4)
    assert "curator_score" not in scored.column_names
    kept = scored.filter(keep(probability=0.5, target="digits"))
    assert set(kept["domain"]) == {"digits"}
    with pytest.raises(ConfigError, match="several targets"):
        scored.filter(keep(probability=0.5))


def test_keep_agrees_batched_and_row_by_row(set_folder: Path, dataset: datasets.Dataset) -> None:
    scored = dataset.map(Scorer(set_folder, targets="digits"), batched=True)
    wanted = [text for text, p in zip(scored["text"], scored["curator_probability"], strict=True) if p >= 0.5]
    assert 0 < len(wanted) < len(dataset)
    assert scored.filter(keep(probability=0.5))["text"][:] == wanted
    assert scored.filter(keep(probability=0.5), batched=True)["text"][:] == wanted
    assert scored.with_format("numpy").filter(keep(probability=0.5), batched=True).num_rows == len(wanted)
    assert scored.to_iterable_dataset().filter(keep(probability=0.5)).take(99) is not None
    median = sorted(scored["curator_score"])[len(dataset) // 2]
    assert min(scored.filter(keep(score=median))["curator_score"]) == median


def test_a_streamed_dataset_gives_the_same_rows(set_folder: Path, dataset: datasets.Dataset) -> None:
    scorer = Scorer(set_folder, targets="digits")
    streamed = dataset.to_iterable_dataset().map(scorer, batched=True, batch_size=16).filter(keep(probability=0.5))
    kept = dataset.map(scorer, batched=True, batch_size=16).filter(keep(probability=0.5))
    assert list(streamed) == list(kept)


def test_texts_that_cannot_be_scored_say_why_and_do_not_spoil_the_types_of_a_column(set_folder: Path) -> None:
    texts = ["", "  ", None, "x", *(document.text for document in make_corpus(2, seed=9).documents)]
    pool = datasets.Dataset.from_dict({"text": texts})
    scored = pool.map(Scorer(set_folder, targets="digits"), batched=True, batch_size=4)
    assert scored["curator_reason"][:5] == ["empty_text", "empty_text", "missing_field", "no_spans", ""]
    assert all(math.isnan(value) for value in scored["curator_score"][:4])
    assert scored["curator_neurons"][:4] == [[]] * 4
    assert scored["curator_tokens"][:4] == [0] * 4
    assert scored.features["curator_neurons"] == datasets.List(datasets.Value("string"))
    assert scored.filter(keep(probability=0.0)).num_rows == len(texts) - 4


def test_a_second_call_comes_from_the_cache_and_loads_no_model(
    set_folder: Path, dataset: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dataset.map(Scorer(set_folder), batched=True)

    def no_model(*_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(ScorerFactory, "__call__", no_model)
    again = dataset.map(Scorer(set_folder), batched=True)
    assert again._fingerprint == first._fingerprint
    assert again[:] == first[:]
    with pytest.raises(AssertionError, match="loaded"):
        dataset.map(Scorer(set_folder, targets="letters"), batched=True)


def test_the_hash_is_the_same_in_every_process_and_after_use(set_folder: Path, documents: list[Document]) -> None:
    scorer = Scorer(set_folder, targets="digits")
    before = Hasher.hash(scorer)
    scorer({"text": [documents[0].text]})
    assert Hasher.hash(scorer) == before
    code = (
        "import sys; from datasets.fingerprint import Hasher; from curator.integrations.hf import Scorer\n"
        "print(Hasher.hash(Scorer(sys.argv[1], targets='digits')))"
    )
    other = subprocess.run([sys.executable, "-c", code, str(set_folder)], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == before


def test_whatever_changes_scores_changes_the_hash(set_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(set_folder, folder)
    hashes = [Hasher.hash(Scorer(folder)), Hasher.hash(Scorer(folder, targets=["letters", "digits"]))]
    hashes += [Hasher.hash(Scorer(folder, method=method)) for method in ("single", "linear", "signature", "blended")]
    hashes += [Hasher.hash(Scorer(folder, text_column="body")), Hasher.hash(Scorer(folder, dtype="bfloat16"))]
    _make_again(folder)
    hashes.append(Hasher.hash(Scorer(folder)))
    assert len(set(hashes)) == len(hashes)


FORKED = """
import sys
from datasets import load_from_disk
from curator.integrations.hf import Scorer
pool = load_from_disk(sys.argv[1])
scorer = Scorer(sys.argv[2], targets="digits", method="signature")
alone = pool.map(scorer, batched=True, keep_in_memory=True)
together = pool.map(scorer, batched=True, num_proc=2, load_from_cache_file=False)
pairs = zip(alone["curator_score"], together["curator_score"], strict=True)
print(max(abs(one - two) for one, two in pairs))
"""


def test_forked_processes_score_as_their_parent_did(
    set_folder: Path, dataset: datasets.Dataset, tmp_path: Path
) -> None:
    """The parent has used OpenMP's threads, in torch and in FAISS; a child that waits for them would never end."""
    many = datasets.concatenate_datasets([dataset] * 10)
    many.save_to_disk(tmp_path / "many")
    command = [sys.executable, "-c", FORKED, str(tmp_path / "many"), str(set_folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "4", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-5


def test_a_pickle_holds_no_model_and_refuses_another_set(set_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(set_folder, folder)
    scorer = Scorer(folder)
    texts = [document.text for document in make_corpus(2, seed=9).documents]
    scorer({"text": texts})
    pickled = pickle.dumps(scorer)
    assert len(pickled) < 1000
    assert pickle.loads(pickled)({"text": texts}) == scorer({"text": texts})
    _make_again(folder)
    with pytest.raises(FingerprintError, match="changed"):
        pickle.loads(pickled)({"text": texts})


def test_mistakes_are_named(set_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFoundError):
        Scorer(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="name one of them"):
        Scorer(set_folder, targets="poetry")
    with pytest.raises(ConfigError, match="each once"):
        Scorer(set_folder, targets=["digits", "digits"])
    with pytest.raises(ConfigError, match="text_column"):
        Scorer(set_folder)({"body": ["x"]})
    with pytest.raises(ConfigError, match="batched=True"):
        Scorer(set_folder)({"text": "one row"})
    for wrong in ({}, {"probability": 0.5, "score": 1.0}, {"probability": 1.5}):
        with pytest.raises(ConfigError):
            keep(**wrong)


def _make_again(folder: Path) -> None:
    """Another set under the same name: the same numbers, another manifest."""
    found = load_neuron_set(folder)
    shutil.rmtree(folder)
    save_neuron_set(NeuronSet(found.manifest.model_copy(update={"name": "made-again"}), found.arrays), folder)
