"""`curator demo`: the whole job, small, on text and models that are already on this machine.

Harvests the embedded corpus, builds atlases of three bundled models, finds the Rosetta neurons of one, makes a neuron set for
a target domain, starts the gRPC server on loopback, and streams a mixed pool through the client: a part of it filtered on the
server at the calibrated threshold, then all of it scored, and kept at the oracle's size. The pool is text that neither the
models nor the neuron set have seen, and its labels are used for the final table only. Everything is written below one
folder, each part whole or not at all. Cost: under two minutes on two cores. It does not know how well this would do on
other text.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from pathlib import Path

import zstandard
from curator_client import Client, ConnectionOptions
from curator_server.app import running_server
from curator_server.settings import ServerSettings

from curator.errors import ConfigError
from curator.factories import RemoteFactory
from curator.files import atomic_file, write_json
from curator.filtering.dataset import filter_sources
from curator.filtering.evaluation import Evaluation, evaluate, kept_ids
from curator.filtering.output import OutputOptions
from curator.filtering.policy import Policy
from curator.filtering.rows import to_line
from curator.filtering.shards import read_shard
from curator.filtering.tally import FilterReport
from curator.neuronset.artifact import save_neuron_set
from curator.neuronset.identify import Identified, IdentifySettings, ModelChoice, Reporter, identify
from curator.records import Document
from curator.report.inputs import FileEntry, FilterResult
from curator.reporting import write_neuron_set_report
from curator.scaling.points import Study
from curator.scoring.scorer import NeuronSetScorer
from curator.settings import AtlasSettings, NeuronSetSettings
from curator.text.environment import harvest
from curator.text.probe import ProbeCorpus, ProbeSpec, build_probe
from curator.text.splits import Split, split_of
from curator.zoo.catalog import WEIGHTS

DOMAINS = ("python", "cpp", "docstrings", "prose", "legal")
ANCHOR, PEERS = "neox", ("gpt2", "opt")
POOL = Path("corpus", "pool.jsonl.zst")
ZOO_STUDY = WEIGHTS / "study.json"


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """The sizes of the demonstration."""

    target: str = "cpp"
    size: str = "128x4"
    tokens_per_domain: int = 20_000
    probe_document_spans: int = 256
    sketch_dimensions: int = 1024
    held_back_spans: int = 4096
    pool_documents: int = 2_000
    target_share: float = 0.15
    server_filtered: int = 500
    harvest_chars: int = 8_000_000
    passage_chars: int = 1_200
    min_probability: float = 0.5
    seed: int = 0


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the table shows."""

    pool: int
    oracle: int
    threshold: float
    filtered: Evaluation
    at_oracle_size: Evaluation
    tokens: int
    tokens_per_second: float
    rosetta_counts: dict[str, int]
    null_counts: dict[str, int]
    scorer: str
    files: tuple[Path, ...]
    report: Path
    seconds: float


def run_demo(out: Path, settings: DemoSettings, reporter: Reporter) -> DemoResult:
    """Run everything into ``out``, which must be new, empty, or an earlier demonstration's folder.

    Raises ConfigError for a target that is no embedded domain of the demonstration, or a folder that holds something else.
    """
    started = time.monotonic()
    if settings.target not in DOMAINS:
        raise ConfigError(
            f"The demonstration knows the targets {', '.join(DOMAINS)}; {settings.target!r} is none of them."
        )
    _clear(out)
    corpus, pool = _texts(out, settings, reporter)
    identified = _identify(out, corpus, settings, reporter)
    scorer = NeuronSetScorer(identified.backbone, identified.neuron_set, settings.target)
    truth = {document.id: document.domain == settings.target for document in pool}
    with (
        running_server(ServerSettings(port=0), [scorer]) as address,
        Client(address, ConnectionOptions()) as client,
    ):
        some = pool[: settings.server_filtered]
        filtered = _filter_on_server(client, some, out / "filtered", truth, settings, reporter)
        at_oracle_size, report, seconds = _select_at_oracle_size(address, out / POOL, out / "selected", truth, reporter)
    speed = report.tokens_in / seconds
    reporter.stage("writing the report")
    files = tuple(
        sorted(path for part in ("filtered", "selected") for path in (out / part).rglob("*") if path.is_file())
    )
    result = FilterResult(
        pool=len(pool),
        kept=at_oracle_size.true_positives + at_oracle_size.false_positives,
        oracle=sum(truth.values()),
        precision=at_oracle_size.precision,
        recall=at_oracle_size.recall,
        f1=at_oracle_size.f1,
        tokens=report.tokens_in,
        tokens_per_second=speed,
    )
    paths = write_neuron_set_report(
        identified,
        corpus,
        out / "report",
        peers=_peers(settings),
        study=Study.load(ZOO_STUDY) if ZOO_STUDY.is_file() else None,
        filter_result=result,
        files=[FileEntry(path=str(path.relative_to(out)), bytes=path.stat().st_size) for path in files],
        reporter=reporter,
    )
    return DemoResult(
        pool=len(pool),
        oracle=sum(truth.values()),
        threshold=settings.min_probability,
        filtered=filtered,
        at_oracle_size=at_oracle_size,
        tokens=report.tokens_in,
        tokens_per_second=speed,
        rosetta_counts=identified.neuron_set.manifest.rosetta_counts,
        null_counts=identified.neuron_set.manifest.null_counts,
        scorer=scorer.method_name,
        files=files,
        report=paths.html,
        seconds=time.monotonic() - started,
    )


