"""Kubernetes' and KubeRay's schemas, in the strict form, as ``schemas/`` holds them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

SCHEMAS = Path(__file__).parent / "schemas"
GROUPS = {
    "v1": "core.v1",
    "apps/v1": "apps.v1",
    "autoscaling/v2": "autoscaling.v2",
    "networking.k8s.io/v1": "networking.v1",
    "policy/v1": "policy.v1",
}


@cache
def _registry() -> Registry[Any]:
    loaded = {name: json.loads((SCHEMAS / name).read_text()) for name in ("kubernetes.json", "rayjob.json")}
    return Registry().with_resources([(name, Resource.from_contents(one, DRAFT202012)) for name, one in loaded.items()])


def validate(resource: dict[str, Any]) -> None:
    """Raise ValidationError unless the resource fits the schema of its kind; unknown fields do not fit."""
    group = GROUPS.get(resource["apiVersion"])
    place = f"kubernetes.json#/$defs/io.k8s.api.{group}.{resource['kind']}" if group else "rayjob.json"
    Draft202012Validator({"$ref": place}, registry=_registry()).validate(resource)
