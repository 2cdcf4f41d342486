"""ScoringService: unpack the request, run the pipeline, pack the answers. No rule of scoring or filtering lives here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import grpc
from google.protobuf import message_factory

from curator.api.convert import result_to_wire
from curator.api.payload import check_caps, document_count, opened_bytes
from curator.api.salvage import salvage_request
from curator.api.status import status_from_error
from curator.api.v1 import common_pb2, scoring_pb2, scoring_pb2_grpc
from curator.errors import ConfigError, CuratorError, LimitError, OverloadedError
from curator.records import DocumentScorer, RejectReason
from curator_server.admission import Places
from curator_server.batch_stream import Answer, BatchStream, DrainHub, Notice, open_entries, score_entries
from curator_server.calls import StatusError, request_id
from curator_server.engine import Engine
from curator_server.fair_queue import Lane
from curator_server.metrics import ServerMetrics
from curator_server.registry import Registry
from curator_server.settings import ServerSettings
from curator_server.shard_stream import Event, ShardStream

_Context = grpc.aio.ServicerContext
_TOO_LONG = (
    "The batch was not scored in the time that the server gives calls without a deadline; set one, or try again."
)
_SERVICE = scoring_pb2.DESCRIPTOR.services_by_name["ScoringService"]
RESCUES = {
    f"/{_SERVICE.full_name}/{method.name}": partial(salvage_request, message_factory.GetMessageClass(method.input_type))
    for method in _SERVICE.methods
}
"""What reads requests that protobuf refuses, by method: a text that is not UTF-8 costs its document, never the stream."""


class ScoringServicer(scoring_pb2_grpc.ScoringServiceServicer):
    """Scores and filters with the scorers of a registry, in one engine."""

    def __init__(
        self,
        settings: ServerSettings,
        registry: Registry,
        engine: Engine,
        streams: DrainHub,
        metrics: ServerMetrics,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._engine = engine
        self._streams = streams
        self._metrics = metrics
        self._places = Places(settings.max_open_streams, "streams")

    async def ScoreBatch(
        self, request: scoring_pb2.ScoreBatchRequest, context: _Context
    ) -> scoring_pb2.ScoreBatchResponse:
        """One batch; a batch that is refused as a whole is the call's error."""
        scorer = self._registry.resolve(request.config)
        try:
            async with asyncio.timeout(self._call_limit_s(context)):
                answer = await self._score_batch(scorer, request.batch)
        except TimeoutError as error:
            raise StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, _TOO_LONG) from error
        self._count(answer)
        return scoring_pb2.ScoreBatchResponse(result=_result(answer))

    async def ScoreDocuments(
        self, request_iterator: AsyncIterator[scoring_pb2.ScoreDocumentsRequest], context: _Context
    ) -> None:
        """A stream of batches, a result for each."""
        with self._places.one():
            await self._score_documents(request_iterator, context)

    async def _score_documents(
        self, request_iterator: AsyncIterator[scoring_pb2.ScoreDocumentsRequest], context: _Context
    ) -> None:
        config: scoring_pb2.ScoreConfig = await _first_config(request_iterator, self._settings.opening_timeout_s)
        scorer = self._registry.resolve(config)
        self._engine.admission.check()
        await context.write(scoring_pb2.ScoreDocumentsResponse(opened=self._opened(scorer)))

        async def handle(answer: Answer | Notice) -> None:
            response = scoring_pb2.ScoreDocumentsResponse()
            if isinstance(answer, Answer):
                self._count(answer)
                response.result.CopyFrom(_result(answer))
            else:
                _set_notice(response, answer)
            await context.write(response)

        ordered = config.ordering != scoring_pb2.ScoreConfig.ORDERING_AS_COMPLETED
        async with self._lane(scorer) as lane:
            stream = self._stream(lane, ordered=ordered)
            await self._streams.run(stream, _batches(request_iterator), handle)

    async def FilterDocuments(
        self, request_iterator: AsyncIterator[scoring_pb2.FilterDocumentsRequest], context: _Context
    ) -> None:
        """A stream of batches, the kept documents as shards, the counts at the end."""
        with self._places.one():
            await self._filter_documents(request_iterator, context)

    async def _filter_documents(
        self, request_iterator: AsyncIterator[scoring_pb2.FilterDocumentsRequest], context: _Context
    ) -> None:
        config: scoring_pb2.FilterConfig = await _first_config(request_iterator, self._settings.opening_timeout_s)
        scorer = self._registry.resolve(config.score)
        self._engine.admission.check()
        shards = ShardStream(config, scorer.name)
        await context.write(scoring_pb2.FilterDocumentsResponse(opened=self._opened(scorer)))

        async def handle(answer: Answer | Notice) -> None:
            response = scoring_pb2.FilterDocumentsResponse()
            if isinstance(answer, Answer):
                self._count(answer)
                for event in await asyncio.to_thread(_filter_one, shards, answer):
                    await context.write(_shard_response(event))
                response.progress.processed_seq = answer.seq
            else:
                _set_notice(response, answer)
            await context.write(response)

        async with self._lane(scorer) as lane:
            stream = self._stream(lane, ordered=True, entries=True)
            await self._streams.run(stream, _batches(request_iterator), handle, after_seq=config.resume_after_seq)
        # A client that was told to leave has more to send. Its open shard, cut here, would be none of an undisturbed run:
        # it is left uncommitted, and made whole wherever the client resumes.
        for event in () if stream.draining else shards.finish():
            await context.write(_shard_response(event))
        await context.write(scoring_pb2.FilterDocumentsResponse(report=shards.report))

    def _lane(self, scorer: DocumentScorer) -> AbstractAsyncContextManager[Lane]:
        return self._engine.lane(scorer, request_id())

    def _count(self, answer: Answer) -> None:
        if answer.error is None:
            self._metrics.answered(answer.results)
        else:
            self._metrics.refused(answer.error.code)

    def _stream(self, lane: Lane, *, ordered: bool, entries: bool = False) -> BatchStream:
        in_flight, caps = self._settings.max_inflight_batches, self._settings.caps
        return BatchStream(self._engine, lane, caps, in_flight=in_flight, ordered=ordered, entries=entries)

    def _opened(self, scorer: DocumentScorer) -> scoring_pb2.Opened:
        return scoring_pb2.Opened(
            limits=self._settings.limits,
            model_fingerprint=scorer.model_fingerprint,
            neuron_set_etag=scorer.etag,
            neuron_set=self._registry.name_of(scorer),
        )

    def _call_limit_s(self, context: _Context) -> float | None:
        """Seconds that a call may last; None where the caller set a deadline of its own."""
        return self._settings.unary_timeout_s if context.time_remaining() is None else None

    async def _score_batch(self, scorer: DocumentScorer, batch: common_pb2.DocumentBatch) -> Answer:
        started, caps = time.perf_counter_ns(), self._settings.caps
        try:
            check_caps(batch, caps)
            size = opened_bytes(batch, caps)
            with await self._engine.admission.admit_call(document_count(batch), size) as ticket:
                entries = await open_entries(batch, caps, size, with_metadata=False)
                async with self._lane(scorer) as lane:
                    results = await score_entries(self._engine, lane, entries, ticket)
        except OverloadedError:
            raise
        except CuratorError as error:
            self._metrics.refused(error.code)
            raise
        total_ns = time.perf_counter_ns() - started
        return Answer(batch.seq, size, results=results, declared=len(results), total_ns=total_ns)


