"""What ``kubectl kustomize`` makes of a folder, for the features that ``deploy/kubernetes`` uses, so that tests need no kubectl.

Resources, components, images, a namespace, and patches by strategic merge: maps are merged, null deletes, lists of named
things are merged by their key with what is new in front, other lists are replaced. A test compares it with kubectl where there
is one. It does not know any other feature, and refuses a kustomization that asks for one.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

KNOWN = {"apiVersion", "kind", "namespace", "resources", "components", "images", "patches"}
MERGE_KEYS = ("mountPath", "name")
Resource = dict[str, Any]


def render(folder: Path) -> list[Resource]:
    """All resources of a kustomization, as they would be applied."""
    wanted = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(wanted) <= KNOWN, f"{folder} asks for {set(wanted) - KNOWN}, which this does not render"
    resources = [one for name in wanted.get("resources", ()) for one in _resources(folder / name)]
    return _transformed(resources, wanted, folder)


def _resources(place: Path) -> list[Resource]:
    if place.is_dir():
        return render(place)
    return [one for one in yaml.safe_load_all(place.read_text()) if one is not None]


def _transformed(resources: list[Resource], wanted: Resource, folder: Path) -> list[Resource]:
    for name in wanted.get("components", ()):
        component = yaml.safe_load((folder / name / "kustomization.yaml").read_text())
        assert component["kind"] == "Component" and set(component) <= KNOWN
        resources = _transformed(resources, component, folder / name)
    for patch in wanted.get("patches", ()):
        resources = _patched(resources, yaml.safe_load((folder / patch["path"]).read_text()))
    for image in wanted.get("images", ()):
        _name_image(resources, image)
    if "namespace" in wanted:
        resources = [one | {"metadata": one["metadata"] | {"namespace": wanted["namespace"]}} for one in resources]
    return resources


def _patched(resources: list[Resource], patch: Resource) -> list[Resource]:
    of = (patch["kind"], patch["metadata"]["name"])
    assert of in {(one["kind"], one["metadata"]["name"]) for one in resources}, f"there is no {of} to patch"
    return [merged(one, patch) if (one["kind"], one["metadata"]["name"]) == of else one for one in resources]


def merged(old: Any, new: Any) -> Any:
    """A value with a strategic merge patch applied."""
    if isinstance(old, dict) and isinstance(new, dict):
        kept = {name: value for name, value in old.items() if new.get(name, value) is not None}
        changes = {name: merged(kept.get(name), value) for name, value in new.items() if value is not None}
        return kept | changes
    if isinstance(old, list) and isinstance(new, list) and (key := _merge_key([*old, *new])):
        by_key = {one[key]: one for one in new}
        fresh = [one for one in new if one[key] not in {known[key] for known in old}]
        return [*fresh, *(merged(one, by_key[one[key]]) if one[key] in by_key else one for one in old)]
    return deepcopy(new)


def _merge_key(items: list[Any]) -> str | None:
    return next((key for key in MERGE_KEYS if all(isinstance(one, dict) and key in one for one in items)), None)


def _name_image(resources: list[Resource], image: Resource) -> None:
    for one in resources:
        for container in one.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
            if container["image"] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
