"""Which models are continued on which selections, and what the losses say: the outer loop of continued pretraining.

Seeds outermost, then targets, then selectors, so that a run that is stopped has whole seeds first. Every finished model is a
line in a file. Cost: ``pretraining``'s for each model. It does not train.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from curator import fingerprint
from curator.bakeoff.language import CausalModel, load_causal
from curator.bakeoff.lines import add_line, read_lines
from curator.bakeoff.pretraining import (
    PretrainingSettings,
    continue_pretraining,
    mean_loss,
    recovered_gain,
    token_budget,
)
from curator.bakeoff.run import Prepared
from curator.bakeoff.selectors import Lesson
from curator.bakeoff.tasks import Task, draw_task, regimes
from curator.errors import ConfigError
from curator.neuronset.identify import ModelChoice, Reporter
from curator.zoo.catalog import PREFIX

BASE = "base model"


class Trained(BaseModel):
    """One continued model; ``target`` and ``general`` are losses in nats per token. The base model itself has no tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    domain: str
    seed: int
    selector: str
    target: float
    general: float
    tokens: int
    documents: int
    precision: float


def pretrain(prepared: Prepared, settings: PretrainingSettings, folder: Path, reporter: Reporter) -> list[Trained]:
    """Train what has not been trained. Raises ConfigError for a base model that took part, or that is not of the zoo."""
    used = (prepared.settings.anchor, *prepared.settings.peers)
    if settings.base in used or not settings.base.startswith(PREFIX):
        raise ConfigError(f"{settings.base} cannot be continued; name a zoo: model that is none of {', '.join(used)}.")
    identity = fingerprint.of_parts(
        [prepared.identity, settings.model_dump_json(exclude={"seeds", "targets", "selectors"})]
    )[:24]
    path = folder / "pretraining.jsonl"
    stored = map(Trained.model_validate, read_lines(path, identity))
    found = {(one.domain, one.seed, one.selector): one for one in stored}
    backbone = ModelChoice.parse(settings.base).load()
    causal = load_causal(backbone, settings.base)
    tasks = list(_tasks(prepared, settings))
    names = (BASE, *settings.selectors)
    reporter.stage("continued pretraining", len(tasks) * len(names))
    for done, (task, name) in enumerate((task, name) for task in tasks for name in names):
        if (task.target, task.seed, name) not in found:
            one = _trained(prepared, causal, task, name, settings)
            found[one.domain, one.seed, one.selector] = one
            add_line(path, identity, one.model_dump())
        reporter.advance(done + 1)
    return list(found.values())


def gains(trained: list[Trained]) -> dict[str, dict[str, list[float]]]:
    """By selector and domain, the recovered oracle gain of every seed."""
    by_key = {(one.domain, one.seed, one.selector): one.target for one in trained}
    found: dict[str, dict[str, list[float]]] = {}
    for (domain, seed, name), loss in sorted(by_key.items()):
        ends = by_key.get((domain, seed, "random")), by_key.get((domain, seed, "oracle"))
        if name != BASE and ends[0] is not None and ends[1] is not None:
            found.setdefault(name, {}).setdefault(domain, []).append(recovered_gain(ends[0], ends[1], loss))
    return found


def _tasks(prepared: Prepared, settings: PretrainingSettings) -> Iterator[Task]:
    regime = next((one for one in regimes(prepared.settings) if one.name == settings.regime), None)
    if regime is None:
        raise ConfigError(f"The bake-off has no regime {settings.regime!r}; name one that it runs.")
    for seed in settings.seeds:
        for target in settings.targets or prepared.world.domains:
            task = draw_task(regime, target, seed, prepared.domain_D, prepared.in_pool_D, prepared.settings)
            if task is not None:
                yield task


def _trained(prepared: Prepared, causal: CausalModel, task: Task, name: str, settings: PretrainingSettings) -> Trained:
    domain = task.target
    target_texts, general_texts = prepared.world.test_texts(domain, settings.general_per_domain)
    about = {"domain": domain, "seed": task.seed, "selector": name}
    if name == BASE:
        losses = (mean_loss(causal, texts) for texts in (target_texts, general_texts))
        return Trained(**about, target=next(losses), general=next(losses), tokens=0, documents=0, precision=0.0)
    field = prepared.fields[task.regime.short]
    selector = next((one for one in field.selectors if one.name == name), None)
    if selector is None:
        raise ConfigError(f"There is no selector {name!r} to train on.")
    scores_D = np.nan_to_num(selector.fit(Lesson.of(task))(task.pool_D), nan=-np.inf)
    order = task.pool_D[np.argsort(-scores_D, kind="stable")]
    texts = field.texts.texts
    tokens = token_budget(causal, [texts[row] for row in task.pool_D[task.truth_D]], settings)
    ranked = [texts[row] for row in order]
    losses = continue_pretraining(causal, ranked, tokens, target_texts, general_texts, settings, task.seed)
    precision = float((prepared.domain_D[order[: losses.documents]] == domain).mean())
    return Trained(**about, **asdict(losses), precision=precision)
