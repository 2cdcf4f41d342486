"""``curator list``: the neuron sets and atlases that are kept on this machine, from their manifests alone.

What other verbs find by name is below ``$CURATOR_HOME``; sets and atlases that were put elsewhere are not seen. It loads nothing
and checks no hashes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from curator.cli import options
from curator.cli.console import remark, say, show_table
from curator.errors import ArtifactError
from curator.files import is_partial, read_json
from curator.neuronset.places import neuron_set_home

_SHOWN_FINGERPRINT = 12


def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Name the neuron sets and atlases that are kept here."""
    sets = [_set_row(folder, stored) for folder, stored in _manifests(neuron_set_home(), "curator-neuron-set")]
    atlases = [_atlas_row(folder, stored) for folder, stored in _manifests(options.atlas_folder(), "curator-atlas")]
    if as_json:
        say(json.dumps({"neuron_sets": sets, "atlases": atlases}, ensure_ascii=False))
        return
    _show("Neuron sets", sets, "make one with `curator identify`", neuron_set_home())
    _show("Atlases", atlases, "`curator identify` and `curator atlas build` make them", options.atlas_folder())


def _manifests(home: Path, kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and manifest of each finished artifact of a kind, by name; one that cannot be read is passed over with a word."""
    for path in sorted(home.glob("*/manifest.json")):
        if is_partial(path.parent):
            continue
        try:
            stored = read_json(path)
        except ArtifactError as error:
            remark(str(error))
            continue
        if isinstance(stored, dict) and str(stored.get("format")).startswith(kind):
            yield path.parent, stored


def _set_row(folder: Path, stored: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": folder.name,
        "targets": list(stored.get("targets", ())),
        "model": stored.get("model"),
        "neurons": len(stored.get("neurons", ())),
        "path": str(folder),
    }


def _atlas_row(folder: Path, stored: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": stored.get("model"),
        "probe": stored.get("probe_fingerprint"),
        "domains": list(stored.get("domains", ())),
        "spans": stored.get("spans"),
        "path": str(folder),
    }


def _show(title: str, rows: list[dict[str, Any]], advice: str, home: Path) -> None:
    if not rows:
        remark(f"{home} holds none yet; {advice}")
        return
    show_table(title, list(rows[0]), [[_shown(name, value) for name, value in row.items()] for row in rows], left=3)


def _shown(name: str, value: object) -> object:
    """A value in the table; of a fingerprint the beginning, which tells one from another."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)[:_SHOWN_FINGERPRINT] if name == "probe" else value
