"""Fakes shared by the tests of jobs: workers that do what a test says, and a shelf whose neuron sets count letters."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from curator_client import Client, ConnectionOptions, RetryPolicy
from curator_server.app import _Background
from curator_server.jobs.settings import JobSettings

from curator.fingerprint import of_file
from curator.orders import (
    ARTIFACTS,
    NEURON_SET,
    Event,
    Failure,
    FileResult,
    ModelResult,
    OfferedSet,
    Result,
    Step,
    Work,
)
from tests.contract.service_fakes import SETTINGS, LetterScorer

FINGERPRINT = "f" * 64


@dataclass
class Workers:
    """Launches fake workers; ``gate`` holds them in the middle, ``failure`` or ``status`` ends them."""

    steps: int = 3
    gate: threading.Event = field(default_factory=threading.Event)
    failure: Failure | None = None
    status: int = 0
    files: int = 1
    """Artifacts of one job beside those that are needed."""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """Those of models by name, where they are not ``FINGERPRINT``."""
    works: list[Work] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    async def __call__(self, folder: Path) -> FakeWorker:
        self.folders.append(folder)
        self.works.append(Work.load(folder))
        return FakeWorker(self, folder, self.works[-1])


@dataclass
class FakeWorker:
    """Tells ``steps`` steps, waits at the gate, writes what a real worker would."""

    told: Workers
    folder: Path
    work: Work
    stopped: bool = False

    async def events(self) -> AsyncIterator[Event]:
        for number in range(self.told.steps):
            yield Event(step=Step(stage=f"step {number}", done=number, total=self.told.steps, unit="steps"))
        while not (self.told.gate.is_set() or self.stopped):  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # the gate belongs to the test's thread
        if self.told.failure is not None:
            yield Event(failure=self.told.failure)

    async def ended(self) -> int:
        if self.stopped:
            return -15
        if self.told.failure is not None or self.told.status:
            return self.told.status or 1
        await asyncio.to_thread(write_result, self.folder, self.work, self.told)
        return 0

    async def stop(self, grace_s: float) -> None:
        self.stopped = True


def write_result(folder: Path, work: Work, told: Workers) -> None:
    order = work.order
    if order.kind == "load_model":
        fingerprint = told.fingerprints.get(order.model.name, FINGERPRINT)
        Result(model=ModelResult(fingerprint=fingerprint, revision="r1", dtype="float32", max_tokens=64)).save(folder)
        return
    out = Path(order.out) if order.kind == "filter_dataset" else folder / ARTIFACTS
    names = {"identify_neurons": "report.html", "build_study": "study.json", "filter_dataset": "kept/kept-0.jsonl"}
    file = out / names[order.kind]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes(range(256)) * 12_000)  # three pieces
    if order.kind == "identify_neurons":
        (out / NEURON_SET).mkdir(exist_ok=True)
        targets = {"name": order.name, "targets": list(order.targets)}
        (out / NEURON_SET / "manifest.json").write_text(json.dumps(targets))
    found = FileResult(name=names[order.kind], media_type="text/html", bytes=file.stat().st_size, sha256=of_file(file))
    made = f"{ARTIFACTS}/{NEURON_SET}" if order.kind == "identify_neurons" else ""
    more = [found.model_copy(update={"name": f"kept/part-{number:07d}.parquet"}) for number in range(1, told.files)]
    Result(files=(found, *more), neuron_set=made).save(folder)


@dataclass
class FakeShelf:
    """Neuron sets whose manifest is a name; every one scores letters."""

    forgotten: list[str] = field(default_factory=list)
    opened: list[Path] = field(default_factory=list)
    gate: threading.Event | None = None
    """Holds those who open a set."""

    def open(self, folder: Path) -> Sequence[OfferedSet]:
        self.opened.append(folder)
        if self.gate is not None and not self.gate.wait(90):
            raise TimeoutError("the test never opened the gate")
        stored = json.loads((folder / "manifest.json").read_text())
        name, targets = stored["name"], stored["targets"]
        names = [name] if len(targets) == 1 else [f"{name}.{target}" for target in targets]
        scorers = [LetterScorer(name=one, etag=f"etag-{one}", model_fingerprint=FINGERPRINT) for one in names]
        return [OfferedSet(scorer, target, folder, 5) for scorer, target in zip(scorers, targets, strict=True)]

    def forget(self, model_fingerprint: str) -> None:
        self.forgotten.append(model_fingerprint)


@dataclass
class JobWorld:
    """A server with fake workers on one state folder; servers may come and go."""

    root: Path
    workers: Workers = field(default_factory=Workers)
    shelf: FakeShelf = field(default_factory=FakeShelf)
    given: dict[str, object] = field(default_factory=dict)
    server_given: dict[str, object] = field(default_factory=dict)

    @property
    def settings(self):
        jobs = JobSettings(
            **{
                "state": self.root / "state",
                "source_roots": (self.made("texts"),),
                "output_roots": (self.made("outputs"),),
                "models": ("zoo:*", "owner/*"),
                "progress_every_s": 0.0,
                "stop_s": 0.5,
                **self.given,
            }
        )
        return SETTINGS.model_copy(update={"jobs": jobs, **self.server_given})

    def made(self, name: str) -> Path:
        (self.root / name).mkdir(parents=True, exist_ok=True)
        return self.root / name

    def text(self, name: str = "pool.jsonl") -> Path:
        path = self.made("texts") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"id": "a", "text": "tree"}\n')
        return path

    @contextmanager
    def server(self):
        with _Background(self.settings, [LetterScorer(name="given")], self.shelf, self.workers) as server:
            yield server

    @contextmanager
    def client(self, **options):
        options = {"retry": RetryPolicy(attempts=8, base_s=0.05), **options}
        with self.server() as server, Client(server.address, ConnectionOptions(**options)) as client:
            yield client

    def fingerprint(self, model: str, fingerprint: str) -> None:
        """The model has these weights from now on."""
        self.workers.fingerprints[model] = fingerprint

    def loaded(self, client: Client, *names: str) -> None:
        for name in names:
            client.jobs.wait(client.jobs.load_model(f"zoo:{name}", model_id=name).name)
