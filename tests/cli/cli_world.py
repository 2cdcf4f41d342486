"""Tiny untrained models, small labelled text, and a way to call the command as a user does."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import CliRunner, Result

from curator.cli.main import app
from curator.zoo.architectures import train_tokenizer
from curator.zoo.recipe import FAMILIES

DOMAINS = ("letters", "digits", "marks")
_OWN = {
    "letters": ["lorem", "ipsum", "dolor", "sit", "amet", "consetetur", "sadipscing", "elitr", "sed", "diam", "nonumy"],
    "digits": [str(number) for number in range(10, 60)],
    "marks": ["++", "--", "**", "//", "==", "!=", "<=", ">=", "&&", "||", "::", "->", "=>", "??", "!!"],
}
_SHAPES: dict[str, dict[str, object]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_inner": 48, "n_positions": 64},
    "gpt_neox": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": 64,
    },
}
SETTINGS = """
[atlas]
sketch_dimensions = 256
folds = 4
held_back_spans = 1024
min_active_spans = 20
top_contexts = 6

[neuron_set]
rosetta_rule = "paper"
signature_neighbours = 4
signature_top_documents = 12
"""


@dataclass(frozen=True)
class CliWorld:
    """Everything that a command needs, in one folder."""

    root: Path

    @cached_property
    def probe(self) -> Path:
        """A probe file over one JSONL file for each domain."""
        lines = "\n".join(f'{domain} = "{domain}.jsonl"' for domain in DOMAINS)
        path = self.root / "probe.toml"
        path.write_text(f"tokens_per_domain = 3000\n\n[domains]\n{lines}\n")
        return path

    @cached_property
    def settings(self) -> Path:
        path = self.root / "settings.toml"
        path.write_text(SETTINGS)
        return path

    @cached_property
    def pool(self) -> Path:
        """90 documents of three domains, unseen, with one damaged line and one text that is too short to score."""
        path = self.root / "pool.jsonl"
        lines = [json.dumps(row) for row in rows(30, seed=7)]
        lines[5:5] = ["{this is no JSON", json.dumps({"id": "short", "text": "a"})]
        path.write_text("\n".join(lines) + "\n")
        return path

    def model(self, kind: str, seed: int = 0) -> Path:
        """A saved model of its own architecture, tokenizer and seed."""
        folder = self.root / f"{kind}-{seed}"
        if not folder.is_dir():
            save_model(kind, folder, seed)
        return folder

    @cached_property
    def neuron_set(self) -> Path:
        """A neuron set for ``digits``, made by the command itself."""
        folder = self.root / "sets" / "digits"
        result = self.identify("digits", folder)
        assert result.exit_code == 0, result.output
        return folder

    def identify(self, target: str, out: Path, *more: str) -> Result:
        return curator(
            "identify", "--model", self.model("gpt2"), "--peer", self.model("gpt_neox"),
            "--probe", self.probe, "--settings", self.settings, "--target", target, "--out", out, *more,
        )  # fmt: skip

    @classmethod
    def make(cls, root: Path) -> CliWorld:
        for domain in DOMAINS:
            lines = [json.dumps(row) for row in rows(80, seed=1) if row["domain"] == domain]
            (root / f"{domain}.jsonl").write_text("\n".join(lines) + "\n")
        return cls(root)


def curator(*words: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


def rows(per_domain: int, seed: int) -> list[dict[str, str]]:
    """Labelled documents in mixed order; each is a source of its own."""
    generator = np.random.default_rng(seed)
    made = [
        {
            "id": f"{domain}-{seed}-{number}",
            "text": text(domain, generator),
            "domain": domain,
            "source": f"{domain}/{seed}/{number}",
        }
        for domain in DOMAINS
        for number in range(per_domain)
    ]
    return [made[index] for index in generator.permutation(len(made))]


def text(domain: str, generator: np.random.Generator) -> str:
    """Words of one domain with a few that all share."""
    own, common = _OWN[domain], ["the", "ß", "7", "\n"]
    words = int(generator.integers(24, 48))
    return " ".join(str(generator.choice(own if generator.random() > 0.2 else common)) for _ in range(words))


def save_model(kind: str, folder: Path, seed: int) -> None:
    torch.manual_seed(len(kind) + seed)
    family = replace(FAMILIES[0], vocabulary=300 + len(kind))
    tokenizer = train_tokenizer(family, [row["text"] for row in rows(20, seed=3)])
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=0, pad_token_id=0, **_SHAPES[kind]
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
