"""What identification refuses before it builds anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from curator.errors import ConfigError, InsufficientDataError
from curator.neuronset.identify import IdentifySettings, ModelChoice, identify
from curator.zoo.catalog import resolve_model
from tests.atlas.core_world import make_corpus


def test_the_anchors_weights_under_another_name_are_no_peer(tmp_path: Path) -> None:
    anchor = ModelChoice.parse("zoo:neox-32x2")
    peers = [ModelChoice.parse("zoo:gpt2-32x2"), ModelChoice.parse(str(resolve_model("zoo:neox-32x2")))]
    with pytest.raises(ConfigError, match="is zoo:neox-32x2 itself, weight for weight"):
        identify(anchor, peers, make_corpus(), ["letters"], name="same", atlases=tmp_path, settings=IdentifySettings())
    assert not list(tmp_path.iterdir()), "no atlas was made first"


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        ("leters", ConfigError, "only letters, digits, marks; did you mean 'letters'"),
        (
            "letters",
            InsufficientDataError,
            "20 probe documents of 'letters'.* 8 at least; give the target domain more text",
        ),
    ],
)
def test_a_target_that_cannot_be_filtered_for_is_told_before_a_model_is_looked_for(
    tmp_path: Path, target: str, error: type[Exception], says: str
) -> None:
    anchor, peers = ModelChoice.parse("no/such-anchor"), [ModelChoice.parse("no/such-peer")]
    with pytest.raises(error, match=says):
        identify(anchor, peers, make_corpus(20), [target], name="x", atlases=tmp_path, settings=IdentifySettings())
