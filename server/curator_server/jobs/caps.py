"""How much one job may ask for: the operator's caps on the numbers and the size of a spec, told when the job is created.

A number that is too large would otherwise be found out by a worker, after hours, as lack of memory. It opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from curator.api.v1 import jobs_pb2
from curator.errors import ConfigError, LimitError
from curator_server.jobs.settings import JobSettings
from curator_server.jobs.sources import kind_of, sources_of
from curator_server.jobs.store import Job

_MOST_REPLICATES = 10_000


def check_caps(job: Job, settings: JobSettings) -> None:
    """Raise ConfigError when a spec asks for more than the operator allows, LimitError when it is too large as a whole."""
    uris = sum(len(source.files.uris) for source in sources_of(job))
    _at_most("URIs in one spec", uris, settings.max_uris)
    documents = sum(source.documents.ByteSize() for source in sources_of(job))
    if job.ByteSize() - documents > settings.max_spec_bytes:
        raise LimitError(
            f"A spec has {settings.max_spec_bytes} bytes at most beside its documents; name folders or globs, not each file."
        )
    _at_most("named models", sum(1 for _ in _models_of(job)), settings.max_models)
    match kind_of(job):
        case "identify_neurons":
            _check_probe(job.identify_neurons.probe, settings)
            _at_most("max_neurons", job.identify_neurons.max_neurons, settings.max_neurons)
        case "build_study":
            _check_probe(job.build_study.probe, settings)
            _at_most("replicates", job.build_study.replicates, _MOST_REPLICATES)
        case _:
            return


def _check_probe(probe: jobs_pb2.ProbeSpec, settings: JobSettings) -> None:
    _at_most("domains of a probe", len(probe.sources), settings.max_domains)
    _at_most("tokens_per_domain", probe.tokens_per_domain, settings.max_tokens_per_domain)
    _at_most("seed", probe.seed, (1 << 31) - 1)
    _at_most("sketch_dimensions", probe.sketch_dimensions, settings.max_sketch_dimensions)
    if probe.sketch_dimensions and (probe.sketch_dimensions < 64 or probe.sketch_dimensions % 8):
        raise ConfigError("sketch_dimensions must be a multiple of 8 and 64 at least; leave it 0 for the default.")


def _models_of(job: Job) -> Iterator[str]:
    if kind_of(job) == "identify_neurons":
        yield from (job.identify_neurons.model, *job.identify_neurons.peers)
    for group in job.build_study.groups:
        yield from (group.model, *group.peers, *group.beside)


def _at_most(what: str, asked: int, most: int) -> None:
    if asked > most:
        raise ConfigError(f"{what} may be {most} at most on this server, not {asked}; ask for fewer.")
