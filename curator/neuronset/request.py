"""What an identification is refused for before a model is read: a target that the probe text does not have, or too little of it.

All of it is said of the probe corpus and of the models' configurations alone, so that a typing error costs seconds and not the
hours after which choosing neurons would meet it. Cost: one hash a document. It loads no weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curator.errors import ConfigError, InsufficientDataError
from curator.mistakes import suggestion
from curator.neuronset.parts import Part, parts_of
from curator.settings import NeuronSetSettings
from curator.text.probe import ProbeCorpus

MIN_TARGET_DOCUMENTS = 8


def require_targets(corpus: ProbeCorpus, targets: Sequence[str], settings: NeuronSetSettings) -> None:
    """Raise ConfigError for a target that is no domain of the corpus, InsufficientDataError for one with too few documents."""
    domains = list(corpus.domains)
    if not targets:
        raise ConfigError(f"Name a target; the probe corpus has the domains {', '.join(domains)}.")
    for target in targets:
        if target not in domains:
            hint = suggestion(target, domains) or "."
            raise ConfigError(f"The probe corpus has no domain {target!r}, only {', '.join(domains)}{hint}")
    if len(domains) < 2:
        raise ConfigError("The probe corpus has one domain only; add others, for a filter needs something to reject.")
    domain_D = np.asarray([document.domain for document in corpus.documents])
    parts_D = parts_of(corpus.documents, settings)
    for target in targets:
        require_documents(domain_D == target, parts_D, target)


def require_depth(model: str, layers: int, max_depth: int | None) -> None:
    """Raise ConfigError when more layers are asked for than the anchor has."""
    if max_depth is not None and max_depth > layers:
        raise ConfigError(f"{model} has {layers} layers, and max_depth is {max_depth}; ask for {layers} at most.")


def require_documents(positive_D: np.ndarray, parts_D: np.ndarray, target: str) -> None:
    """Raise InsufficientDataError unless each part has enough documents of the target, and others."""
    for part in Part:
        found = int((positive_D & (parts_D == part)).sum())
        if found < MIN_TARGET_DOCUMENTS:
            raise InsufficientDataError(
                f"Of the {int(positive_D.sum())} probe documents of {target!r} the part {part.value!r} has {found}, and it takes "
                f"{MIN_TARGET_DOCUMENTS} at least; give the target domain more text, in about 64 documents or more."
            )
        if not (~positive_D & (parts_D == part)).any():
            raise InsufficientDataError(
                f"The probe corpus has no document outside {target!r} for the part {part.value!r}; add another domain."
            )
