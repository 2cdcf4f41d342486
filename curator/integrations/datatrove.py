"""Two ``datatrove`` blocks: ``NeuronScorer`` writes scores beside every document, ``NeuronFilter`` keeps by a threshold too.

    pipeline = [JsonlReader("pool"), NeuronFilter("medicine", threshold=0.8, exclusion_writer=...), JsonlWriter("kept")]

Both write ``curator_score``, ``curator_probability``, ``curator_neurons``, ``curator_tokens`` and ``curator_reason`` into the
metadata, as ``curator filter`` does into its shards; for several targets the first three are called ``curator_score:medicine``
and so on. A document without a score has None and the reason, passes the scorer and is dropped by the filter. A block adds to
datatrove's statistics: batches with their time, ``curator_tokens``, ``unscored_<reason>``, and a filter's forwarded and dropped.

A block is pickled by its settings and loads the model in each worker, at its first batch; the task's rank chooses among several
GPUs. Cost: that of scoring; a batch is in memory at a time. datatrove itself is not installed by any extra: importing this module
without it raises MissingExtraError. A threshold decides each document alone; for an exact fraction or token budget use ``curator
filter``, which sees all scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from typing import Unpack

from curator.errors import ConfigError, MissingExtraError
from curator.filtering.policy import Policy, ScoreField
from curator.integrations.lazy import LazyScorer, ScorerSettings, score_fields
from curator.records import Rejection, RejectReason, TargetResult

try:
    from datatrove.data import Document
    from datatrove.pipeline.base import PipelineStep
    from datatrove.pipeline.filters.base_filter import BaseFilter
    from datatrove.pipeline.writers.disk_base import DiskWriter
    from datatrove.utils.batching import batched
except ImportError as error:
    raise MissingExtraError("This block needs datatrove; install it with `pip install datatrove[io]`.") from error

NAME = "🧠 Rosetta neurons"
BATCH_DOCUMENTS = 256


class NeuronScorer(PipelineStep):
    """Writes the scores of every target into each document's metadata, and passes all documents on."""

    type = "📊 - SCORER"
    name = NAME

    def __init__(
        self,
        neuron_set: str | PathLike[str],
        *,
        batch_size: int = BATCH_DOCUMENTS,
        **settings: Unpack[ScorerSettings],
    ) -> None:
        """Name the set, and anything of ``ScorerSettings``; raises as ``LazyScorer`` does."""
        super().__init__()
        self.scorer = LazyScorer(neuron_set, **settings)
        self.batch_size = batch_size

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Score the documents of one task, a batch at a time, in order."""
        for batch in batched(data, self.batch_size):
            with self.track_time("batch"):
                annotate(self, self.scorer, batch, rank)
            for document in batch:
                self.update_doc_stats(document)
                yield document


class NeuronFilter(BaseFilter):
    """Keeps documents whose score for one target is at least ``threshold``; the others go to the ``exclusion_writer``."""

    name = NAME

    def __init__(
        self,
        neuron_set: str | PathLike[str],
        threshold: float = 0.5,
        *,
        field: ScoreField = "probability",
        exclusion_writer: DiskWriter | None = None,
        batch_size: int = BATCH_DOCUMENTS,
        **settings: Unpack[ScorerSettings],
    ) -> None:
        """Take a threshold on the calibrated ``probability`` or on the raw ``value`` of one target.

        Raises ConfigError for a threshold out of range, or unless ``targets`` leaves one of several, and what ``LazyScorer``
        raises.
        """
        super().__init__(exclusion_writer, batch_size)  # pyright: ignore[reportArgumentType] -- its default is None too
        self.policy = Policy(threshold=threshold, field=field)
        self.scorer = LazyScorer(neuron_set, **settings)
        if len(self.scorer.targets) > 1:
            raise ConfigError(f"The neuron set filters {', '.join(self.scorer.targets)}; pass one of them as targets=.")
        self.rank = 0

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Filter the documents of one task; its rank chooses among several GPUs, where the model is not loaded yet."""
        self.rank = rank
        return super().run(data, rank, world_size)  # pyright: ignore[reportArgumentType, reportReturnType]

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """The verdict on one document; ``filter_batch`` is what a pipeline calls."""
        return self.filter_batch([doc])[0]

    def filter_batch(self, batch: list[Document]) -> list[bool | tuple[bool, str]]:
        """For each document True, or False and the reason."""
        return [self._verdict(result) for result in annotate(self, self.scorer, batch, self.rank)]

    def _verdict(self, result: TargetResult) -> bool | tuple[bool, str]:
        if isinstance(result, Rejection):
            return False, str(result.reason)
        return True if self.policy.passes(result[0]) else (False, str(RejectReason.BELOW_THRESHOLD))


def annotate(block: PipelineStep, scorer: LazyScorer, batch: Sequence[Document], rank: int) -> list[TargetResult]:
    """Score a batch, write the fields into each document's metadata, count in the block's statistics; returns the results."""
    results = scorer.score([document.text for document in batch], rank)
    for document, result in zip(batch, results, strict=True):
        document.metadata.update(score_fields(result, scorer.targets))
        if isinstance(result, Rejection):
            block.stat_update("unscored", f"unscored_{result.reason}")
        else:
            block.stat_update("curator_tokens", value=result[0].tokens, unit="doc")  # pyright: ignore[reportArgumentType]
    return results
