"""Cut the schemas of the kinds that ``deploy/`` uses out of Kubernetes' own, as the package kubernetes-validate bundles them.

    pip install kubernetes-validate==1.37.0 && python tests/deploy/schemas/extract.py

Source: the OpenAPI definitions of Kubernetes 1.31.0 (Apache-2.0), in the strict form, where an unknown field is an error. What
the kinds reach is kept, without descriptions; the package itself is 108 MB, too much for a test. 1.31 is the oldest release
that the manifests are for: what it accepts, later ones do too.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

VERSION = "v1.31.0-local-strict"
KINDS = (
    "apps.v1.Deployment",
    "autoscaling.v2.HorizontalPodAutoscaler",
    "core.v1.PersistentVolumeClaim",
    "core.v1.PodTemplateSpec",
    "core.v1.Service",
    "core.v1.ServiceAccount",
    "networking.v1.NetworkPolicy",
    "policy.v1.PodDisruptionBudget",
)
PREFIX = "io.k8s.api."


def without_words(value: Any) -> Any:
    """The schema without descriptions and examples; a property may be called ``description`` too, and stays."""
    if isinstance(value, list):
        return [without_words(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: {key: without_words(item) for key, item in part.items()} if name == "properties" else without_words(part)
        for name, part in value.items()
        if not (name == "description" and isinstance(part, str)) and not name.startswith("x-")
    }


def references(value: Any) -> set[str]:
    """Names of the definitions that a schema points to."""
    if isinstance(value, list):
        return {name for item in value for name in references(item)}
    if not isinstance(value, dict):
        return set()
    found = {name for item in value.values() for name in references(item)}
    target = value.get("$ref")
    return found | {target.rsplit("/", 1)[1]} if isinstance(target, str) else found


def closure(definitions: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
    """The wanted definitions and all that they reach."""
    kept: dict[str, Any] = {}
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept[name] = definitions[name]
            wanted += references(definitions[name])
    return dict(sorted(kept.items()))


def main() -> None:
    """Write ``kubernetes.json`` beside this file."""
    bundled = files("kubernetes_validate").joinpath("kubernetes-json-schema", VERSION, "_definitions.json")
    definitions = without_words(json.loads(bundled.read_text()))["$defs"]
    kept = closure(definitions, [PREFIX + kind for kind in KINDS])
    text = json.dumps({"$defs": kept}, separators=(",", ":")).replace("/api/_definitions.json#/", "#/")
    text = text.replace('},"io.', '},\n"io.')
    (Path(__file__).parent / "kubernetes.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
