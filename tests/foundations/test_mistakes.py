"""Refusals in one sentence: the nearest name, the unknown key and its place."""

import pytest
from pydantic import ValidationError

from curator.filtering.policy import Policy
from curator.mistakes import suggestion, wrong_setting
from curator.settings import NeuronSetSettings, Settings


class Outer(Settings):
    inner: NeuronSetSettings = NeuronSetSettings()
    several: tuple[NeuronSetSettings, ...] = ()


@pytest.mark.parametrize(
    ("word", "hint"),
    [("law-410", "; did you mean 'law-410m'?"), ("LAW-410M", "; did you mean 'law-410m'?"), ("physics", ""), ("", "")],
)
def test_the_nearest_known_name_is_suggested_and_no_far_one(word, hint):
    assert suggestion(word, ["law-410m", "biology"]) == hint


@pytest.mark.parametrize("value", [{"inner": {"sed": 1}}, {"several": [{"sed": 1}]}])
def test_an_unknown_key_is_named_with_its_table_and_the_nearest_known_one(value):
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    sentence = str(wrong_setting(caught.value, Outer, "s.toml"))
    assert sentence.endswith("of s.toml has the unknown key 'sed'; did you mean 'seed'?")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"token_budge": 3}, "The policy has the unknown key 'token_budge'; did you mean 'token_budget'"),
        ({"token_budget": 3, "targets": [{"name": "law", "wight": 1}]}, "'wight'; did you mean 'weight'"),
    ],
)
def test_a_typing_error_in_a_policy_names_the_nearest_key(given, says):
    with pytest.raises(ValidationError, match=says):
        Policy.model_validate(given)
