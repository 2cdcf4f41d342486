"""How ``curator match`` decides which neurons match: signatures and held-back spans, a second pass, or exact correlation.

``sketch`` runs no model. The others run anchor and peer over the probe corpus again: ``second-pass`` verifies the sketch's
candidates on every span, ``exact`` correlates all pairs, ``shared`` does so over the spans between boundaries that both
tokenizers share [S, section 4.1]. The nulls are the sketch's in every mode, and over universal spans; to ``shared`` they say
nothing, so it has no q-values and no strict set. Models must be named as models: a folder of an
atlas says what was run, not where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from curator.cli.atlas_sources import AtlasSource, atlas_in
from curator.errors import ConfigError

if TYPE_CHECKING:
    from curator.atlas.store import Atlas
    from curator.rosetta.matching import MatchTable
    from curator.rosetta.neurons import Matcher
    from curator.settings import MatchSettings
    from curator.text.probe import ProbeCorpus

Mode = Literal["sketch", "second-pass", "exact", "shared"]


def require_models(mode: Mode, places: Sequence[str]) -> None:
    """Raise ConfigError when a mode runs the models and one of them is given as the folder of its atlas."""
    folders = [place for place in places if atlas_in(place) is not None]
    if mode != "sketch" and folders:
        raise ConfigError(f"--mode {mode} runs the models again; name the model in place of its atlas {folders[0]}.")


def matcher_for(
    mode: Mode,
    places: Sequence[str],
    atlases: Sequence[Atlas],
    corpus: ProbeCorpus | None,
    source: AtlasSource,
    settings: MatchSettings,
) -> Matcher | None:
    """What finds the anchor's matches with a peer; None for the sketch. The anchor comes first in ``places`` and ``atlases``.

    ``corpus`` is what the atlases were built from; only the sketch does without (see ``require_models``).
    """
    if mode == "sketch" or corpus is None:
        return None
    from curator.rosetta.exact import exact_matches
    from curator.rosetta.second_pass import match_with_second_pass

    names = {id(atlas): place for place, atlas in zip(places, atlases, strict=True)}
    anchor, anchor_model = atlases[0], source.model(places[0]).load()

    def match(peer: Atlas) -> MatchTable:
        models = anchor_model, source.model(names[id(peer)]).load()
        if mode == "second-pass":
            return match_with_second_pass(models, (anchor, peer), corpus, settings)
        spans = "shared" if mode == "shared" else "universal"
        return exact_matches(*models, corpus, source.settings, settings, spans=spans)

    return match
