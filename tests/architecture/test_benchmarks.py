"""The benchmarks' harness, the paper's algorithm that they compare with, and the pages' tables. Nothing here is timed."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from benchmarks import bakeoff, identify, readme_table, serve
from benchmarks.atlas_pass import atlas_against_forward, recorded
from benchmarks.forward import our_pass, plain_pass
from benchmarks.growth import one_atlas
from benchmarks.harness import Paired, Row, in_child, machine, paired, peak_bytes, run_benchmark, write_report
from benchmarks.readme_table import BEGIN, END, HEADLINES, ROOT, QuickRunError, headlines, rendered, replaced
from benchmarks.two_pass import load_whole, paired_batches, shared_spans, two_pass
from benchmarks.worlds import TRUE_SHAPES, Shape, probe, save_random_model, zoo
from curator.lm.batching import Window, windows
from curator.settings import AtlasSettings
from curator.text.probe_store import save_probe

DIALS = {"sketch_dimensions": 256, "held_back_spans": 256}
ROW = Row("a_row", 1.5, "ratio", {"goal": "at most 2", "about": "first over second"})


@pytest.fixture(scope="module")
def corpus():
    return probe(800, max_document_spans=64)


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    shapes = (Shape("neox", 16, 3, 2, 512, 128), Shape("opt", 16, 2, 2, 700, 128))
    return [load_whole(save_random_model(shape, folder / shape.architecture)) for shape in shapes]


def window(ends, special=0):
    edges = [0, *ends]
    bytes_T2 = np.array([[0, 0]] * special + list(pairwise(edges)), dtype=np.int64)
    return Window(0, np.zeros(len(bytes_T2), np.int32), bytes_T2, np.ones(len(bytes_T2), bool))


def test_the_pages_hold_the_tables_of_the_committed_results():
    assert readme_table.main(["--check"]) == 0


def test_the_table_shows_every_row_and_the_machine(tmp_path):
    write_report(tmp_path / "one.json", [ROW, replace(ROW, name="another", value=12_345.6)], quick=False)
    table = rendered(tmp_path)
    assert "| `a_row` | 1.50 | at most 2 | first over second |" in table
    assert "| `another` | 12,346 |" in table
    assert f"{machine()['cores']} cores" in table and table.startswith("## one")


def test_the_short_table_has_the_headlines_and_fails_for_one_that_is_gone(tmp_path):
    rows = [replace(ROW, name=name) for name in (*HEADLINES["serve"], "other")]
    write_report(tmp_path / "serve.json", rows, quick=False)
    table = headlines(tmp_path)
    assert all(f"`{name}`" in table for name in HEADLINES["serve"]) and "`other`" not in table
    write_report(tmp_path / "serve.json", rows[1:], quick=False)
    with pytest.raises(KeyError, match=HEADLINES["serve"][0]):
        headlines(tmp_path)


def test_a_quick_run_is_no_result(tmp_path):
    write_report(tmp_path / "one.json", [ROW], quick=True)
    with pytest.raises(QuickRunError, match="one"):
        rendered(tmp_path)


def test_the_table_goes_between_the_marks_and_nowhere_else():
    assert replaced(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\nnew\n{END}\nb"
    with pytest.raises(ValueError, match="lacks the marks"):
        replaced("a\nb", "new")


def test_a_run_that_dies_leaves_the_rows_it_had(tmp_path, capsys):
    def dying(quick):
        yield replace(ROW, value=float(quick))
        raise RuntimeError("out of something")

    with pytest.raises(RuntimeError):
        run_benchmark("test", "", {"dying": dying}, ["--quick", "--json", str(tmp_path / "out.json")])
    report = json.loads((tmp_path / "out.json").read_text())
    assert set(report) == {"machine", "versions", "date", "quick", "rows"}
    assert report["quick"] is True
    assert report["rows"] == [
        {"name": "a_row", "value": 1.0, "unit": "ratio", "detail": {"goal": "at most 2", "about": "first over second"}}
    ]
    assert "dying" in capsys.readouterr().err


def test_only_the_wanted_sections_run_and_the_table_goes_to_stdout(capsys):
    def unwanted(quick):
        raise AssertionError("not asked for")

    run_benchmark("test", "", {"first": lambda quick: [ROW], "second": unwanted}, ["--only", "first"])
    assert "a_row" in capsys.readouterr().out


def test_pairs_are_run_in_turn_and_compared_round_by_round():
    order = []
    found = paired(lambda: order.append("A"), lambda: order.append("B"), 3)
    assert order == ["A", "B"] * 3
    assert len(found.first_s) == len(found.second_s) == 3
    assert Paired((1.0, 9.0, 3.0), (1.0, 3.0, 3.0)).ratio == 1.0


def test_the_machine_has_no_name():
    assert set(machine()) == {
        "cpu",
        "cores",
        "threads",
        "instructions",
        "memory_gib",
        "accelerator",
        "system",
    }


def test_a_benchmark_starts_as_a_script():
    found = subprocess.run(
        [sys.executable, ROOT / "benchmarks/identify.py", "--help"],
        capture_output=True,
        text=True,
        check=False,
        timeout=360,
    )
    assert found.returncode == 0, found.stderr
    assert "--quick" in found.stdout and "--json FILE" in found.stdout


def test_every_section_of_identification_and_of_the_bake_off_is_described():
    for benchmark in (identify, bakeoff):
        assert all(f"\n  {section} " in benchmark.__doc__ for section in benchmark.SECTIONS)
    assert set(serve.SECTIONS) == {"throughput", "transport", "latency", "client"}


def test_true_shapes_have_the_published_numbers_of_neurons():
    assert {name: shape.neurons for name, shape in TRUE_SHAPES.items()} == dict.fromkeys(TRUE_SHAPES, 36_864)


def test_spans_end_where_both_tokenizations_end():
    span_A, span_B, spans = shared_spans(window([2, 4, 7, 9]), window([4, 5, 7, 11], special=1))
    assert spans == 2
    assert span_A.tolist() == [0, 0, 1, -1]
    assert span_B.tolist() == [-1, 0, 1, 1, -1]


def test_every_shared_span_has_tokens_of_both_models(wholes, corpus):
    texts = [document.text for document in corpus.documents]
    batches = list(paired_batches(*wholes, texts, 128))
    for batch in batches:
        for side in (0, 1):
            assert torch.equal(torch.unique(batch.span[side]), torch.arange(batch.spans))
            assert batch.mask[side].flatten()[batch.token[side]].all()
    assert sum(batch.spans for batch in batches) > 0.5 * corpus.spans


def test_the_two_pass_algorithm_finds_the_mutual_nearest_neighbours_of_plain_correlation(wholes, corpus):
    texts = [document.text for document in corpus.documents]
    found = two_pass(*wholes, texts, 128)
    values = [_plain_values(whole, other, texts) for whole, other in ((wholes[0], wholes[1]), (wholes[1], wholes[0]))]
    rho_AB = np.corrcoef(values[0].T, values[1].T)[: wholes[0].neurons, wholes[0].neurons :]
    best_A, best_B = rho_AB.argmax(axis=1), rho_AB.argmax(axis=0)
    mutual = np.flatnonzero(best_B[best_A] == np.arange(len(best_A)))
    assert found.forwards == 1 + 1
    assert found.first.tolist() == mutual.tolist()
    assert found.second.tolist() == best_A[mutual].tolist()
    np.testing.assert_allclose(found.rho, rho_AB[mutual, best_A[mutual]], atol=1e-4)


def _plain_values(whole, other, texts):
    """Values of all neurons on the shared spans, (S, N), one text and one span at a time."""
    rows, kept = [], []
    handles = [
        site.down.register_forward_pre_hook(lambda _, x: kept.append(x[0].reshape(-1, x[0].shape[-1])))
        for site in whole.sites
    ]
    for text in texts:
        own, partner = (windows(one.tokenizer, [text], 128, 0, max_windows=1)[0] for one in (whole, other))
        span, _, count = shared_spans(own, partner)
        kept.clear()
        with torch.no_grad():
            whole.model(input_ids=torch.from_numpy(own.input_ids.astype(np.int64))[None])
        values_TN = torch.cat(kept, dim=1).numpy().astype(np.float64)
        rows += [values_TN[span == index].mean(axis=0) for index in range(count)]
    for handle in handles:
        handle.remove()
    return np.stack(rows)


def test_the_bare_forward_runs_the_batches_that_the_atlas_ran(corpus):
    backbone = zoo("neox-32x2")
    with recorded(backbone) as calls:
        compared = atlas_against_forward(backbone, corpus, AtlasSettings(**DIALS), 1)
    passes = 3 if compared.lanes == 1 else 4  # the recorded atlas, one round of both, and the forward in lanes
    shapes = Counter(tuple(named["input_ids"].shape) for _, named in calls)
    assert all(count % passes == 0 for count in shapes.values())
    positions = sum(rows * length * count // passes for (rows, length), count in shapes.items())
    assert compared.tokens == positions
    assert len(compared.times.first_s) == 1
    assert compared.lanes_s > 0
    assert compared.detail["ratio"] == round(compared.times.ratio, 4)


def test_both_loops_read_the_same_tokens(corpus):
    backbone = zoo("gpt2-32x2")
    texts = [document.text[:200] for document in corpus.documents]
    assert our_pass(backbone, texts) == plain_pass(backbone, texts, 4) > 0


def test_memory_is_that_of_a_process_of_its_own(corpus, tmp_path):
    ballast = np.ones(512 << 20, dtype=np.uint8)
    save_probe(corpus, tmp_path / "corpus")
    arguments = {"model": "neox-32x2", "corpus": tmp_path / "corpus", "folder": tmp_path / "atlas", "settings": DIALS}
    found, peak = in_child(one_atlas, **arguments)
    assert found["spans"] == corpus.spans
    assert found["neurons"] == 256
    assert (tmp_path / "atlas").is_dir()
    assert found["before_bytes"] <= peak < peak_bytes()
    assert ballast.nbytes < peak_bytes()
