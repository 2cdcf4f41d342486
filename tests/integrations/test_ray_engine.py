"""The Ray engine on an emulated cluster of two machines: the output of the local engine, whoever is killed meanwhile."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from curator.errors import ConfigError, CuratorError, FingerprintError
from curator.filtering.dataset import filter_sources
from curator.filtering.engines import LocalEngine
from curator.filtering.job import ScorerIdentity
from curator.filtering.policy import Policy
from curator.filtering.ray_engine import RayEngine
from curator.offline import filter_dataset
from curator.records import Document, Rejection, Score
from tests.integrations.letters import Letters
from tests.integrations.page import examples, run

pytestmark = [pytest.mark.timeout(480), pytest.mark.filterwarnings("ignore::ResourceWarning")]
POLICY = Policy(keep_fraction=0.4, target="letter e")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 documents in one file that is cut into about 20 pieces, with records that cannot be read or scored."""
    path = tmp_path_factory.mktemp("ray-pool") / "pool.jsonl"
    lines = [f'{{"id": "d{n}", "text": "{"eel " * (n % 7 + 1)}{"oo " * (n % 5)}tower {n}"}}' for n in range(300)]
    lines[40:40] = ["{no record", '{"id": "u", "text": "unscorable"}']
    path.write_text("\n".join(lines) + "\n")
    return path


@dataclass(frozen=True)
class Notebook:
    """A factory whose scorers write down where they are, and misbehave at one document as often as they are told.

    They wait until there are some on so many ``machines``. With a ``node``, those on that machine hang at once, and all others
    wait until one does.
    """

    folder: str
    at: str = ""
    times: int = 0
    what: str = ""
    node: str = ""
    machines: int = 1

    @property
    def identity(self) -> ScorerIdentity:
        return ScorerIdentity.of(Letters())

    def __call__(self, worker: int) -> "Noted":
        return Noted(self)

    def nodes(self) -> set[str]:
        """Machines on which a scorer was loaded."""
        return {path.read_text() for path in Path(self.folder).glob("loaded-*")}

    def bad(self) -> int:
        """How often a scorer misbehaved."""
        return len(list(Path(self.folder).glob("bad-*")))

    def note_bad(self) -> None:
        Path(self.folder, f"bad-{self.bad()}").touch()


class Noted(Letters):
    """The scorer of a ``Notebook``."""

    def __init__(self, notebook: Notebook) -> None:
        super().__init__()
        ray = sys.modules.get("ray")
        here = ray.get_runtime_context().get_node_id() if ray and ray.is_initialized() else "here"
        vars(self).update(notebook=notebook, here=here)
        Path(notebook.folder, f"loaded-{os.getpid()}").write_text(here)

    def score_targets(self, documents: Sequence[Document]) -> list[tuple[Score, ...] | Rejection]:
        notebook: Notebook = vars(self)["notebook"]
        while len(notebook.nodes()) < notebook.machines:
            time.sleep(0.02)
        if notebook.node == vars(self)["here"]:
            notebook.note_bad()
            time.sleep(60)
        while notebook.node and not notebook.bad():
            time.sleep(0.02)
        if notebook.bad() < notebook.times and any(document.id == notebook.at for document in documents):
            notebook.note_bad()
            if notebook.what == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            raise FingerprintError("raised on purpose")
        return super().score_targets(documents)


def _run(pool: Path, out: Path, engine: Any, **bad: Any) -> dict[str, bytes]:
    """The files of the output but for the clock's."""
    notes = out.with_name(f"{out.name}-notes")
    notes.mkdir(exist_ok=True)
    filter_sources([str(pool)], Notebook(str(notes), **bad), out, POLICY, engine=engine, piece_bytes=1000)
    return _files(out)


def _files(out: Path) -> dict[str, bytes]:
    files = {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != "timing.json"}


@pytest.fixture(scope="module")
def expected(pool: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    files = _run(pool, tmp_path_factory.mktemp("local") / "out", LocalEngine())
    assert sum(name.startswith("scores/") for name in files) > 10
    return files


def test_two_machines_make_the_bytes_of_one_process(
    cluster: Any, pool: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    assert _run(pool, tmp_path / "out", RayEngine(), machines=2) == expected
    assert len(Notebook(str(tmp_path / "out-notes")).nodes()) == 2


def test_an_actor_killed_in_the_middle_changes_nothing(
    cluster: Any, pool: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    found = _run(pool, tmp_path / "out", RayEngine(in_flight=3), at="d150", times=2, what="die")
    assert Notebook(str(tmp_path / "out-notes")).bad() == 2
    assert found == expected


def test_a_machine_lost_in_the_middle_changes_nothing(
    cluster: Any, pool: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    third = cluster.add_node(num_cpus=1)
    notebook = Notebook(str(tmp_path / "out-notes"))

    def lose_it() -> None:
        while not notebook.bad():
            time.sleep(0.02)
        cluster.remove_node(third, allow_graceful=False)

    thread = threading.Thread(target=lose_it, daemon=True)
    thread.start()
    found = _run(pool, tmp_path / "out", RayEngine(), node=third.node_id)
    thread.join(30)
    assert notebook.bad() == 1
    assert third.node_id in notebook.nodes()
    assert found == expected


def test_a_piece_that_kills_every_actor_ends_the_job_with_a_sentence_and_the_rest_stays_done(
    cluster: Any, pool: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(CuratorError, match="3 Ray actors were lost at piece"):
        _run(pool, tmp_path / "out", RayEngine(in_flight=1), at="d150", times=9, what="die")
    before = {path.name for path in (tmp_path / "out.work" / "scores").iterdir()}
    assert before
    assert _run(pool, tmp_path / "out", LocalEngine()) == expected


def test_what_a_step_raises_is_raised_here(cluster: Any, pool: Path, tmp_path: Path) -> None:
    with pytest.raises(FingerprintError, match="on purpose") as caught:
        _run(pool, tmp_path / "out", RayEngine(), at="d150", times=9, what="raise")
    assert "In a Ray actor" in caught.value.__notes__[0]


def test_the_example_makes_the_bytes_of_one_process_with_a_model(cluster: Any, here: Path) -> None:
    """The last section of docs/integrations.md; each piece is scored in the same batches wherever it is scored."""
    (example,) = examples("Ray")
    report: Any = run(example)["report"]
    assert 10 < report.documents_kept < 30
    filter_dataset("pool/*.jsonl", "science", "local", Policy(threshold=0.8, target="digits"))
    assert _files(here / "out") == _files(here / "local")


def test_an_actor_that_fits_nowhere_is_refused(cluster: Any, pool: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too little for an actor"):
        _run(pool, tmp_path / "out", RayEngine(cpus=64))
    assert RayEngine().share_of({"CPU": 8.0}) == {"CPU": 1.0, "GPU": 0.0}
    assert RayEngine().room({"CPU": 8.0, "GPU": 4.0}) == 4
    assert RayEngine(gpus=0, cpus=2).room({"CPU": 8.0, "GPU": 1.0}) == 4
    with pytest.raises(ConfigError, match="workers >= 0"):
        RayEngine(in_flight=0)


def test_without_ray_the_message_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from curator.errors import MissingExtraError\n"
        "from curator.filtering.ray_engine import RayEngine\n"
        "try:\n    RayEngine().run(None, [1], print)\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "rosetta-curator[ray]" in done.stdout


def test_importing_the_engine_does_not_import_ray() -> None:
    code = "import sys, curator.filtering.ray_engine\nprint('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