def _clear(out: Path) -> None:
    """Remove an earlier demonstration; refuse a folder that holds anything else."""
    marker = out / "demo.json"
    if out.exists() and any(out.iterdir()) and not marker.is_file():
        raise ConfigError(f"The folder {out} holds something else than a demonstration; name another with --out.")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    write_json(marker, {"what": "a curator demonstration; this folder is replaced by the next one"})


def _texts(out: Path, settings: DemoSettings, reporter: Reporter) -> tuple[ProbeCorpus, list[Document]]:
    """The probe corpus (train split) and the pool (pool split), both also written as files one can look at."""
    reporter.stage("harvesting the embedded corpus", len(DOMAINS))
    unseen: dict[str, list[Document]] = {}
    uris: dict[str, str] = {}
    for done, domain in enumerate(DOMAINS):
        documents = harvest(domain, max_chars=settings.harvest_chars, seed=settings.seed)
        probe = [document for document in documents if split_of(document.source) is Split.TRAIN]
        unseen[domain] = [
            _passage(document, settings.passage_chars)
            for document in documents
            if split_of(document.source) is Split.POOL
        ]
        uris[domain] = str(_write(out / "corpus" / f"{domain}.jsonl.zst", probe))
        reporter.advance(done + 1)
    pool = _mixed_pool(unseen, settings)
    _write(out / POOL, pool)
    reporter.stage("building the probe corpus")
    corpus = build_probe(
        ProbeSpec(
            domains={domain: (uris[domain],) for domain in DOMAINS},
            tokens_per_domain=settings.tokens_per_domain,
            seed=settings.seed,
            max_document_spans=settings.probe_document_spans,
        )
    )
    return corpus, pool


def _mixed_pool(unseen: dict[str, list[Document]], settings: DemoSettings) -> list[Document]:
    """The wanted share of the target; the rest from the other domains in turn, as long as each lasts. Mixed by id."""
    pool = unseen[settings.target][: int(settings.pool_documents * settings.target_share)]
    others = [documents for domain, documents in unseen.items() if domain != settings.target]
    in_turn = (document for row in zip_longest(*others) for document in row if document is not None)
    pool = pool + list(islice(in_turn, settings.pool_documents - len(pool)))
    return sorted(pool, key=lambda document: document.id[-12:])


def _passage(document: Document, max_chars: int) -> Document:
    """The document cut at the last line that ends within ``max_chars``: a pool of passages streams in seconds on two cores."""
    if len(document.text) <= max_chars:
        return document
    end = document.text.rfind("\n", max_chars // 2, max_chars)
    return replace(document, text=document.text[: end if end > 0 else max_chars])


def _write(path: Path, documents: Iterable[Document]) -> Path:
    with atomic_file(path) as handle, zstandard.ZstdCompressor().stream_writer(handle, closefd=False) as packed:
        for document in documents:
            packed.write(
                to_line(
                    {"id": document.id, "text": document.text, "domain": document.domain, "source": document.source}
                )
            )
    return path


def _identify(out: Path, corpus: ProbeCorpus, settings: DemoSettings, reporter: Reporter) -> Identified:
    found = identify(
        ModelChoice(f"zoo:{ANCHOR}-{settings.size}"),
        _peers(settings),
        corpus,
        [settings.target],
        name=f"{settings.target}-demo",
        atlases=out / "atlases",
        settings=IdentifySettings(
            atlas=AtlasSettings(
                sketch_dimensions=settings.sketch_dimensions,
                held_back_spans=settings.held_back_spans,
                seed=settings.seed,
            ),
            neuron_set=NeuronSetSettings(seed=settings.seed),
        ),
        reporter=reporter,
    )
    saved = save_neuron_set(found.neuron_set, out / "neuron-set")
    return Identified(found.backbone, found.rosetta, saved)


def _peers(settings: DemoSettings) -> list[ModelChoice]:
    return [ModelChoice(f"zoo:{peer}-{settings.size}") for peer in PEERS]


def _filter_on_server(
    client: Client, pool: list[Document], out: Path, truth: dict[str, bool], settings: DemoSettings, reporter: Reporter
) -> Evaluation:
    """Stream the pool up, receive the shards of what the server kept."""
    reporter.stage("filtering over gRPC", len(pool))
    client.filter(_counted(pool, reporter), out, min_probability=settings.min_probability)
    kept = [str(row["id"]) for shard in sorted(out.glob("*.jsonl.zst")) for row in read_shard(shard)]
    return evaluate(kept, {document.id: truth[document.id] for document in pool})


def _select_at_oracle_size(
    address: str, pool: Path, out: Path, truth: dict[str, bool], reporter: Reporter
) -> tuple[Evaluation, FilterReport, float]:
    """Filter the pool's file as a job that scores on the server; keep as many of the best as there are target documents."""
    reporter.stage("scoring over gRPC", len(truth))
    started = time.monotonic()
    report = filter_sources(
        [str(pool)],
        RemoteFactory.of(address, ConnectionOptions()),
        out,
        Policy(keep_fraction=sum(truth.values()) / len(truth), field="value"),
        options=OutputOptions(formats=("jsonl", "parquet"), write_rejected=True),
        watch=lambda state: reporter.advance(state.records) if state.phase == "score" else None,
    )
    seconds = time.monotonic() - started
    return evaluate(list(kept_ids(out)), truth), report, seconds


def _counted(documents: list[Document], reporter: Reporter) -> Iterator[Document]:
    for done, document in enumerate(documents):
        if done % 64 == 0:
            reporter.advance(done)
        yield document
    reporter.advance(len(documents))
