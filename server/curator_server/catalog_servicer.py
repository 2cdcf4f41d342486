"""CatalogService: what this server has. Reading only; a server's scorers are fixed when it starts.

Page tokens are the name of the last item in base64: opaque, stateless, valid as long as the server lives.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TypeVar

import grpc

from curator.api.v1 import catalog_pb2, catalog_pb2_grpc
from curator.errors import ArtifactNotFoundError, ConfigError, ModelNotFoundError
from curator.version import __version__
from curator_server.calls import StatusError
from curator_server.registry import Registry, model_resource
from curator_server.settings import ServerSettings

FEATURES = ("score", "filter", "zstd_documents", "zstd_jsonl")
_DEFAULT_PAGE, _MAX_PAGE = 100, 1000
_READ_ONLY = "This server's models and neuron sets are fixed when it starts; restart it with other ones."
_Item = TypeVar("_Item")


class CatalogServicer(catalog_pb2_grpc.CatalogServiceServicer):
    """Describes the server, its models and its neuron sets."""

    def __init__(self, settings: ServerSettings, registry: Registry, *, device: str = "") -> None:
        self._settings = settings
        self._device = device
        self._sets = {
            name: catalog_pb2.NeuronSet(name=name, etag=scorer.etag, model_fingerprint=scorer.model_fingerprint)
            for name, scorer in registry.scorers.items()
        }
        self._models = {
            model_resource(scorer): catalog_pb2.Model(
                name=model_resource(scorer),
                fingerprint=scorer.model_fingerprint,
                state=catalog_pb2.Model.STATE_ACTIVE,
            )
            for scorer in registry.scorers.values()
        }

    async def GetServerInfo(
        self, request: catalog_pb2.GetServerInfoRequest, context: grpc.aio.ServicerContext
    ) -> catalog_pb2.GetServerInfoResponse:
        """Version, limits, features, device."""
        return catalog_pb2.GetServerInfoResponse(
            version=__version__, limits=self._settings.limits, features=FEATURES, device=self._device
        )

    async def GetModel(
        self, request: catalog_pb2.GetModelRequest, context: grpc.aio.ServicerContext
    ) -> catalog_pb2.GetModelResponse:
        """One model."""
        if request.name not in self._models:
            raise ModelNotFoundError(f"There is no model {request.name!r} here; ListModels names those that are.")
        return catalog_pb2.GetModelResponse(model=self._models[request.name])

    async def ListModels(
        self, request: catalog_pb2.ListModelsRequest, context: grpc.aio.ServicerContext
    ) -> catalog_pb2.ListModelsResponse:
        """One page of models."""
        models, token = _page(self._models, request.page_size, request.page_token)
        return catalog_pb2.ListModelsResponse(models=models, next_page_token=token)

    async def GetNeuronSet(
        self, request: catalog_pb2.GetNeuronSetRequest, context: grpc.aio.ServicerContext
    ) -> catalog_pb2.GetNeuronSetResponse:
        """One neuron set."""
        if request.name not in self._sets:
            raise ArtifactNotFoundError(
                f"There is no neuron set {request.name!r} here; ListNeuronSets names those that are."
            )
        return catalog_pb2.GetNeuronSetResponse(neuron_set=self._sets[request.name])

    async def ListNeuronSets(
        self, request: catalog_pb2.ListNeuronSetsRequest, context: grpc.aio.ServicerContext
    ) -> catalog_pb2.ListNeuronSetsResponse:
        """One page of neuron sets."""
        prefix = "" if request.parent in {"", "models/-"} else f"{request.parent}/neuronSets/"
        wanted = {name: neuron_set for name, neuron_set in self._sets.items() if name.startswith(prefix)}
        sets, token = _page(wanted, request.page_size, request.page_token)
        return catalog_pb2.ListNeuronSetsResponse(neuron_sets=sets, next_page_token=token)

    async def LoadModel(
        self, request: catalog_pb2.LoadModelRequest, context: grpc.aio.ServicerContext
    ) -> catalog_pb2.LoadModelResponse:
        """Not offered."""
        raise StatusError(grpc.StatusCode.UNIMPLEMENTED, _READ_ONLY)

    async def UnloadModel(
        self, request: catalog_pb2.UnloadModelRequest, context: grpc.aio.ServicerContext
    ) -> catalog_pb2.UnloadModelResponse:
        """Not offered."""
        raise StatusError(grpc.StatusCode.UNIMPLEMENTED, _READ_ONLY)

    async def DeleteNeuronSet(
        self, request: catalog_pb2.DeleteNeuronSetRequest, context: grpc.aio.ServicerContext
    ) -> catalog_pb2.DeleteNeuronSetResponse:
        """Not offered."""
        raise StatusError(grpc.StatusCode.UNIMPLEMENTED, _READ_ONLY)


def _page(items: Mapping[str, _Item], size: int, token: str) -> tuple[list[_Item], str]:
    if size < 0:
        raise ConfigError("page_size must not be negative; leave it 0 for the default.")
    try:
        after = base64.urlsafe_b64decode(token).decode()
    except ValueError as error:  # not ASCII, not base64, or not UTF-8 inside
        raise ConfigError("The page_token is not one of this server's; start again without it.") from error
    names = sorted(name for name in items if name > after)
    chosen = names[: min(size or _DEFAULT_PAGE, _MAX_PAGE)]
    following = base64.urlsafe_b64encode(chosen[-1].encode()).decode() if len(chosen) < len(names) else ""
    return [items[name] for name in chosen], following
