"""Probe specs from TOML, YAML and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curator.errors import ConfigError, MissingExtraError, SourceNotFoundError
from curator.text import probe_spec
from curator.text.probe_spec import ProbeSpec, load_probe_spec, parse_probe_pairs
from curator.text.splits import Split

TOML = """
tokens_per_domain = 5_000
seed = 3
split = "train"
[domains]
python = "env:python"
law = ["law.jsonl.zst", "/data/*.parquet?split=pool"]
[fields]
text_field = "body"
"""
YAML = """
tokens_per_domain: 5000
seed: 3
split: train
domains:
  python: env:python
  law:
    - law.jsonl.zst
    - /data/*.parquet?split=pool
fields: {text_field: body}
"""


@pytest.mark.parametrize(("name", "text"), [("p.toml", TOML), ("p.yaml", YAML), ("p.yml", YAML)])
def test_toml_and_yaml_say_the_same_and_relative_paths_start_at_the_file(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    spec = load_probe_spec(tmp_path / name)
    assert spec.domains == {
        "python": ("env:python",),
        "law": (f"{tmp_path}/law.jsonl.zst", "/data/*.parquet?split=pool"),
    }
    assert (spec.tokens_per_domain, spec.seed, spec.split, spec.fields.text_field) == (5_000, 3, Split.TRAIN, "body")
    assert spec.max_document_spans == ProbeSpec.model_fields["max_document_spans"].default


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.toml", "domains = {}", "wrong at domains"),
        ("p.toml", "[domains]\na = []", "at least one source"),
        ("p.toml", "[domains]\na = 'nosuch://x'", "use a path"),
        ("p.toml", "[domains]\na = 'env:python'\n[felds]\nx = 1", "unknown key 'felds'; did you mean 'fields'"),
        (
            "p.toml",
            "[domains]\na = '-'\n[fields]\ntext_feild = 1",
            "table 'fields' of .* key 'text_feild'; did you mean 'text_field'",
        ),
        ("p.toml", "[domain]\na = 'env:python'", "unknown key 'domain'; did you mean 'domains'"),
        (
            "p.toml",
            "zzz = 1\n[domains]\na = '-'",
            "unknown key 'zzz'; what can stand there: domains, tokens_per_domain",
        ),
        ("p.toml", "[domains]\na = '-'\nseed = 3", "'seed' is no domain; write it above the line"),
        ("p.toml", "tokens_per_domain = 0\n[domains]\na = '-'", "tokens_per_domain"),
        ("p.toml", "domains = ", "not valid TOML"),
        ("p.yaml", "domains: [", "not valid YAML"),
        ("p.yaml", "just words", "is wrong: input should be a valid dictionary"),
        ("p.json", "{}", r"neither \.toml nor \.yaml"),
    ],
)
def test_a_wrong_spec_is_named_with_its_place(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_probe_spec(tmp_path / name)


def test_a_missing_spec_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError):
        load_probe_spec(tmp_path / "absent.toml")


def test_a_spec_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes(b"domains: \xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_probe_spec(tmp_path / "p.yaml")


def test_yaml_without_pyyaml_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError(name)

    (tmp_path / "p.yaml").write_text(YAML)
    monkeypatch.setattr(probe_spec.importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match="pip install pyyaml"):
        load_probe_spec(tmp_path / "p.yaml")


def test_pairs_of_one_domain_add_up_and_keep_their_order() -> None:
    spec = parse_probe_pairs(["law=a.jsonl", "code=env:python?seed=3", "law=hf:x?split=train"], seed=4)
    assert spec.domains == {"law": ("a.jsonl", "hf:x?split=train"), "code": ("env:python?seed=3",)}
    assert list(spec.domains) == ["law", "code"]
    assert spec.seed == 4


@pytest.mark.parametrize("pairs", [["python"], ["=env:python"], ["python="], []])
def test_a_pair_without_both_sides_is_refused(pairs: list[str]) -> None:
    with pytest.raises(ConfigError):
        parse_probe_pairs(pairs)


def test_a_spec_is_frozen_and_refuses_unknown_fields() -> None:
    spec = parse_probe_pairs(["a=-"])
    with pytest.raises(ValueError, match="frozen"):
        spec.seed = 3  # type: ignore[misc]
    with pytest.raises(ConfigError, match="sead"):
        parse_probe_pairs(["a=-"], sead=3)
