"""Options that several verbs share, and what becomes of them: a probe corpus, settings, models, folders of artifacts.

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
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from curator.errors import ConfigError, SourceNotFoundError
from curator.files import curator_home, read_json
from curator.mistakes import suggestion, wrong_setting

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
    typer.Option("--settings", help="TOML file with tables [atlas], [match], [neuron_set].", metavar="FILE"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0 or sharded.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or float64.")]
Workers = Annotated[
    int, typer.Option(help="Processes that make a missing atlas; each holds the model, on the next GPU if any.", min=1)
]
SketchDimensions = Annotated[int | None, typer.Option(help="Numbers per neuron signature.", min=64)]
RuleName = Literal["paper", "strict", "universal"]
Targets = Annotated[list[str], typer.Option("--target", help="A domain to filter for; repeat.", metavar="DOMAIN")]
SetName = Annotated[str | None, typer.Option("--name", help="Name of the neuron set; the targets' names by default.")]
SetFolder = Annotated[Path | None, typer.Option("--out", help="Folder of the set; $CURATOR_HOME/neuron-sets/NAME.")]
Replace = Annotated[bool, typer.Option("--replace", help="Replace what is there already.")]
MaxNeurons = Annotated[int | None, typer.Option(help="Most neurons in the set.", min=1)]
MaxDepth = Annotated[int | None, typer.Option(help="Use the first so many layers only, for speed.", min=1)]
ChosenRule = Annotated[RuleName | None, typer.Option("--rule", help="Which Rosetta neurons to choose from.")]
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
_S = TypeVar("_S", bound=BaseModel)
_TABLES = ("atlas", "match", "neuron_set")


@dataclass(frozen=True, slots=True)
class ProbeChoice:
    """How the user named the probe corpus."""

    file: Path | None
    domains: Sequence[str] | None
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
        return build_probe(spec or parse_probe_pairs(self.domains or (), **given))


def known(**values: Any) -> dict[str, Any]:
    """The values that were given."""
    return {name: value for name, value in values.items() if value is not None}


def identify_settings(file: Path | None, **given: Mapping[str, Any]) -> IdentifySettings:
    """The settings of a file with what was given on the command line in their place; tables as in ``_TABLES``.

    Raises SourceNotFoundError without the file, ConfigError for what is no TOML, no such table or key, or a wrong value.
    """
    from curator.neuronset.identify import IdentifySettings
    from curator.settings import AtlasSettings, MatchSettings, NeuronSetSettings

    stored = _tables(file)
    merged = {name: {**stored.get(name, {}), **given.get(name, {})} for name in _TABLES}

    def checked(kind: type[_S], name: str) -> _S:
        try:
            return kind.model_validate(merged[name])
        except ValidationError as error:
            typed = any(part in given.get(name, {}) for part in error.errors()[0]["loc"][:1])
            place = "the command line" if typed or file is None else f"the table [{name}] of {file}"
            raise wrong_setting(error, kind, place) from error

    return IdentifySettings(
        atlas=checked(AtlasSettings, "atlas"),
        match=checked(MatchSettings, "match"),
        neuron_set=checked(NeuronSetSettings, "neuron_set"),
    )


def dials(
    file: Path | None, *, seed: int | None = None, sketch_dimensions: int | None = None, **given: Mapping[str, Any]
) -> IdentifySettings:
    """``identify_settings`` with the options that verbs share; the seed goes into every table."""
    given["atlas"] = known(sketch_dimensions=sketch_dimensions)
    return identify_settings(file, **{name: {**given.get(name, {}), **known(seed=seed)} for name in _TABLES})


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
        hint = suggestion(wrong[0], _TABLES) or "."
        raise ConfigError(f"{file} holds {wrong[0]!r}; settings stand in the tables {', '.join(_TABLES)}{hint}")
    return tables


def model_choice(text: str, *, device: str, dtype: str) -> ModelChoice:
    """A model as the user names it."""
    from curator.neuronset.identify import ModelChoice

    return ModelChoice.parse(text, device=device, dtype=dtype)


def atlas_folder() -> Path:
    """Where atlases are kept."""
    return curator_home() / "atlases"


def holds(folder: Path, kind: str) -> bool:
    """Whether a folder has the manifest of an artifact whose format begins with ``kind``, finished or damaged."""
    manifest = folder / "manifest.json"
    stored = read_json(manifest) if manifest.is_file() else None
    return isinstance(stored, dict) and str(stored.get("format")).startswith(kind)


def parse_size(text: str) -> int:
    """``128MB``, ``1.5 GiB`` or ``4096`` in bytes. Raises ConfigError for anything else."""
    return _scaled(text, 1024 if "i" in text else 1000, "a size such as 128MB or 1GiB")


def parse_count(text: str) -> int:
    """``16M``, ``1.5B``, ``200000`` or ``200_000`` as a number. Raises ConfigError for anything else."""
    return _scaled(text, 1000, "a number such as 200000, 16M or 1.5B")


def _scaled(text: str, base: int, wanted: str) -> int:
    match = _SIZE.fullmatch(re.sub(r"(?<=\d)_(?=\d)", "", text.strip()))
    if match is None:
        raise ConfigError(f"{text!r} is not {wanted}.")
    number, unit = float(match[1]), match[2].rstrip("i").upper()
    if "size" in wanted and unit == "B":
        unit = ""  # "512B" are bytes, while "2B" tokens are two billion
    return round(number * base ** _POWER[unit])
