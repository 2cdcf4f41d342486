import json
import random

import pytest

from curator.filtering.decontamination import Decontaminator
from curator.filtering.duplicates import MinHashAnnotator
from curator.filtering.output import OutputOptions
from curator.filtering.policy import Policy, TargetShare
from curator.filtering.shards import read_shard
from tests.filtering.filtering_pool import Factory, files_of, run, write_pool

QUESTION = "A train leaves the station at noon with forty passengers and returns at six with twelve fewer, how many?"


def prose(seed, words=80):
    draw = random.Random(seed)
    return " ".join("".join(draw.choices("abdegiklmnorstu", k=draw.randint(3, 8))) for _ in range(words))


def record(name, text, probability=0.8, tokens=10):
    return json.dumps({"id": name, "text": f"{text} p={probability} t={tokens}"})


@pytest.fixture
def pool(tmp_path):
    long = "\n\n".join(f"{prose(part, 40)} p={score} t=20" for part, score in ((90, 0.9), (91, 0.8), (92, 0.1)))
    return write_pool(
        tmp_path / "pool.jsonl",
        [
            record("first", prose(1)),
            record("copy", prose(1)),
            record("near", prose(1).replace(" ", " oh ", 1), 0.9),
            record("leak", f"{prose(2)} {QUESTION} {prose(3)}", 0.99),
            record("low", prose(4), 0.3),
            record("other", prose(5), 0.7),
            json.dumps({"id": "long", "text": long}),
        ],
    )


@pytest.fixture
def annotators(tmp_path):
    quiz = write_pool(tmp_path / "quiz.jsonl", [json.dumps({"text": QUESTION})])
    return MinHashAnnotator(), Decontaminator([str(quiz)])


def reasons(out):
    rows = [row for kind in ("kept", "rejected") for path in sorted((out / kind).iterdir()) for row in read_shard(path)]
    return {row["id"]: row["curator_reason"] for row in rows}


LAYOUT = OutputOptions(write_rejected=True)
CLEAN = {"drop_duplicates": True, "near_duplicates": 0.8}


def test_a_job_drops_copies_and_leaks_and_decides_long_documents_by_their_windows(pool, annotators, tmp_path):
    report = run(
        pool,
        tmp_path / "out",
        Policy(threshold=0.5, **CLEAN),
        annotators=annotators,
        options=LAYOUT,
        window_characters=350,
    )
    assert reasons(tmp_path / "out") == {
        "first": "near_duplicate",
        "copy": "duplicate",
        "near": "",
        "leak": "contaminated",
        "low": "below_threshold",
        "other": "",
        "long": "",  # its three windows have a mean of 0.6
    }
    assert report.documents_kept == 3
    assert report.rejected == {"below_threshold": 1, "contaminated": 1, "duplicate": 1, "near_duplicate": 1}


def test_windows_may_be_kept_on_their_own(pool, annotators, tmp_path):
    policy = Policy(threshold=0.5, windows="window", **CLEAN)
    run(pool, tmp_path / "out", policy, annotators=annotators, options=LAYOUT, window_characters=350)
    found = reasons(tmp_path / "out")
    assert [found[f"long#w{number}"] for number in range(3)] == ["", "", "below_threshold"]


def test_several_targets_share_a_budget_in_one_pass(pool, annotators, tmp_path):
    shares = (TargetShare(name="law", weight=2, threshold=0.5), TargetShare(name="math", weight=1, threshold=0.5))
    policy = Policy(targets=shares, token_budget=40, **CLEAN)
    report = run(
        pool, tmp_path / "out", policy, Factory(targets=("law", "math")), annotators=annotators, options=LAYOUT
    )
    rows = [row for path in sorted((tmp_path / "out" / "kept").iterdir()) for row in read_shard(path)]
    assert {row["id"]: row["curator_target"] for row in rows} == {"near": "law", "low": "math"}
    assert {name: target.tokens_kept for name, target in report.targets.items()} == {"law": 10, "math": 10}


def test_the_same_job_in_other_pieces_selects_the_same_documents(pool, annotators, tmp_path):
    policy = Policy(keep_fraction=0.5, soft_width=0.4, seed=11, **CLEAN)
    for name, piece_bytes in (("whole", 1 << 20), ("cut", 600)):
        run(
            pool,
            tmp_path / name,
            policy,
            annotators=annotators,
            options=LAYOUT,
            window_characters=350,
            piece_bytes=piece_bytes,
        )
    whole, cut = (reasons(tmp_path / name) for name in ("whole", "cut"))
    assert whole == cut
    assert len(files_of(tmp_path / "cut")) >= len(files_of(tmp_path / "whole"))
