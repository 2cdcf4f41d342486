"""Verification by a second pass: the exact correlation of candidate pairs over every span of the corpus, not a sample of them.

Held-back spans decide cheaply but are few, and what they call the nearest neuron is the nearest on a sample. Where the models
are at hand, both run once more over the corpus, only up to the deepest layer that holds a candidate, and for each span and
pair one product is added: float32 over a tile, float64 over tiles, by fold, so the same errors and halves come out. Of each
neuron alone, sums are kept once and not once a pair. Cost: a forward pass of both models, and P multiplications a span, with
16 candidates each way about N_B / 24 times fewer than all pairs. It does not know how candidates were found, and the spans
whose signatures proposed them are among those that it sums over.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from curator.atlas.spankeys import SpanKeys
from curator.atlas.spanvalues import TABLE_BYTES, Reading, SpanMode, span_values
from curator.atlas.store import Atlas
from curator.errors import FingerprintError
from curator.lm.backbone import Backbone
from curator.rosetta.matching import MEMORY_BYTES, MatchTable, Verify, match_atlases
from curator.rosetta.pairwise import pair_pattern
from curator.rosetta.products import AUDITED_PAIRS, PairAudit, SideSums
from curator.rosetta.verify import PairSums
from curator.settings import AtlasSettings, MatchSettings
from curator.text.probe import ProbeCorpus

_TILE_SPANS = 1024


def corpus_verifier(
    first: Backbone,
    second: Backbone,
    corpus: ProbeCorpus,
    settings: AtlasSettings,
    *,
    spans: SpanMode = "universal",
    table_bytes: int = TABLE_BYTES,
) -> Verify:
    """What makes ``match_views`` rank by ρ over the whole corpus; every call runs both models once, and certifies the sums.

    Memory: ``table_bytes`` for the values of a group of documents, and 8 F bytes a pair for the sums. A pair's sums do not
    depend on the other pairs. Raises as ``span_values`` does, when it is called.
    """
    keys = SpanKeys(corpus, settings)

    def verify(pairs_P2: np.ndarray) -> PairSums:
        sums = _CandidateSums(pairs_P2, settings.folds, settings.seed)
        if len(pairs_P2):
            readings = (Reading(first, sums.wanted_A), Reading(second, sums.wanted_B))
            for table in span_values(readings, keys, spans=spans, table_bytes=table_bytes):
                a_KR, b_KM = table.values
                sums.add(table.fold, a_KR, b_KM.to(a_KR.device))
        return sums.finish()

    return verify


def match_with_second_pass(
    backbones: tuple[Backbone, Backbone],
    atlases: tuple[Atlas, Atlas],
    corpus: ProbeCorpus,
    settings: MatchSettings,
    *,
    memory_bytes: int = MEMORY_BYTES,
) -> MatchTable:
    """Candidates by signature, ranked by ρ over the whole corpus; certified.

    Raises FingerprintError when the atlases are not comparable, or are not of these models and this corpus.
    """
    for atlas, backbone in zip(atlases, backbones, strict=True):
        wanted = (backbone.fingerprint, corpus.fingerprint)
        if (atlas.manifest.model_fingerprint, atlas.manifest.probe_fingerprint) != wanted:
            raise FingerprintError(
                f"The atlas of {atlas.manifest.model} is of another model or probe corpus than the second pass would run; "
                "give it the model and the corpus that the atlas was built from."
            )
    verify = corpus_verifier(*backbones, corpus, atlases[0].manifest.settings)
    return match_atlases(*atlases, settings, verify=verify, memory_bytes=memory_bytes)


class _CandidateSums:
    """Per-fold sums of P pairs; ``wanted_A`` and ``wanted_B`` are the flat indices of the neurons that occur in them."""

    def __init__(self, pairs_P2: np.ndarray, folds: int, seed: int) -> None:
        self.wanted_A, self._left_P = np.unique(pairs_P2[:, 0], return_inverse=True)
        self.wanted_B, self._right_P = np.unique(pairs_P2[:, 1], return_inverse=True)
        self._order_P = np.lexsort((self._right_P, self._left_P))
        generator = np.random.default_rng(seed)
        self._audited_S = generator.choice(len(pairs_P2), min(AUDITED_PAIRS, len(pairs_P2)), replace=False)
        self._count_F = np.zeros(folds)

    def add(self, fold: int, a_KR: torch.Tensor, b_KM: torch.Tensor) -> None:
        """Add the values of K spans of one fold, tile by tile."""
        if not self._count_F.any():
            self._start(a_KR, b_KM)
        for a, b in zip(a_KR.split(_TILE_SPANS), b_KM.split(_TILE_SPANS), strict=True):
            self._audit.add(a, b)
            a_RK, b_MK = self._a.add(fold, a).T.contiguous(), self._b.add(fold, b).T.contiguous()
            self._xy_FP[fold] += torch.sparse.sampled_addmm(self._pattern, a_RK, b_MK.T, beta=0.0).values()
        self._count_F[fold] += len(a_KR)

    def _start(self, a_KR: torch.Tensor, b_KM: torch.Tensor) -> None:
        folds, device = len(self._count_F), a_KR.device
        shape = (len(self.wanted_A), len(self.wanted_B))
        self._pattern = pair_pattern(self._left_P[self._order_P], self._right_P[self._order_P], shape).to(device)
        self._xy_FP = torch.zeros(folds, len(self._order_P), dtype=torch.float64, device=device)
        self._a, self._b = SideSums(folds, a_KR), SideSums(folds, b_KM)
        sampled = (torch.from_numpy(side[self._audited_S]).to(device) for side in (self._left_P, self._right_P))
        self._audit = PairAudit(*sampled)

    def finish(self) -> PairSums:
        """The sums in the order in which the pairs were given, certified."""
        if not self._count_F.any():
            nothing = [
                np.zeros((len(side), len(self._count_F))) for side in (self._order_P, self.wanted_A, self.wanted_B)
            ]
            xy, x, y = nothing
            return PairSums(xy, x, y, x, y, self._left_P, self._right_P, self._count_F, certificate=0.0)
        xy_PF = np.empty((len(self._order_P), len(self._count_F)))
        xy_PF[self._order_P] = self._xy_FP.T.cpu().numpy()
        (x, xx), (y, yy) = self._a.powers(), self._b.powers()
        sums = PairSums(xy_PF, x, y, xx, yy, self._left_P, self._right_P, self._count_F)
        return replace(sums, certificate=self._audit.worst_difference(sums.correlation()[self._audited_S]))
