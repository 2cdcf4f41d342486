"""A neuron set on disk and its scorers, made once a session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from curator.neuronset.artifact import MethodName, save_neuron_set
from curator.records import Document
from curator.scoring.scorer import NeuronSetScorer, load_scorer
from tests.atlas.core_world import make_backbone, make_corpus
from tests.neuronset.made_set import make_set


def set_folder(world: Path) -> Path:
    """The saved set."""
    folder = world / "scored-set"
    if not folder.exists():
        save_neuron_set(make_set(world), folder)
    return folder


@cache
def make_scorer(
    world: Path, domain: str | tuple[str, ...] = "digits", method: MethodName | None = None
) -> NeuronSetScorer:
    """A scorer of it."""
    return load_scorer(set_folder(world), make_backbone("gpt2", world), domain=domain, method=method)


def unseen(count: int = 20) -> list[Document]:
    """Documents that the set was not made with."""
    return list(make_corpus(20, seed=9).documents)[:count]


def bad_documents() -> Sequence[Document]:
    """What cannot be scored."""
    return [
        Document("empty", ""),
        Document("one", "x"),
        Document("surrogate", "broken \ud800 text that is long enough"),
    ]


@contextmanager
def passes(scorer: NeuronSetScorer) -> Iterator[list[int]]:
    """Counts the forward passes of the scorer's model while the block lasts, in a list of one."""
    counted = [0]

    def hook(*_: object) -> None:
        counted[0] += 1

    handle = scorer._backbone.model.register_forward_pre_hook(hook)
    try:
        yield counted
    finally:
        handle.remove()
