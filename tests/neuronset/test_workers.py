"""Several processes make one atlas: the same as one process makes, and their failures are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curator.atlas.store import load_atlas
from curator.errors import ModelNotFoundError
from curator.neuronset.identify import ModelChoice, Silent, atlas_of
from curator.neuronset.workers import build_with_workers
from curator.settings import AtlasSettings
from tests.atlas.core_world import make_corpus

SETTINGS = AtlasSettings(sketch_dimensions=128, folds=4, held_back_spans=512, min_active_spans=20, top_contexts=5)


class _Counting(Silent):
    """Remembers what it hears of progress."""

    def __init__(self) -> None:
        self.done: list[int] = []

    def advance(self, done: int) -> None:
        self.done.append(done)


def test_two_workers_make_the_atlas_that_one_makes(tmp_path: Path) -> None:
    choice, corpus, counting = ModelChoice("zoo:neox-32x2", device="cpu"), make_corpus(), _Counting()
    alone, _ = atlas_of(choice, corpus, SETTINGS, tmp_path / "alone", Silent())
    together, _ = atlas_of(choice, corpus, SETTINGS, tmp_path / "together", counting, workers=2)
    assert counting.done[-1] == len(corpus.documents)
    assert counting.done == sorted(counting.done)
    assert together.fingerprint != "" and together.manifest.spans == alone.manifest.spans
    np.testing.assert_allclose(together["signature_Nd"], alone["signature_Nd"], atol=1e-5)
    np.testing.assert_allclose(together["document_mean_DN"], alone["document_mean_DN"], rtol=1e-4, atol=1e-5)
    (folder,) = (tmp_path / "together").iterdir()  # the work folder is gone
    assert load_atlas(folder).manifest == together.manifest


def test_what_a_worker_cannot_do_is_one_error_of_the_same_kind(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no/such/model"):
        build_with_workers(ModelChoice("no/such/model"), make_corpus(), SETTINGS, tmp_path / "x", 1, Silent())
    assert not (tmp_path / "x").exists()


def test_a_name_with_untrained_before_it_is_a_control_with_weights_of_its_own() -> None:
    control, other = (ModelChoice.parse(f"{word}:zoo:neox-32x2", device="cpu") for word in ("untrained", "untrained-3"))
    assert (control.name, control.draw, other.draw) == ("zoo:neox-32x2", 0, 3)
    first, again, third, trained = (
        choice.load() for choice in (control, control, other, ModelChoice("zoo:neox-32x2", device="cpu"))
    )
    assert first.name == "untrained:zoo:neox-32x2"
    assert third.name == "untrained-3:zoo:neox-32x2"
    assert first.fingerprint == again.fingerprint
    assert len({first.fingerprint, third.fingerprint, trained.fingerprint}) == 3
    assert first.tokenizer_fingerprint == trained.tokenizer_fingerprint
