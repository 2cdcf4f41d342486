"""What is asked of a prefilter before the model: part of a job's plan, so it is light and says what cannot be promised.

It does not know samples or scores: see ``cascade``.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from curator.errors import ConfigError
from curator.filtering.policy import Policy
from curator.settings import PrefilterSettings

PREFILTER = "prefilter"
"""Folder of the prefilter in a work folder and in an output, and the name of its step."""


class CascadeOptions(PrefilterSettings):
    """How a job's prefilter is made."""

    sample_documents: int = Field(default=60_000, ge=256)
    """About so many documents are drawn from the whole input, scored by the full scorer, and learned from."""
    sample_pieces: int = Field(default=4096, ge=1)
    """From at most so many pieces of the input, chosen at random; all of a smaller input are read."""


class CascadePlan(BaseModel):
    """What the prefilter of a job depends on beside its input and its scorer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    options: CascadeOptions
    policy: Policy = Field(description="The policy whose documents it must not lose.")

    @classmethod
    def of(cls, options: CascadeOptions, policy: Policy, targets: Sequence[str], window_characters: int) -> CascadePlan:
        """Raises ConfigError when nothing can be promised under the policy; says what to leave out."""
        if policy.field != "probability":
            raise ConfigError("A cascade needs probabilities; leave out raw values, or the cascade.")
        if window_characters and policy.windows != "window":
            raise ConfigError(
                "A cascade cannot stop parts of a document that is decided as a whole; decide windows on their own, or leave "
                "out the windows or the cascade."
            )
        limits = policy.limits_by_target(targets)
        if idle := [target for target in targets if target not in limits]:
            raise ConfigError(
                f"The policy keeps nothing for {idle[0]!r}, and a cascade needs a cutoff for every target; score for "
                "the policy's targets alone."
            )
        if policy.drops_copies and not all(limit.decides_alone for limit in policy.limits):
            raise ConfigError(
                "A cascade cannot foresee how far a fraction or a budget reaches once duplicates are dropped; set a threshold, "
                "drop duplicates in a second run (--from-scores), or leave out the cascade."
            )
        return cls(options=options, policy=policy)
