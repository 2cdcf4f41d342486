"""What a probe corpus is made of: domains, their sources, and a budget; read from TOML, YAML or the command line.

    tokens_per_domain = 100_000      # counted in universal spans, for those need no tokenizer
    seed = 0
    split = "train"                  # optional: train, pool or test, by hash of each document's source

    [domains]
    python = "env:python"
    law = ["law/*.jsonl.zst", "hf:pile-of-law/pile-of-law?config=eurlex"]

    [fields]                         # optional, as SourceOptions
    text_field = "text"

Relative paths in a file are taken from the file's folder, those on the command line from the working folder. It opens no
source and does not know whether they exist.
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from curator.errors import ConfigError, MissingExtraError, SourceNotFoundError
from curator.mistakes import wrong_setting
from curator.text.rows import SourceOptions
from curator.text.splits import Split
from curator.text.uris import anchored, parse_uri

DEFAULT_TOKENS_PER_DOMAIN = 100_000


class ProbeSpec(BaseModel):
    """The recipe of a probe corpus. The same recipe over the same sources gives the same corpus."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    domains: Mapping[str, tuple[str, ...]] = Field(
        min_length=1, description="For each domain label, one source URI or several."
    )
    tokens_per_domain: int = Field(
        default=DEFAULT_TOKENS_PER_DOMAIN, ge=1, description="Universal spans that each domain contributes."
    )
    seed: int = Field(default=0, description="Chooses the documents and their order.")
    max_document_spans: int = Field(
        default=2_048,
        ge=1,
        description="Longer documents are cut after this many spans, so that no single one rules its domain.",
    )
    split: Split | None = Field(
        default=None, description="Take only this part of every source, by hash of the documents' sources."
    )
    fields: SourceOptions = Field(default=SourceOptions(), description="How the rows of the sources are read.")

    @field_validator("domains", mode="before")
    @classmethod
    def _one_uri_is_a_list_of_one(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        for name, uris in value.items():
            if name in cls.model_fields and not isinstance(uris, str | list | tuple):
                raise ValueError(f"{name!r} is no domain; write it above the line [domains]")
        return {name: (uris,) if isinstance(uris, str) else uris for name, uris in value.items()}

    @field_validator("domains")
    @classmethod
    def _labels_and_uris_are_sound(cls, value: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        for name, uris in value.items():
            if not name.strip() or not uris:
                raise ValueError(f"the domain {name!r} needs a name and at least one source")
            for uri in uris:
                try:
                    parse_uri(uri)
                except ConfigError as error:
                    raise ValueError(str(error)) from error
        return value


def load_probe_spec(path: Path) -> ProbeSpec:
    """Read a spec from ``.toml``, ``.yaml`` or ``.yml``.

    Raises SourceNotFoundError when the file is missing, ConfigError when it says something wrong, MissingExtraError when a
    YAML file is given and PyYAML is not installed.
    """
    if not path.is_file():
        raise SourceNotFoundError(f"There is no probe file {path}; check the path.")
    spec = probe_spec_from(_parsed(path), where=str(path))
    domains = {name: tuple(anchored(uri, path.parent) for uri in uris) for name, uris in spec.domains.items()}
    return spec.model_copy(update={"domains": domains})


def parse_probe_pairs(pairs: Iterable[str], **settings: Any) -> ProbeSpec:
    """A spec from command-line pairs ``domain=uri``; a domain that comes again adds a source to the first.

    ``settings`` are the other fields of ProbeSpec. Raises ConfigError for a word without ``=`` and for wrong settings.
    """
    domains: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        name, mark, uri = pair.partition("=")
        if not (name and mark and uri):
            raise ConfigError(f"{pair!r} names no domain and source; write for example python=env:python.")
        domains[name] = (*domains.get(name, ()), uri)
    return probe_spec_from({"domains": domains, **settings}, where="the command line")


def probe_spec_from(value: Any, *, where: str) -> ProbeSpec:
    """A spec from plain data; ``where`` names its place in the ConfigError that a wrong field raises."""
    try:
        return ProbeSpec.model_validate(value)
    except ValidationError as error:
        raise wrong_setting(error, ProbeSpec, f"the probe corpus in {where}") from error


def _parsed(path: Path) -> Any:
    suffix = path.suffix.lower()
    if suffix not in {".toml", ".yaml", ".yml"}:
        raise ConfigError(f"{path} is neither .toml nor .yaml; rename it after what it holds.")
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text) if suffix == ".toml" else _parsed_yaml(text, path)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML ({error}); correct that place.") from error


def _parsed_yaml(text: str, path: Path) -> Any:
    try:
        yaml: Any = importlib.import_module("yaml")
    except ImportError as error:
        raise MissingExtraError("A YAML probe file needs PyYAML; install it with: pip install pyyaml.") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML ({' '.join(str(error).split())}); correct that place.") from error
