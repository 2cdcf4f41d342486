"""What makes scores what they are, in one string that local scorers, servers and job plans compare: the etag.

    <hash of the neuron set>.<domain>.<method>[.<domain>.<method>...][.<computing type>]

The computing type is left out for float32. Two scorers with one etag give the same scores, up to rounding by what stands beside a
document in a batch. It needs no model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import get_args

from curator.neuronset.manifest import MethodName

_ONE_TARGET = re.compile(rf"[^.]+\.(?P<domain>.+)\.(?:{'|'.join(get_args(MethodName))})(?:\.[a-z0-9]+)?")


def scorer_etag(set_etag: str, methods: Mapping[str, str], dtype: str) -> str:
    """The etag of a scorer: ``methods`` by target domain, in the order of its scores; ``dtype`` such as ``float32``."""
    parts = [set_etag, *(f"{domain}.{method}" for domain, method in methods.items())]
    return ".".join(parts if dtype == "float32" else [*parts, dtype])


def target_of(etag: str) -> str | None:
    """The target domain of a scorer of one target, by its etag; None for an etag of another form."""
    found = _ONE_TARGET.fullmatch(etag)
    return None if found is None else found["domain"]
