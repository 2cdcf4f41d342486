"""The command from end to end on embedded text: few documents, one seed, a page that holds the numbers of the JSON file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curator.bakeoff import settings
from curator.bakeoff.book import markdown
from curator.bakeoff.cost import reading_costs
from curator.bakeoff.pretraining import PretrainingSettings
from curator.bakeoff.run import prepare
from curator.bakeoff.schedule import pretrain
from curator.bakeoff.settings import BakeoffSettings, PoolSettings, ProbeDials
from curator.bakeoff.world import domains_of
from curator.cli.main import app
from curator.errors import ConfigError
from curator.neuronset.identify import Silent

TINY = BakeoffSettings(
    anchor="zoo:neox-32x2",
    peers=("zoo:gpt2-32x2", "zoo:opt-32x2"),
    positives=(0, 3, 10),
    hard=False,
    dear=False,
    negatives=20,
    seeds=(0,),
    prevalence=0.2,
    pool=PoolSettings(passage_chars=400, pool_per_domain=20, examples_per_domain=16, test_per_domain=4),
    probe=ProbeDials(spans_per_domain=1_500, sketch_dimensions=128, held_back_spans=512),
)
DOMAINS = ("python", "cpp", "prose")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bakeoff") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "quick_settings", lambda: TINY)
        pairs = [word for name in DOMAINS for word in ("--domain", f"{name}=env:{name}?max_chars=300000")]
        done = CliRunner().invoke(app, ["bakeoff", "--quick", "--out", str(folder), "--unseen", "prose", *pairs])
    assert done.exit_code == 0, done.output
    assert "blended, Rosetta (default)" in done.output and "bakeoff.html" in done.output
    return folder


def test_the_json_holds_every_regime_with_bounds_that_hold(out: Path) -> None:
    found = json.loads((out / "bakeoff.json").read_text())
    assert set(found["regimes"]) == {"k0", "k3", "k10", "k10-unseen"}
    few = found["regimes"]["k3"]
    assert few["oracle"]["precision"] == 1.0
    assert few["random"]["precision"] < few["TF-IDF logistic"]["precision"] <= 1.0
    assert set(few["oracle"]["targets"]) == set(DOMAINS)
    assert "blended, Rosetta (default)" not in found["regimes"]["k0"]
    assert {one["zeroed"] for one in found["ablation"]} == {"set", "random", "matched"}


def test_domains_that_no_model_was_trained_on_are_shown_apart(out: Path) -> None:
    regimes = json.loads((out / "bakeoff.json").read_text())["regimes"]
    assert set(regimes["k10-unseen"]) == set(regimes["k10"])
    for name, entry in regimes["k10-unseen"].items():
        assert entry["targets"] == {"prose": regimes["k10"][name]["targets"]["prose"]}


def test_every_selector_but_the_bounds_has_a_cost_that_grows_with_what_it_reads(out: Path) -> None:
    found = json.loads((out / "bakeoff.json").read_text())
    entries, reading = found["regimes"]["k10"], found["reading"]
    assert {name for name, one in entries.items() if one["seconds_per_million"] is None} == {
        name for name, one in entries.items() if one["kind"] == "bound"
    }
    assert all(one["core_seconds"] > 0 and one["documents"] > 0 for one in reading.values())
    assert entries["linear, all neurons"]["seconds_per_million"] > reading["all neurons"]["seconds"]
    assert entries["fastText"]["seconds_per_million"] > reading["hashing words"]["seconds"]


def test_costs_are_measured_once(out: Path) -> None:
    pairs = [f"{name}=env:{name}?max_chars=300000" for name in DOMAINS]
    prepared = prepare(domains_of(pairs, None), TINY.model_copy(update={"unseen": ("prose",)}), out, Silent())
    stated = json.loads((out / "bakeoff.json").read_text())["reading"]
    assert {name: one.model_dump() for name, one in reading_costs(prepared, out, Silent()).items()} == stated


def test_a_target_that_is_no_domain_is_refused(tmp_path: Path) -> None:
    dials = TINY.model_copy(update={"unseen": ("proze",)})
    with pytest.raises(ConfigError, match="no domain 'proze'"):
        prepare(domains_of([f"{name}=env:{name}" for name in DOMAINS], None), dials, tmp_path, Silent())


def test_the_page_needs_nothing_and_shows_the_same_numbers(out: Path) -> None:
    page, found = (out / "bakeoff.html").read_text(), json.loads((out / "bakeoff.json").read_text())
    assert "<script" not in page and "http://" not in page and "https://" not in page
    for entry in found["regimes"]["k3"].values():
        assert f'value="{entry["precision"]}"' in page
    assert (out / "bakeoff.md").read_text() == markdown(found)


def test_continued_pretraining_resumes_and_refuses_a_model_that_took_part(out: Path) -> None:
    pairs = [f"{name}=env:{name}?max_chars=300000" for name in DOMAINS]
    prepared = prepare(domains_of(pairs, None), TINY, out, Silent())
    chosen = PretrainingSettings(
        base="zoo:gpt2-64x2",
        sequences_per_step=1,
        seeds=(0,),
        regime="k3",
        targets=("cpp",),
        selectors=("random", "oracle"),
    )
    first = pretrain(prepared, chosen, out, Silent())
    assert [one.selector for one in first] == ["base model", "random", "oracle"]
    assert first[2].precision == 1.0 and first[1].tokens == first[2].tokens > 0
    lines = (out / "pretraining.jsonl").read_text().splitlines(keepends=True)
    (out / "pretraining.jsonl").write_text("".join(lines[:2]))
    assert pretrain(prepared, chosen, out, Silent()) == first
    with pytest.raises(ConfigError, match="cannot be continued"):
        pretrain(prepared, chosen.model_copy(update={"base": TINY.anchor}), out, Silent())
