"""The manifest's entry for each neuron of a set that is made: partners, and what it says of the targets that chose it.

Cost: where token identity is controlled for, a pass of the model over the probe corpus. It chooses nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from curator.lm.backbone import Backbone
from curator.neuronset.manifest import NeuronEvidence, PeerEvidence
from curator.neuronset.measures import controlled_means, reported_auroc, target_evidence
from curator.neuronset.parts import document_parts
from curator.neuronset.select import ChosenNeurons
from curator.rosetta.neurons import RosettaNeurons
from curator.settings import NeuronSetSettings
from curator.text.probe import ProbeCorpus


def controlled_aurocs(
    backbone: Backbone,
    rosetta: RosettaNeurons,
    corpus: ProbeCorpus,
    positions: list[int],
    chosen: dict[str, ChosenNeurons],
    settings: NeuronSetSettings,
    progress: Callable[[int], None] | None,
) -> dict[str, dict[int, float]]:
    """For each target, AUROC by Rosetta position with token identity controlled for; nothing where that is not asked for."""
    if not settings.control_token_identity:
        return {}
    atlas, before = rosetta.anchor, len(corpus.documents)
    further = None if progress is None else lambda done: progress(before + done)
    mean_DK = controlled_means(backbone, atlas, corpus, rosetta.index[positions], further)
    parts_D, found = document_parts(atlas, settings), {}
    for target, selection in chosen.items():
        columns = [positions.index(position) for position in selection.position.tolist()]
        auroc_K = reported_auroc(atlas, mean_DK[:, columns] * selection.sign, parts_D, target)
        found[target] = dict(zip(selection.position.tolist(), auroc_K.tolist(), strict=True))
    return found


def neuron_evidence(
    rosetta: RosettaNeurons,
    position: int,
    sign: int,
    chosen: dict[str, ChosenNeurons],
    controlled: dict[str, dict[int, float]],
) -> NeuronEvidence:
    """The neuron at a Rosetta position, read with a sign; ``controlled`` is of ``controlled_aurocs``."""
    targets = {}
    for target, selection in chosen.items():
        found = np.flatnonzero(selection.position == position)
        if len(found):
            row = int(found[0])
            targets[target] = target_evidence(
                selection.report,
                selection.contexts,
                row,
                direction=sign * int(selection.sign[row]),
                auroc_fit=float(selection.auroc_fit[row]),
                auroc_controlled=controlled.get(target, {}).get(position),
            )
    return NeuronEvidence(
        id=str(rosetta.anchor.neuron(int(rosetta.index[position]))),
        sign=sign,
        strict=bool(rosetta.strict[position]),
        universal=bool(rosetta.universal[position]),
        matches=tuple(PeerEvidence(**match) for match in rosetta.matches_of(position)),
        targets=targets,
    )