def _result(answer: Answer) -> scoring_pb2.ScoreResult:
    result = result_to_wire(answer.seq, answer.results)
    result.timing.total_ns = answer.total_ns
    if answer.error is not None:
        result.batch_error.CopyFrom(status_from_error(answer.error, request_id=request_id()))
    return result


def _filter_one(shards: ShardStream, answer: Answer) -> list[Event]:
    if answer.error is not None:
        return list(shards.refuse(answer.seq, answer.declared, _batch_reason(answer.error), answer.size))
    return list(shards.add(answer.seq, answer.entries, answer.results, answer.size))


def _batch_reason(error: CuratorError) -> RejectReason:
    return RejectReason.RECORD_TOO_LARGE if isinstance(error, LimitError) else RejectReason.NOT_A_RECORD


def _shard_response(event: Event) -> scoring_pb2.FilterDocumentsResponse:
    if isinstance(event, scoring_pb2.ShardChunk):
        return scoring_pb2.FilterDocumentsResponse(chunk=event)
    return scoring_pb2.FilterDocumentsResponse(commit=event)


def _set_notice(response: Any, notice: Notice) -> None:
    field = response.credit if isinstance(notice, scoring_pb2.Credit) else response.drain
    field.CopyFrom(notice)
    field.SetInParent()  # an empty Credit is a message: pause


async def _first_config(requests: AsyncIterator[Any], limit_s: float) -> Any:
    try:
        request = await asyncio.wait_for(anext(requests, None), limit_s)
    except TimeoutError as error:
        raise ConfigError(f"No configuration came within {limit_s:g} s; send it when the stream opens.") from error
    if request is None or request.WhichOneof("request") != "config":
        raise ConfigError("The first message of a stream must be its configuration; send config, then batches.")
    return request.config


async def _batches(requests: AsyncIterator[Any]) -> AsyncIterator[common_pb2.DocumentBatch]:
    async for request in requests:
        if request.WhichOneof("request") != "batch":
            raise ConfigError("Only the first message may be a configuration; open a new stream to change it.")
        yield request.batch
