"""Scorers that are loaded late: what they say before, that they travel, and what they refuse."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from curator.errors import ConfigError, FingerprintError
from curator.neuronset.artifact import save_neuron_set
from curator.neuronset.identify import ModelChoice
from curator.records import Rejection
from curator.scoring.factory import ScorerFactory
from curator.scoring.identity import scorer_etag, target_of
from curator.scoring.one_target import OneTarget
from tests.atlas.core_world import make_backbone
from tests.neuronset.made_set import make_set
from tests.scoring.made_scorer import bad_documents, make_scorer, set_folder, unseen


def _factory(world: Path, **options: object) -> ScorerFactory:
    make_backbone("gpt2", world)
    model = ModelChoice(str(world / "core-gpt2-0"))
    return ScorerFactory.of(set_folder(world), model=model, **options)  # type: ignore[arg-type]


def test_a_factory_knows_before_loading_what_its_scorer_will_say(world: Path) -> None:
    factory = _factory(world, targets=("letters", "digits"))
    scorer = pickle.loads(pickle.dumps(factory))(1)
    names = ("name", "etag", "model_fingerprint", "targets")
    assert [getattr(factory, name) for name in names] == [getattr(scorer, name) for name in names]
    assert factory.targets == ("letters", "digits")


def test_the_computing_type_is_part_of_the_identity_unless_it_is_float32(world: Path) -> None:
    choice = ModelChoice(str(world / "core-gpt2-0"), dtype="bfloat16")
    plain = _factory(world, targets="digits")
    half = ScorerFactory.of(set_folder(world), targets="digits", model=choice)
    assert half.etag == f"{plain.etag}.bfloat16"
    assert half().etag == half.etag


def test_a_set_that_changed_since_is_refused(world: Path, tmp_path: Path) -> None:
    factory = replace(_factory(world, targets="digits"), folder=tmp_path / "other")
    changed = make_set(world)
    manifest = changed.manifest.model_copy(update={"version": "another"})
    save_neuron_set(replace(changed, manifest=manifest), tmp_path / "other")
    with pytest.raises(FingerprintError, match="changed since"):
        factory()


def test_an_unknown_or_unnamed_target_is_refused_before_anything_is_loaded(world: Path) -> None:
    for wrong in ("poetry", None):
        with pytest.raises(ConfigError):
            _factory(world, targets=wrong)


def test_a_scorer_of_one_target_becomes_one_of_several(world: Path) -> None:
    scorer, documents = make_scorer(world, "letters"), [*unseen(4), *bad_documents()]
    one = OneTarget.of(scorer)
    assert (one.targets, one.etag, one.name) == (("letters",), scorer.etag, scorer.name)
    for result, expected in zip(one.score_targets(documents), scorer.score(documents), strict=True):
        assert result == (expected if isinstance(expected, Rejection) else (expected,))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_target_can_be_read_off_an_etag(dtype: str) -> None:
    for target in ("law", "de.law", "x.linear"):
        assert target_of(scorer_etag("abc", {target: "linear"}, dtype)) == target
    assert target_of("fake") is None
