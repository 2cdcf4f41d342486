"""``curator plan`` on models that no test machine could load, from their configurations alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curator.lm import speed
from tests.cli.cli_world import curator

CONFIGS = {
    "Pythia-12B": {
        "model_type": "gpt_neox", "hidden_size": 5120, "num_hidden_layers": 36, "num_attention_heads": 40,
        "intermediate_size": 20480, "vocab_size": 50688, "max_position_embeddings": 2048, "rotary_pct": 0.25,
    },
    "OPT-30B": {
        "model_type": "opt", "hidden_size": 7168, "word_embed_proj_dim": 7168, "num_hidden_layers": 48,
        "num_attention_heads": 56, "ffn_dim": 28672, "vocab_size": 50272, "max_position_embeddings": 2048,
    },
    "Qwen2.5-32B": {
        "model_type": "qwen2", "hidden_size": 5120, "num_hidden_layers": 64, "num_attention_heads": 40,
        "num_key_value_heads": 8, "intermediate_size": 27648, "vocab_size": 152064, "max_position_embeddings": 131072,
    },
}  # fmt: skip
NEURONS = {"Pythia-12B": 737_280, "OPT-30B": 1_376_256, "Qwen2.5-32B": 1_769_472}


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    made = {}
    for name, config in CONFIGS.items():
        made[name] = tmp_path / name
        made[name].mkdir()
        (made[name] / "config.json").write_text(json.dumps(config))
    return made


def rows(path: Path) -> dict[tuple[str, str], Any]:
    read = json.loads(path.read_text())
    assert all(sorted(row) == ["detail", "name", "unit", "value"] for row in read)
    return {(row["name"], row["detail"].rsplit("/", 1)[-1]): row["value"] for row in read}


def test_the_largest_models_are_planned_from_their_configurations(folders: dict[str, Path], tmp_path: Path) -> None:
    opt, qwen, pythia = (folders[name] for name in ("OPT-30B", "Qwen2.5-32B", "Pythia-12B"))
    result = curator("plan", opt, "--peer", qwen, "--peer", pythia, "--no-calibrate", "--device", "cpu",
                     "--dtype", "bfloat16", "--memory", "80GB", "--disk", "1TB", "--json", tmp_path / "p.json")  # fmt: skip
    assert result.exit_code == 0, result.output
    for name, neurons in NEURONS.items():
        assert f"{neurons:,}" in result.stdout
        assert name in result.stdout
    found = rows(tmp_path / "p.json")
    assert {name: found["neurons", name] for name in NEURONS} == NEURONS
    assert found["parameters", "OPT-30B"] == 29_974_540_288
    assert found["weights", "OPT-30B"] == 2 * 29_974_540_288
    assert found["gated", "Qwen2.5-32B"] is True
    assert found["fits", "OPT-30B"] is True
    assert found["forward", "OPT-30B"] == found["forward_token", "OPT-30B"] * 10_000_000
    assert not [name for name, _ in found if name.endswith("_time")]
    ratio = {
        row["detail"]: row["value"]
        for row in json.loads((tmp_path / "p.json").read_text())
        if row["name"] == "flop_ratio"
    }
    assert set(ratio) == {f"{opt} + {qwen}", f"{opt} + {pythia}"}
    assert min(ratio.values()) > 30


def test_what_does_not_fit_is_told_how_to_load(folders: dict[str, Path]) -> None:
    result = curator("plan", folders["Qwen2.5-32B"], "--no-calibrate", "--dtype", "bfloat16", "--memory", "24GB",
                     "--disk", "100GB")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "Qwen2.5-32B does not fit one device: load with --device sharded" in result.stdout
    assert "2,048 dimensions do not fit the disk" in result.stdout


def test_times_come_from_one_layer_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator.cli.plan_cmd._CALIBRATION_S", 0.2)
    out = tmp_path / "p.json"
    result = curator("plan", "zoo:neox-64x2", "--peer", "zoo:llama-64x2", "--tokens", "200k", "--json", out)
    assert result.exit_code == 0, result.output
    assert "timed on one layer over" in result.stdout
    found = rows(out)
    assert found["tokens", "float32 on cpu"] == 200_000
    assert found["forward_time", "zoo:neox-64x2"] > 0
    assert found["paper_time", "zoo:neox-64x2 + zoo:llama-64x2"] > found["match_time", "zoo:neox-64x2 + zoo:llama-64x2"]


def test_a_layer_too_large_to_time_says_so(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator.cli.plan_cmd._CALIBRATION_S", 0.2)
    monkeypatch.setattr(speed, "free_memory", lambda _: 1 << 30)
    result = curator("plan", folders["OPT-30B"], "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "timed on a matrix product, no layer fitted" in result.stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--tokens", "lots"), "CONFIG_INVALID"),
        (("--tokens", "0"), "CONFIG_INVALID"),
        (("--memory", "much"), "CONFIG_INVALID"),
        (("--device", "abacus"), "CONFIG_INVALID"),
        (("--dtype", "int4"), "CONFIG_INVALID"),
        (("--sketch-dimensions", "67"), "CONFIG_INVALID"),
        (("--peer", "zoo:cat"), "MODEL_NOT_FOUND"),
        (("--peer", "nobody/no-such-model"), "MODEL_NOT_FOUND"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_one_sentence(words: tuple[str, str], code: str, tmp_path: Path) -> None:
    result = curator("plan", "zoo:neox-64x2", "--no-calibrate", "--json", tmp_path / "p.json", *words)
    assert result.stderr.startswith(f"error [{code}]: ")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_broken_configuration_is_one_sentence(folders: dict[str, Path]) -> None:
    (folders["OPT-30B"] / "config.json").write_text(json.dumps(CONFIGS["OPT-30B"] | {"num_attention_heads": 5}))
    result = curator("plan", folders["OPT-30B"], "--no-calibrate")
    assert result.exit_code == 1
    assert result.stderr.startswith("error [MODEL_UNUSABLE]: ")
