"""A server that starts: alive at once, serving when what it keeps is offered."""

import asyncio
import threading

import grpc
import pytest
from curator_server.app import JOB_SERVICE, SERVICES, build_server
from curator_server.library import Library
from grpc_health.v1 import health_pb2, health_pb2_grpc

from curator.api.status import retry_delay_s, status_from_call
from curator.api.v1 import catalog_pb2, catalog_pb2_grpc, jobs_pb2, jobs_pb2_grpc, scoring_pb2, scoring_pb2_grpc
from curator.errors import ConfigError
from tests.contract.job_fakes import JobWorld

pytestmark = pytest.mark.timeout(300)
NOT_SERVING, SERVING = health_pb2.HealthCheckResponse.NOT_SERVING, health_pb2.HealthCheckResponse.SERVING


async def health_of(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    asked = [health_pb2.HealthCheckRequest(service=name) for name in ("", *SERVICES, JOB_SERVICE)]
    return [(await stub.Check(one, timeout=30)).status for one in asked]


async def test_health_answers_while_kept_sets_are_opened_and_other_calls_are_told_to_come_back(tmp_path, monkeypatch):
    opening, opened, restore = threading.Event(), threading.Event(), Library.restore

    def slowly(self):
        opening.set()
        assert opened.wait(60)
        restore(self)

    monkeypatch.setattr(Library, "restore", slowly)
    world = JobWorld(tmp_path)
    server = build_server(world.settings, [], shelf=world.shelf, launch=world.workers)
    starting = asyncio.create_task(server.start())
    await asyncio.to_thread(opening.wait, 20)
    async with grpc.aio.insecure_channel(server.address) as channel:
        assert await health_of(channel) == [SERVING, NOT_SERVING, NOT_SERVING, NOT_SERVING]
        info = catalog_pb2_grpc.CatalogServiceStub(channel).GetServerInfo
        for method, request in (
            (info, catalog_pb2.GetServerInfoRequest()),
            (scoring_pb2_grpc.ScoringServiceStub(channel).ScoreBatch, scoring_pb2.ScoreBatchRequest()),
            (jobs_pb2_grpc.JobServiceStub(channel).CreateJob, jobs_pb2.CreateJobRequest()),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match="starting") as caught:
                await method(request, timeout=30)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert retry_delay_s(status_from_call(caught.value)) >= 0.1
        opened.set()
        await starting
        assert await health_of(channel) == [SERVING] * 4, "without a neuron set, which jobs may make"
        assert (await info(catalog_pb2.GetServerInfoRequest(), timeout=30)).version
    await server.stop()


async def test_a_start_that_fails_leaves_nothing_behind(tmp_path):
    world = JobWorld(tmp_path)
    with world.server():
        second = build_server(world.settings, [], shelf=world.shelf, launch=world.workers)
        with pytest.raises(ConfigError):
            await second.start()
        async with grpc.aio.insecure_channel(second.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await health_of(channel)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
