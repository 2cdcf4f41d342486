"""What identification refuses before it builds anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from curator.errors import ConfigError
from curator.neuronset.identify import IdentifySettings, ModelChoice, identify
from curator.zoo.catalog import resolve_model
from tests.atlas.core_world import make_corpus


def test_the_anchors_weights_under_another_name_are_no_peer(tmp_path: Path) -> None:
    anchor = ModelChoice.parse("zoo:neox-32x2")
    peers = [ModelChoice.parse("zoo:gpt2-32x2"), ModelChoice.parse(str(resolve_model("zoo:neox-32x2")))]
    with pytest.raises(ConfigError, match="is zoo:neox-32x2 itself, weight for weight"):
        identify(anchor, peers, make_corpus(), ["letters"], name="same", atlases=tmp_path, settings=IdentifySettings())
    assert not list(tmp_path.iterdir()), "no atlas was made first"
