"""CatalogService: what this server has, and, where it runs jobs, loading and removing it.

Reading looks at the registry for what can be scored with, and at the library for what jobs made. A server without jobs has what
it was started with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import grpc

from curator.api.v1 import catalog_pb2, catalog_pb2_grpc
from curator.errors import ArtifactNotFoundError, ConfigError, CuratorError, ModelNotFoundError
from curator.version import __version__
from curator_server.calls import StatusError
from curator_server.jobs.desk import Desk
from curator_server.jobs.specs import PLAIN
from curator_server.jobs.threads import Threads
from curator_server.library import Library
from curator_server.paging import page_by_name
from curator_server.registry import Registry
from curator_server.settings import ServerSettings
from curator_server.views import given_models, neuron_sets, shown_models

FEATURES = ("score", "filter", "zstd_documents", "zstd_jsonl")
JOB_FEATURES = ("jobs", "load_model", "identify_neurons", "build_study", "filter_dataset")
_READ_ONLY = "This server's models and neuron sets are fixed when it starts; restart it with other ones."
_Item = TypeVar("_Item")
_Context = grpc.aio.ServicerContext


class CatalogServicer(catalog_pb2_grpc.CatalogServiceServicer):
    """Describes the server, its models, neuron sets, atlases and reports."""

    def __init__(
        self,
        settings: ServerSettings,
        registry: Registry,
        *,
        device: str = "",
        library: Library | None = None,
        desk: Desk | None = None,
        threads: Threads | None = None,
    ) -> None:
        self._settings, self._registry, self._device = settings, registry, device
        self._library, self._desk, self._threads = library, desk, threads

    async def GetServerInfo(
        self, request: catalog_pb2.GetServerInfoRequest, context: _Context
    ) -> catalog_pb2.GetServerInfoResponse:
        """Version, limits, features, device."""
        features = FEATURES if self._library is None else FEATURES + JOB_FEATURES
        return catalog_pb2.GetServerInfoResponse(
            version=__version__, limits=self._settings.limits, features=features, device=self._device
        )

    async def GetModel(self, request: catalog_pb2.GetModelRequest, context: _Context) -> catalog_pb2.GetModelResponse:
        """One model."""
        missing = ModelNotFoundError(f"There is no model {request.name!r} here; ListModels names those that are.")
        return catalog_pb2.GetModelResponse(model=_found(await self._models(), request.name, missing))

    async def ListModels(
        self, request: catalog_pb2.ListModelsRequest, context: _Context
    ) -> catalog_pb2.ListModelsResponse:
        """One page of models."""
        models, token = page_by_name("models", await self._models(), request.page_size, request.page_token)
        return catalog_pb2.ListModelsResponse(models=models, next_page_token=token)

    async def GetNeuronSet(
        self, request: catalog_pb2.GetNeuronSetRequest, context: _Context
    ) -> catalog_pb2.GetNeuronSetResponse:
        """One neuron set."""
        found = _found(neuron_sets(self._registry), request.name, _absent("neuron set", "ListNeuronSets", request.name))
        return catalog_pb2.GetNeuronSetResponse(neuron_set=found)

    async def ListNeuronSets(
        self, request: catalog_pb2.ListNeuronSetsRequest, context: _Context
    ) -> catalog_pb2.ListNeuronSetsResponse:
        """One page of neuron sets."""
        prefix = _prefix_of(request.parent)
        found = neuron_sets(self._registry)
        if request.show_unloaded and self._library is not None:
            found = await self._read(self._library.unloaded_sets) | found
        wanted = {name: one for name, one in found.items() if name.startswith(prefix)}
        listing = f"neuronSets of {prefix}{' or unloaded' if request.show_unloaded else ''}"
        sets, token = page_by_name(listing, wanted, request.page_size, request.page_token)
        return catalog_pb2.ListNeuronSetsResponse(neuron_sets=sets, next_page_token=token)

    async def LoadModel(
        self, request: catalog_pb2.LoadModelRequest, context: _Context
    ) -> catalog_pb2.LoadModelResponse:
        """A job that loads a model."""
        if self._desk is None:
            raise StatusError(grpc.StatusCode.UNIMPLEMENTED, _READ_ONLY)
        return catalog_pb2.LoadModelResponse(job=await self._desk.load_model(request))

    async def UnloadModel(
        self, request: catalog_pb2.UnloadModelRequest, context: _Context
    ) -> catalog_pb2.UnloadModelResponse:
        """Nothing, when the model is gone."""
        await self._change(lambda library: library.unload(request.name))
        return catalog_pb2.UnloadModelResponse()

    async def DeleteNeuronSet(
        self, request: catalog_pb2.DeleteNeuronSetRequest, context: _Context
    ) -> catalog_pb2.DeleteNeuronSetResponse:
        """Nothing, when the set is gone."""
        await self._change(lambda library: library.delete_set(request.name))
        return catalog_pb2.DeleteNeuronSetResponse()

    async def GetAtlas(self, request: catalog_pb2.GetAtlasRequest, context: _Context) -> catalog_pb2.GetAtlasResponse:
        """One atlas."""
        found = _found(await self._atlases(), request.name, _absent("atlas", "ListAtlases", request.name))
        return catalog_pb2.GetAtlasResponse(atlas=found)

    async def ListAtlases(
        self, request: catalog_pb2.ListAtlasesRequest, context: _Context
    ) -> catalog_pb2.ListAtlasesResponse:
        """One page of atlases."""
        atlases, token = page_by_name("atlases", await self._atlases(), request.page_size, request.page_token)
        return catalog_pb2.ListAtlasesResponse(atlases=atlases, next_page_token=token)

    async def DeleteAtlas(
        self, request: catalog_pb2.DeleteAtlasRequest, context: _Context
    ) -> catalog_pb2.DeleteAtlasResponse:
        """Nothing, when the atlas is gone."""
        await self._change(lambda library: library.delete_atlas(request.name))
        return catalog_pb2.DeleteAtlasResponse()

    async def GetReport(
        self, request: catalog_pb2.GetReportRequest, context: _Context
    ) -> catalog_pb2.GetReportResponse:
        """One report."""
        found = _found(await self._reports(), request.name, _absent("report", "ListReports", request.name))
        return catalog_pb2.GetReportResponse(report=found)

    async def ListReports(
        self, request: catalog_pb2.ListReportsRequest, context: _Context
    ) -> catalog_pb2.ListReportsResponse:
        """One page of reports."""
        reports, token = page_by_name("reports", await self._reports(), request.page_size, request.page_token)
        return catalog_pb2.ListReportsResponse(reports=reports, next_page_token=token)

    async def _change(self, change: Callable[[Library], None]) -> None:
        if self._library is None:
            raise StatusError(grpc.StatusCode.UNIMPLEMENTED, _READ_ONLY)
        library = self._library
        await self._read(lambda: change(library))

    async def _read(self, function: Callable[[], _Item]) -> _Item:
        """In a thread of the jobs, so that a slow disk does not delay scoring."""
        return function() if self._threads is None else await self._threads.files(function)

    async def _models(self) -> dict[str, catalog_pb2.Model]:
        loaded = {} if self._library is None else await self._read(self._library.models)
        return given_models(self._registry) | shown_models(loaded)

    async def _atlases(self) -> dict[str, catalog_pb2.Atlas]:
        return {} if self._library is None else await self._read(self._library.atlases)

    async def _reports(self) -> dict[str, catalog_pb2.Report]:
        return {} if self._library is None else await self._read(self._library.reports)


def _prefix_of(parent: str) -> str:
    """What the names of a parent's neuron sets begin with. Raises ConfigError for what is no name of a model."""
    if parent in {"", "models/-"}:
        return ""
    model = parent.removeprefix("models/")
    if model == parent or not PLAIN.fullmatch(model):
        raise ConfigError(f"The parent {parent[:100]!r} is no model; write models/NAME, or leave it out for all.")
    return f"{parent}/neuronSets/"


def _found(items: Mapping[str, _Item], name: str, missing: CuratorError) -> _Item:
    if name not in items:
        raise missing
    return items[name]


def _absent(what: str, listing: str, name: str) -> ArtifactNotFoundError:
    return ArtifactNotFoundError(f"There is no {what} {name!r} here; {listing} names those that are.")
