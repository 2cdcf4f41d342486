"""What an operator allows jobs to do, where they are kept, and how many run at a time.

Nothing outside is readable or writable unless it is named here: without roots a job reads only text that the caller sends and
the embedded corpus, and writes only into its own folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from curator.errors import ConfigError


class JobSettings(BaseModel):
    """Settings of the jobs of one server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: Path
    """Folder of everything that outlives the process: the database, jobs, neuron sets, atlases. One server at a time."""
    source_roots: tuple[Path, ...] = ()
    """Folders below which jobs may read files."""
    output_roots: tuple[Path, ...] = ()
    """Folders below which jobs may write shards."""
    schemes: tuple[str, ...] = ("env",)
    """What else jobs may read: ``env`` (the embedded corpus), ``hf`` (the hub), or schemes of addresses such as ``s3``."""
    models: tuple[str, ...] = ("zoo:*",)
    """Models that may be loaded, as patterns in which ``*`` stands for anything: ``EleutherAI/pythia-*``."""
    background: Mapping[str, str] = Field(
        default={"prose": "env:prose", "python": "env:python", "legal": "env:legal", "docstrings": "env:docstrings"}
    )
    """Domains and their sources that are added where a caller labels one domain only; the operator's, so not checked."""
    tokens_per_domain: int = Field(default=100_000, ge=1)
    """Universal spans of a domain where the caller names none."""
    max_tokens_per_domain: int = Field(default=50_000_000, ge=1)
    """The most that a caller may ask for."""
    max_sketch_dimensions: int = Field(default=16_384, ge=64)
    """The most numbers per neuron signature that a caller may ask for; an atlas holds eight bytes of each for every neuron."""
    max_neurons: int = Field(default=4096, ge=1)
    """The most neurons of a set that a caller may ask for."""
    max_domains: int = Field(default=64, ge=1)
    """Domains of one probe; an atlas holds statistics of every neuron for each."""
    max_models: int = Field(default=256, ge=2)
    """Models that one job may name, each time that it names one; they are read one after the other."""
    max_uris: int = Field(default=1000, ge=1)
    """URIs in one spec; a glob or a folder is one."""
    max_spec_bytes: int = Field(default=256 << 10, ge=1)
    """Size of one spec beside the documents that come with it; it goes along with every revision that is watched."""
    max_running: int = Field(default=1, ge=1)
    """Jobs at work at the same time; each is a process with models of its own."""
    max_pending: int = Field(default=100, ge=1)
    """Jobs that may wait; above this CreateJob answers OVERLOADED."""
    workers: int = Field(default=1, ge=1)
    """Processes of one job."""
    device: str = "auto"
    """Where the models of jobs go."""
    dtype: str = "auto"
    """What data sets are scored in; that of the server's own scorers, or their scores would differ."""
    stop_s: float = Field(default=10.0, ge=0)
    """Time that a worker gets to end after it was asked to, before it is killed."""
    retention_s: float = Field(default=30 * 86_400.0, gt=0)
    """How long a job that has ended, and its artifacts, are kept."""
    progress_every_s: float = Field(default=1.0, ge=0)
    """Least time between two revisions of a job that differ in progress only."""

    @field_validator("state", "source_roots", "output_roots")
    @classmethod
    def _absolute(cls, value: Path | tuple[Path, ...]) -> Path | tuple[Path, ...]:
        if isinstance(value, Path):
            return value.expanduser().resolve()
        for root in value:
            if not root.expanduser().is_dir():
                raise ConfigError(f"The root {root} is no folder; create it or name another one.")
        return tuple(root.expanduser().resolve() for root in value)

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.state / "jobs.sqlite3"

    @property
    def folders(self) -> Path:
        """Parent of the jobs' folders."""
        return self.state / "jobs"

    @property
    def neuron_sets(self) -> Path:
        """Parent of the models' folders of neuron sets."""
        return self.state / "neuron-sets"

    @property
    def atlases(self) -> Path:
        """Folder of the atlases."""
        return self.state / "atlases"
