"""Several processes make one atlas: each loads the model and makes its share of the pass, the parts are then merged.

On a machine with several GPUs every worker takes the next one; on a CPU the cores are shared out, which pays where one process
cannot use them all (small models, many cores). Workers are fresh processes that read the probe corpus from the work folder. A
worker that dies takes nothing with it: the next call goes on from every worker's last snapshot. Cost: each worker imports
the libraries and holds the model. It does not reach other machines: there, run ``curator atlas build --part`` and merge.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

from curator import errors
from curator.atlas.build import build_part, work_folder
from curator.atlas.merge import merge_parts, read_part
from curator.atlas.store import Atlas
from curator.errors import CuratorError, ModelError
from curator.settings import AtlasSettings
from curator.shares import Share
from curator.text.probe import ProbeCorpus
from curator.text.probe_store import load_probe, save_probe

if TYPE_CHECKING:
    from curator.neuronset.identify import ModelChoice, Reporter

_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class _Task:
    """What a worker is told."""

    choice: ModelChoice
    probe: Path
    settings: AtlasSettings
    work: Path
    share: Share
    threads: int


def build_with_workers(
    choice: ModelChoice, corpus: ProbeCorpus, settings: AtlasSettings, folder: Path, workers: int, reporter: Reporter
) -> Atlas:
    """The atlas of a model, made by so many processes on this machine.

    Raises what ``build_part`` raises, from the first worker that fails, and ModelError when one is killed.
    """
    work = work_folder(folder)
    save_probe(corpus, work / "probe")
    context = multiprocessing.get_context("spawn")
    events: Queue[Any] = context.Queue()
    tasks = [
        _Task(choice.for_worker(index), work / "probe", settings, work, Share(index, workers), _threads(workers))
        for index in range(workers)
    ]
    processes = [context.Process(target=_make_part, args=(task, events), daemon=True) for task in tasks]
    for process in processes:
        process.start()
    try:
        _follow(processes, events, reporter)
    finally:
        for process in processes:
            process.terminate()
            process.join()
    atlas = merge_parts([read_part(work / str(task.share)) for task in tasks], folder)
    shutil.rmtree(work, ignore_errors=True)
    return atlas


def _threads(workers: int) -> int:
    return max(1, len(os.sched_getaffinity(0)) // workers)


def _make_part(task: _Task, events: Queue[Any]) -> None:
    """What a worker process runs."""
    import torch

    torch.set_num_threads(task.threads)
    index = task.share.index
    try:
        build_part(
            task.choice.load(),
            load_probe(task.probe),
            task.settings,
            task.work,
            task.share,
            progress=lambda done, _: events.put(("progress", index, done)),
        )
    except CuratorError as error:
        events.put(("failed", index, (type(error).__name__, str(error))))
    else:
        events.put(("finished", index, None))


def _follow(processes: Sequence[BaseProcess], events: Queue[Any], reporter: Reporter) -> None:
    """Wait for all workers, adding up their progress."""
    done, open_workers = [0] * len(processes), set(range(len(processes)))
    while open_workers:
        try:
            kind, index, value = events.get(timeout=_POLL_S)
        except Empty:
            _require_alive(processes, open_workers)
            continue
        if kind == "failed":
            name, message = value
            raise getattr(errors, name, CuratorError)(message)
        if kind == "finished":
            open_workers.discard(index)
        else:
            done[index] = value
            reporter.advance(sum(done))


def _require_alive(processes: Sequence[BaseProcess], open_workers: set[int]) -> None:
    for index in open_workers:
        code = processes[index].exitcode
        if code is not None and code != 0:
            raise ModelError(
                f"Worker {index + 1} of {len(processes)} ended with status {code}, often for lack of memory; run the same "
                "command again, with fewer workers: it goes on where this one stopped."
            )
