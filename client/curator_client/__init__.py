"""The light gRPC client: no torch, no transformers, no datasets, no NumPy; gRPC itself is imported at first use.

from curator_client import Client
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curator_client.aio import AsyncClient
    from curator_client.batches import BatchOptions
    from curator_client.client import Client, RemoteScorer
    from curator_client.connection import ConnectionOptions
    from curator_client.jobs import Jobs
    from curator_client.jobs_aio import AsyncJobs
    from curator_client.retry import RetryPolicy
    from curator_client.shards import FilterReport, ShardInfo
    from curator_client.specs import data_source, filter_spec, identify_spec, probe_spec, study_spec

_HOMES = {
    "AsyncClient": "curator_client.aio",
    "AsyncJobs": "curator_client.jobs_aio",
    "BatchOptions": "curator_client.batches",
    "Client": "curator_client.client",
    "ConnectionOptions": "curator_client.connection",
    "FilterReport": "curator_client.shards",
    "Jobs": "curator_client.jobs",
    "RemoteScorer": "curator_client.client",
    "RetryPolicy": "curator_client.retry",
    "ShardInfo": "curator_client.shards",
    "data_source": "curator_client.specs",
    "filter_spec": "curator_client.specs",
    "identify_spec": "curator_client.specs",
    "probe_spec": "curator_client.specs",
    "study_spec": "curator_client.specs",
}

__all__ = [
    "AsyncClient",
    "AsyncJobs",
    "BatchOptions",
    "Client",
    "ConnectionOptions",
    "FilterReport",
    "Jobs",
    "RemoteScorer",
    "RetryPolicy",
    "ShardInfo",
    "data_source",
    "filter_spec",
    "identify_spec",
    "probe_spec",
    "study_spec",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
