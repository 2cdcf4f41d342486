"""Options that several verbs share, and what becomes of them: a probe corpus, settings, models, names of neuron sets.

One dial file, ``--settings``, holds any field of ``curator.settings`` in the tables ``[atlas]``, ``[match]`` and
``[neuron_set]``; an option on the command line wins over it. Importing this costs nothing: everything heavy is loaded by the
functions that need it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curator.errors import ArtifactNotFoundError, ConfigError, SourceNotFoundError
from curator.files import curator_home

if TYPE_CHECKING:
    from curator.neuronset.identify import IdentifySettings, ModelChoice, Reporter
    from curator.text.probe import ProbeCorpus

ProbeFile = Annotated[
    Path | None, typer.Option("--probe", help="TOML or YAML file that declares the probe corpus.", metavar="FILE")
]
Domains = Annotated[
    list[str] | None,
    typer.Option("--domain", help="A domain of the probe corpus and its source; repeat.", metavar="NAME=URI"),
]
TokensPerDomain = Annotated[
    int | None,
    typer.Option(help="Text of each domain, in universal spans (100,000 unless the probe file says otherwise).", min=1),
]
Seed = Annotated[int | None, typer.Option(help="Seed of everything that draws: probe, sketch, nulls, splits.")]
SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", help="TOML file with tables \\[atlas], \\[match], \\[neuron_set].", metavar="FILE"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0 or sharded.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or float64.")]
Workers = Annotated[
    int, typer.Option(help="Processes that make a missing atlas; each holds the model, on the next GPU if any.", min=1)
]
SketchDimensions = Annotated[int | None, typer.Option(help="Numbers per neuron signature.", min=64)]
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...", help="JSONL (.gz, .zst), Parquet, a folder, a glob, hf:NAME, env:DOMAIN, or - for stdin."
    ),
]
TextField = Annotated[str, typer.Option(help="Field that holds the text.")]
IdField = Annotated[str, typer.Option(help="Field that identifies a document.")]
DomainField = Annotated[str, typer.Option(help="Field with a domain label, if any.")]
SourceField = Annotated[str, typer.Option(help="Field with the work that a document was cut from.")]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGTB]?i?)(B?)")
_POWER = {"": 0, "K": 1, "M": 2, "G": 3, "B": 3, "T": 4}
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TABLES = ("atlas", "match", "neuron_set")


@dataclass(frozen=True, slots=True)
class ProbeChoice:
    """How the user named the probe corpus."""

    file: Path | None
    domains: Sequence[str]
    tokens_per_domain: int | None
    seed: int | None

    def build(self, reporter: Reporter) -> ProbeCorpus:
        """Read the sources. Raises ConfigError unless there is either a file or domains, and what ``build_probe`` raises."""
        from curator.text.probe import build_probe, load_probe_spec, parse_probe_pairs

        if bool(self.file) == bool(self.domains):
            raise ConfigError("Name the probe corpus once: by --probe FILE, or by --domain NAME=URI for each domain.")
        given = known(tokens_per_domain=self.tokens_per_domain, seed=self.seed)
        spec = load_probe_spec(self.file).model_copy(update=given) if self.file else None
        reporter.stage("reading the probe corpus")
        return build_probe(spec or parse_probe_pairs(self.domains, **given))


def known(**values: Any) -> dict[str, Any]:
    """The values that were given."""
    return {name: value for name, value in values.items() if value is not None}


def identify_settings(file: Path | None, **given: Mapping[str, Any]) -> IdentifySettings:
    """The settings of a file with what was given on the command line in their place; tables as in ``_TABLES``.

    Raises SourceNotFoundError without the file, ConfigError for what is no TOML or no such table, pydantic's ValidationError
    for a wrong value.
    """
    from curator.neuronset.identify import IdentifySettings
    from curator.settings import AtlasSettings, MatchSettings, NeuronSetSettings

    stored = _tables(file)
    merged = {name: {**stored.get(name, {}), **given.get(name, {})} for name in _TABLES}
    return IdentifySettings(
        atlas=AtlasSettings(**merged["atlas"]),
        match=MatchSettings(**merged["match"]),
        neuron_set=NeuronSetSettings(**merged["neuron_set"]),
    )


def _tables(file: Path | None) -> dict[str, dict[str, Any]]:
    if file is None:
        return {}
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"There is no settings file {file}; check the path.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML ({error}); correct that place.") from error
    wrong = sorted(name for name, table in tables.items() if name not in _TABLES or not isinstance(table, dict))
    if wrong:
        raise ConfigError(f"{file} holds {wrong[0]!r}; settings stand in the tables {', '.join(_TABLES)}.")
    return tables


def model_choice(text: str, *, device: str, dtype: str) -> ModelChoice:
    """A model as the user names it."""
    from curator.neuronset.identify import ModelChoice

    return ModelChoice.parse(text, device=device, dtype=dtype)


def atlas_folder() -> Path:
    """Where atlases are kept."""
    return curator_home() / "atlases"


def neuron_set_folder(name: str) -> Path:
    """Where a set of this name is kept. Raises ConfigError for a name that is not plain."""
    if not _PLAIN_NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot name a neuron set; use letters, digits, dots, dashes and underscores.")
    return curator_home() / "neuron-sets" / name


def find_neuron_set(place: str) -> Path:
    """The folder of a set that is named by its path or by its name. Raises ArtifactNotFoundError when there is none."""
    path = Path(place).expanduser()
    if path.is_dir():
        return path
    kept = neuron_set_folder(place) if _PLAIN_NAME.fullmatch(place) else path
    if not kept.is_dir():
        raise ArtifactNotFoundError(f"There is no neuron set at {kept}; make one with `curator identify`.")
    return kept


def parse_size(text: str) -> int:
    """``128MB``, ``1.5 GiB`` or ``4096`` in bytes. Raises ConfigError for anything else."""
    return _scaled(text, 1024 if "i" in text else 1000, "a size such as 128MB or 1GiB")


def parse_count(text: str) -> int:
    """``16M``, ``1.5B`` or ``200000`` as a number. Raises ConfigError for anything else."""
    return _scaled(text, 1000, "a number such as 200000, 16M or 1.5B")


def _scaled(text: str, base: int, wanted: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"{text!r} is not {wanted}.")
    number, unit = float(match[1]), match[2].rstrip("i").upper()
    if "size" in wanted and unit == "B":
        unit = ""  # "512B" are bytes, while "2B" tokens are two billion
    return round(number * base ** _POWER[unit])
