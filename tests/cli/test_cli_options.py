"""Options that become values, and the console's numbers."""

import io

import pytest
from rich.console import Console

from curator.cli.console import ConsoleReporter, FilterMeter, cell
from curator.cli.options import ProbeChoice, dials, identify_settings, parse_count, parse_size
from curator.cli.study_cmd import Named
from curator.errors import ConfigError
from curator.filtering.progress import Progress


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("512B", 512), ("128MB", 128_000_000), ("128MiB", 128 << 20), ("1.5 GiB", 3 << 29), ("2k", 2000)],
)
def test_sizes_are_read_in_powers_of_1000_or_1024(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "count"), [("2_000_000", 2_000_000), ("200000", 200_000), ("16M", 16_000_000), ("1.5B", 1_500_000_000)]
)
def test_counts_are_read_with_their_suffix(text, count):
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "MB", "-3", "1e6", "12 apples", "nan"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ConfigError, match="is not a"):
        parse_size(text)


def test_an_option_wins_over_the_settings_file(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("[atlas]\nsketch_dimensions = 512\nseed = 5\n[neuron_set]\nmax_neurons = 9\n")
    dials = identify_settings(file, atlas={"sketch_dimensions": 1024}, match={"seed": 3})
    assert (dials.atlas.sketch_dimensions, dials.atlas.seed) == (1024, 5)
    assert (dials.match.seed, dials.neuron_set.max_neurons) == (3, 9)


def test_the_seed_goes_into_every_table_and_other_options_into_their_own():
    given = dials(None, seed=4, sketch_dimensions=256, match={"intersect": "clique"}, neuron_set={"max_depth": 3})
    assert given.atlas.seed == given.match.seed == given.neuron_set.seed == 4
    assert (given.atlas.sketch_dimensions, given.match.intersect, given.neuron_set.max_depth) == (256, "clique", 3)
    assert dials(None).match.intersect == "star"


@pytest.mark.parametrize("text", ["[sketch]\nd = 1\n", "atlas = 3\n", "[atlas\n"])
def test_a_settings_file_with_another_table_is_refused(tmp_path, text):
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        identify_settings(file)


def test_a_budget_on_the_command_line_wins_over_the_probe_file(world):
    corpus = ProbeChoice(world.probe, [], 300, 1).build(ConsoleReporter())
    assert all(250 <= spans <= 300 for spans in corpus.spans_per_domain.values())


def test_a_group_of_a_study_is_read_from_one_word():
    assert Named.parse("160m=EleutherAI/pythia-160m, gpt2,facebook/opt-125m") == Named(
        "160m", ("EleutherAI/pythia-160m", "gpt2", "facebook/opt-125m")
    )


def test_a_reporter_without_a_terminal_prints_one_line_a_stage():
    stream = io.StringIO()
    with ConsoleReporter(Console(file=stream)) as reporter:
        reporter.stage("atlas of [bold]", 2000)
        for done in range(2000):
            reporter.advance(done)
        reporter.stage("matching")
    assert stream.getvalue() == "atlas of [bold] (2,000)\nmatching\n"


def test_a_reporter_on_a_terminal_draws_each_stage_to_its_end():
    stream = io.StringIO()
    with ConsoleReporter(Console(file=stream, force_terminal=True, width=100)) as reporter:
        reporter.stage("atlas", 10)
        reporter.advance(4)
        reporter.stage("matching")
    assert "10/10" in stream.getvalue() and "matching" in stream.getvalue()


def test_the_meter_says_how_far_a_phase_is_and_nothing_of_speed_before_anything_was_done():
    assert FilterMeter.text(Progress("select", total=1)) == "select: 0 of 1 steps"
    cutting = Progress("cut", detail="counting the lines of a.gz, 1.0 of 2.0 GB")
    assert FilterMeter.text(cutting) == "cut, counting the lines of a.gz, 1.0 of 2.0 GB"
    state = Progress("score", total=12, done=5, before=3, records=1200, tokens=50_000, seconds=2.0)
    assert FilterMeter.text(state) == "score: 5 of 12 steps, 1,200 records, 25,000 tokens/s, 7 s left"
    assert "2 h 46 min left" in FilterMeter.text(Progress("write", total=10_001, done=1, seconds=1.0))
    assert FilterMeter.text(Progress("write", total=601, done=1, seconds=1.0)).endswith("10 min left")


def test_the_meter_draws_on_a_terminal_and_is_silent_at_first_elsewhere():
    shown, quiet = io.StringIO(), io.StringIO()
    for stream, terminal in ((shown, True), (quiet, False)):
        with FilterMeter(Console(file=stream, force_terminal=terminal, width=100)) as meter:
            meter(Progress("score", total=4, done=1, records=64, tokens=640, seconds=1.0))
            meter(Progress("write", total=4))
    assert "64 records" in shown.getvalue() and "write: 0 of 4 steps" in shown.getvalue()
    assert quiet.getvalue() == ""


def test_cells_of_a_table():
    assert [cell(value) for value in (None, True, 1234567, 0.98765, "x")] == ["–", "yes", "1,234,567", "0.988", "x"]
