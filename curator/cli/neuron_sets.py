"""A neuron set that a verb makes: where it goes, checked before the work, and what is shown of it when it is saved.

``identify``, ``select`` and ``match --carry`` end here. A set is the work of hours, so another one of its name replaces it only
where that is asked for; the same request may always be made again. Everything shown is in the set's manifest. It makes no set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator.cli import options
from curator.cli.console import say, show_table
from curator.errors import ConfigError
from curator.files import read_json
from curator.neuronset.places import neuron_set_folder

if TYPE_CHECKING:
    from curator.neuronset.artifact import NeuronSet, NeuronSetManifest
    from curator.neuronset.identify import IdentifySettings
    from curator.text.probe import ProbeCorpus

SHOWN_NEURONS = 10


def folder_of_new_set(name: str, out: Path | None) -> Path:
    """Where a set of this name is to be saved: ``out``, or the place of its name.

    Raises ConfigError for a name that no server could offer, and where something that is no neuron set would be replaced.
    """
    kept = neuron_set_folder(name)
    folder = out or kept
    vacant = not any(folder.iterdir()) if folder.is_dir() else not folder.exists()
    if not vacant and not options.holds(folder, "curator-neuron-set"):
        raise ConfigError(f"{folder} exists and holds no neuron set; name a new folder with --out.")
    return folder


def require_same_request(folder: Path, replace: bool, request: Callable[[], Mapping[str, object]]) -> None:
    """Raise ConfigError where a set of another request would be replaced that nobody gave up.

    ``request`` gives what decided the set, under the names of ``_decided``; it is asked only where there is a set.
    """
    if replace or not options.holds(folder, "curator-neuron-set"):
        return
    stored = _decided(read_json(folder / "manifest.json"))
    changed = [name for name, value in request().items() if stored.get(name) != value]
    if changed:
        raise ConfigError(
            f"{folder} holds a neuron set that another request made (not the same: {', '.join(changed)}); replace it with "
            "--replace, or keep it and choose another --name or --out."
        )


def requested(
    name: str, targets: Sequence[str], corpus: ProbeCorpus, atlas: str, peers: Iterable[str], settings: IdentifySettings
) -> dict[str, object]:
    """What decides a set that is identified or selected: fingerprints of the anchor's atlas and of the peers, settings."""
    return {
        "name": name,
        "targets": list(targets),
        "probe corpus": corpus.fingerprint,
        "anchor's atlas": atlas,
        "peers": sorted(peers),
        "settings of the set": settings.neuron_set.model_dump(mode="json"),
        "settings of matching": settings.match.model_dump(mode="json"),
    }


def _decided(stored: Mapping[str, Any]) -> dict[str, object]:
    """What decided a stored set, in words that a refusal may use."""
    origin = stored.get("transferred_from") or {}
    return {
        "name": stored.get("name"),
        "targets": list(stored.get("targets", ())),
        "model": stored.get("model_fingerprint"),
        "probe corpus": stored.get("probe_fingerprint"),
        "anchor's atlas": stored.get("atlas_fingerprint"),
        "peers": sorted(stored.get("peers", {}).values()),
        "settings of the set": stored.get("settings"),
        "settings of matching": stored.get("match_settings"),
        "carried set": origin.get("etag"),
        "settings of carrying": origin.get("settings"),
    }


def show_saved(neuron_set: NeuronSet, folder: Path) -> None:
    """Print counts beside their nulls, the scorers of each target and the first neurons, a carried set's origin, the etag."""
    manifest = neuron_set.manifest
    show_rosetta_counts(manifest.model, tuple(manifest.peers), manifest.rosetta_counts, manifest.null_counts)
    for target, found in manifest.targets.items():
        show_table(
            f"Scorers for {target}, on documents that chose nothing",
            ("scorer", "default", "average precision", "AUROC", "documents", "of the target"),
            (
                (
                    method,
                    "default" if method == found.default else "",
                    quality.report_average_precision,
                    quality.report_auroc,
                    quality.report_documents,
                    quality.report_positives,
                )
                for method, quality in found.methods.items()
            ),
            left=2,
        )
        _show_depths(manifest, target)
        _show_neurons(manifest, target)
    _show_origin(manifest)
    say(f"neuron set {folder}")
    say(f"etag       {neuron_set.etag}")


def show_doubts(doubts: Iterable[str]) -> None:
    """Print what a careful reader should hold against the set, a line each."""
    for doubt in doubts:
        say(f"doubt      {doubt}")


def show_rosetta_counts(
    model: str, peers: Sequence[str], counts: Mapping[str, int], null_counts: Mapping[str, int]
) -> None:
    """Print how many neurons each rule finds, beside what it finds in the decoys of both kinds."""
    show_table(
        f"Rosetta neurons of {model} shared with {', '.join(peers)}",
        ("rule", "neurons", "deranged text", "rotated layers"),
        (
            (rule, count, null_counts.get(f"deranged_{rule}"), null_counts.get(f"rotated_{rule}"))
            for rule, count in counts.items()
        ),
    )


def _show_depths(manifest: NeuronSetManifest, target: str) -> None:
    """What fewer layers cost in quality; nothing for a set that was fitted for one depth alone."""
    from curator.neuronset.depth import depth_table

    if manifest.depths:
        show_table(
            f"Fewer layers for {target}: `--max-depth`",
            ("layers read", "share of the model's", "neurons", "scorer", "average precision"),
            (
                (row.depth, row.share_of_layers, row.neurons, row.method, row.average_precision)
                for row in depth_table(manifest, target)
            ),
            left=0,
        )


def _show_neurons(manifest: NeuronSetManifest, target: str) -> None:
    mine = [neuron for neuron in manifest.neurons if target in neuron.targets]
    show_table(
        f"{min(SHOWN_NEURONS, len(mine))} of {len(mine)} neurons for {target} (rule: {manifest.rosetta_rule})",
        ("neuron", "partners", "AUROC chosen on", "AUROC reported", "AP reported", "mean rho", "worst q"),
        (
            (
                neuron.id,
                ", ".join(match.neuron for match in neuron.matches),
                neuron.targets[target].auroc_fit,
                neuron.targets[target].auroc_report,
                neuron.targets[target].average_precision_report,
                sum(abs(match.rho) for match in neuron.matches) / len(neuron.matches),
                max(match.q for match in neuron.matches),
            )
            for neuron in mine[:SHOWN_NEURONS]
        ),
        left=2,
    )


def _show_origin(manifest: NeuronSetManifest) -> None:
    origin = manifest.transferred_from
    if origin is None:
        return
    found = [neuron.carried_from for neuron in manifest.neurons if neuron.carried_from]
    show_table(
        f"Carried from {origin.name} of {origin.model}",
        ("neurons of the source", "dropped", "partners", "mutual matches", "mean |rho|", "worst q", "targets refined"),
        [
            (
                origin.neurons,
                len(origin.dropped),
                len(found),
                sum(one.mutual for one in found),
                sum(abs(one.rho) for one in found) / len(found),
                max(one.q for one in found),
                len(origin.refined),
            )
        ],
        left=0,
    )
