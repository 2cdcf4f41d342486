"""How far two ways of matching agree: the sketch against exact correlation, universal spans against shared boundaries.

Two match tables of the same two models are compared as sets of pairs, above a correlation. A pair that one table has just above
the threshold and the other just below is no disagreement, so the threshold is applied to one side at a time.
``match_every_way`` finds the matches of two models in all the ways there are, and its ``study`` is what is published about the
sketch. Cost: of a comparison nothing; of all the ways three forward passes of both models and three products of all pairs.
It does not know which table is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from curator.atlas.store import Atlas
from curator.lm.backbone import Backbone
from curator.rosetta.exact import exact_matches, exact_views
from curator.rosetta.matching import MatchTable, match_atlases, ranks_by_magnitude, true_view
from curator.rosetta.second_pass import match_with_second_pass
from curator.settings import MatchSettings
from curator.text.probe import ProbeCorpus

Verification = Literal["second_pass", "held_back"]
MIN_RHO = 0.15


@dataclass(frozen=True, slots=True)
class Agreement:
    """What of a reference's matches another table has.

    ``reference`` and ``other`` count the matches of at least ``min_rho``. ``recalled`` is the share of the reference's that the
    other has at any correlation (1 when there are none), ``missed`` their number; ``extra`` counts the other's that the
    reference has at no correlation. ``jaccard`` is that of the two thresholded sets, and ``worst_difference`` the largest
    |Δρ| over the matches that both have.
    """

    min_rho: float
    reference: int
    other: int
    recalled: float
    missed: int
    extra: int
    jaccard: float
    worst_difference: float

    @property
    def extra_share(self) -> float:
        """False extras as a share of the other's matches."""
        return self.extra / max(1, self.other)


def agreement(
    reference: MatchTable, other: MatchTable, *, min_rho: float = MIN_RHO, absolute: bool = False
) -> Agreement:
    """Compare two tables of the same two models; ``absolute`` where they rank by |ρ|."""
    size = 1 + max((int(table.second.max()) for table in (reference, other) if len(table)), default=0)
    ours, theirs = (table.first * size + table.second for table in (reference, other))
    strong, strong_too = (
        set(pairs[table.strength(absolute=absolute) >= min_rho].tolist())
        for pairs, table in ((ours, reference), (theirs, other))
    )
    missed = len(strong.difference(theirs.tolist()))
    _, mine, its = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
    either = strong | strong_too
    return Agreement(
        min_rho=min_rho,
        reference=len(strong),
        other=len(strong_too),
        recalled=(len(strong) - missed) / len(strong) if strong else 1.0,
        missed=missed,
        extra=len(strong_too.difference(ours.tolist())),
        jaccard=len(strong & strong_too) / len(either) if either else 1.0,
        worst_difference=float(np.abs(reference.rho[mine] - other.rho[its]).max(initial=0.0)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class EveryWay:
    """The matches of one pair of models found in every way.

    ``sketch`` verifies candidates on the held-back spans, ``second_pass`` over all spans; ``exact_held`` and ``exact`` try all
    pairs over the same spans as these two; ``exact_shared`` tries all pairs over the spans of shared boundaries [S, section 4.1].
    """

    first: str
    second: str
    absolute: bool
    sketch: MatchTable
    second_pass: MatchTable
    exact_held: MatchTable
    exact: MatchTable
    exact_shared: MatchTable

    def study(self, min_rho: float = MIN_RHO) -> SketchStudy:
        """Compare them at one threshold."""

        def against(reference: MatchTable, other: MatchTable) -> Agreement:
            return agreement(reference, other, min_rho=min_rho, absolute=self.absolute)

        return SketchStudy(
            first=self.first,
            second=self.second,
            held_back=against(self.exact_held, self.sketch),
            second_pass=against(self.exact, self.second_pass),
            no_second_pass=against(self.exact, self.sketch),
            shared_spans=against(self.exact, self.exact_shared),
        )


@dataclass(frozen=True, slots=True)
class SketchStudy:
    """What is published about one pair of models.

    ``held_back``: sketch and held-back verification against exact over the same held-back spans, so that it judges the
    candidates alone. ``second_pass``: sketch and second pass against exact over all spans, both as they are used.
    ``no_second_pass``: sketch and held-back verification against exact over all spans, what doing without the second pass costs.
    ``shared_spans``: exact over spans of shared boundaries against exact over universal ones.
    """

    first: str
    second: str
    held_back: Agreement
    second_pass: Agreement
    no_second_pass: Agreement
    shared_spans: Agreement

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def match_every_way(
    backbones: tuple[Backbone, Backbone], atlases: tuple[Atlas, Atlas], corpus: ProbeCorpus, settings: MatchSettings
) -> EveryWay:
    """Match one pair of models, whose atlases are of ``corpus``, in all the ways there are.

    Raises FingerprintError when the atlases are not comparable, and what ``exact_matches`` raises.
    """
    first, second = atlases
    absolute = ranks_by_magnitude(first, second, settings)
    views, folds_V, dials = (true_view(first), true_view(second)), first["held_fold_V"], first.manifest.settings
    return EveryWay(
        first=first.manifest.model,
        second=second.manifest.model,
        absolute=absolute,
        sketch=match_atlases(first, second, settings),
        second_pass=match_with_second_pass(backbones, atlases, corpus, settings),
        exact_held=exact_views(*views, folds_V, dials, settings, absolute),
        exact=exact_matches(*backbones, corpus, dials, settings),
        exact_shared=exact_matches(*backbones, corpus, dials, settings, spans="shared"),
    )


def recall_and_extra(
    studies: Sequence[SketchStudy], *, verification: Verification = "second_pass"
) -> tuple[float, int]:
    """The lowest recall over all pairs of models, and all false extras, by one way to verify candidates.

    ``second_pass`` compares with the exact product of all spans. ``held_back`` compares with that of the held-back spans, the
    best of all pairs on one sample, where candidates were proposed by the other: what it misses is partly chance.
    """
    measured = [getattr(study, verification) for study in studies]
    return min((part.recalled for part in measured), default=1.0), sum(part.extra for part in measured)
