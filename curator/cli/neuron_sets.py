"""A neuron set that a verb makes: where it goes, checked before the work, and what is shown of it when it is saved.

``identify``, ``select`` and ``match --carry`` end here. Everything shown is in the set's manifest. It makes no set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from curator.cli import options
from curator.cli.console import say, show_table
from curator.errors import ConfigError
from curator.neuronset.places import neuron_set_folder

if TYPE_CHECKING:
    from curator.neuronset.artifact import NeuronSet, NeuronSetManifest

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
