"""The command itself: quick and light to start, every error one sentence with a code, interruption without leftovers."""

import json
import logging
import os
import socket
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from curator.cli import identify_cmd, logs, scorers
from curator.cli.failures import ReportingGroup, foreseen
from curator.cli.main import app
from curator.errors import ConfigError, all_error_classes
from curator.version import __version__
from tests.cli.cli_world import curator

VERBS = (
    "demo", "identify", "filter", "score", "serve", "health", "atlas", "match", "select", "study", "report", "bakeoff",
    "plan", "zoo", "list",
)  # fmt: skip
HEAVY = ("datasets", "faiss", "grpc", "matplotlib", "numpy", "pyarrow", "sklearn", "torch", "transformers")
LIGHT = """
import sys
import curator.cli.main
print(",".join(sorted(set(sys.argv[1].split(",")) & set(sys.modules))))
"""
WITHOUT_ENGINE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from curator.cli.main import app
app(sys.argv[2:])
"""


def python(*words):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=360, check=False)


def failing(error):
    """The command's own group around a verb that raises."""
    made = typer.Typer(cls=ReportingGroup, pretty_exceptions_enable=False)

    @made.callback()
    def group():
        pass

    @made.command()
    def verb():
        raise error

    return CliRunner().invoke(made, ["verb"])


def test_the_command_starts_without_any_heavy_library():
    result = python("-c", LIGHT, ",".join(HEAVY))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == ""


def test_without_the_engine_the_command_says_what_to_install(tmp_path):
    absent = ",".join(name for name in HEAVY if name != "grpc")
    helped = python("-c", WITHOUT_ENGINE, absent, "--help")
    assert helped.returncode == 0 and "identify" in helped.stdout
    (tmp_path / "set").mkdir()
    words = ("filter", str(tmp_path / "x.jsonl"), "--neuron-set", str(tmp_path / "set"), "--out", str(tmp_path / "o"))
    result = python("-c", WITHOUT_ENGINE, absent, *words, "--threshold", "0.5")
    assert result.returncode == 1
    assert result.stderr.startswith("error [EXTRA_MISSING]: ") and "'rosetta-curator[engine]'" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb):
    result = curator(verb, "--help")
    assert result.exit_code == 0 and "Usage" in result.output


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_every_option_whole_on_a_narrow_terminal(verb, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    command = typer.main.get_command(app).commands[verb]
    below = [((verb, name), sub) for name, sub in getattr(command, "commands", {}).items()]
    for words, one in [((verb,), command), *below]:
        shown = curator(*words, "--help").output
        names = [name for option in one.params for name in (*option.opts, *option.secondary_opts)]
        assert not [name for name in names if name.startswith("--") and name not in shown]
        assert max(map(len, shown.splitlines())) <= 80


def test_all_verbs_are_listed_and_the_version_is_printed():
    listed = curator("--help").output
    assert all(verb in listed for verb in VERBS)
    assert curator("--version").stdout.strip() == __version__


@pytest.mark.parametrize("error", all_error_classes(), ids=lambda error: error.code)
def test_every_error_of_ours_becomes_one_sentence_with_its_code(error):
    result = failing(error("It is\nwrong; put it right."))
    assert result.stderr == f"error [{error.code}]: It is wrong; put it right.\n"
    assert result.exit_code == (2 if error.code == "CONFIG_INVALID" else 1)


def test_what_the_operating_system_refuses_is_a_sentence_and_a_bug_is_not():
    full = failing(OSError(28, "No space left on device", "shard-0"))
    assert full.exit_code == 1 and "No space left on device (shard-0)" in full.stderr
    assert foreseen(BrokenPipeError()) is None
    assert isinstance(failing(ZeroDivisionError("a bug")).exception, ZeroDivisionError)
    assert isinstance(failing(ModuleNotFoundError("no", name="curator.oops")).exception, ModuleNotFoundError)


def test_ctrl_c_ends_with_130_and_a_word():
    result = failing(KeyboardInterrupt())
    assert result.exit_code == 130
    assert result.stderr == "interrupted; what was finished is kept, and the same command goes on from it\n"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("filter", "p.jsonl", "--out", "o"), "CONFIG_INVALID", "exactly one of --threshold"),
        (("filter", "p.jsonl", "--out", "o", "--threshold", "7"), "CONFIG_INVALID", "a probability lies in [0, 1]"),
        (("filter", "p.jsonl", "--out", "o", "--threshold", "7"), "CONFIG_INVALID", "--by value"),
        (("filter", "p.jsonl", "--out", "o", "--keep-fraction", "7"), "CONFIG_INVALID", "--keep-fraction is 7.0"),
        (("filter", "p.jsonl", "--out", "o", "--threshold", "1", "--soft", "5"), "CONFIG_INVALID", "--soft is 5.0"),
        (("filter", "p.jsonl", "--out", "o", "--threshold", "1", "--neuron-set", "x", "--cascade", "--cascade-recall", "2"),
         "CONFIG_INVALID", "--cascade-recall is wrong"),
        (("filter", "p.jsonl", "--out", "o", "--token-budget", "lots"), "CONFIG_INVALID", "'lots'"),
        (("filter", "p.jsonl", "--out", "o", "--threshold", "1", "--format", "csv"), "CONFIG_INVALID", "--format is wrong"),
        (("filter", "p.jsonl", "--out", "o", "--threshold", "1"), "CONFIG_INVALID", "--neuron-set"),
        (("filter", "p.jsonl", "--out", "o", "--threshold", "1", "--neuron-set", "absent"), "ARTIFACT_NOT_FOUND", "absent"),
        (("score", "absent.jsonl", "--neuron-set", "x"), "SOURCE_NOT_FOUND", "absent.jsonl"),
        (("score", "env:latin", "--neuron-set", "x"), "CONFIG_INVALID", "python"),
        (("score", "-", "--remote", "localhost:1", "--domain", "law"), "CONFIG_INVALID", "the server's"),
        (("atlas", "build", "m"), "CONFIG_INVALID", "--probe FILE"),
        (("atlas", "build", "m", "--domain", "law"), "CONFIG_INVALID", "'law' names no domain and source"),
        (("atlas", "build", "no/such/model", "--domain", "a=env:python", "--tokens-per-domain", "9"), "MODEL_NOT_FOUND", ""),
        (("atlas", "build", "zoo:cat", "--domain", "a=env:python", "--tokens-per-domain", "64"), "MODEL_NOT_FOUND", "'cat'"),
        (("atlas", "build", "m", "--probe", "absent.toml"), "SOURCE_NOT_FOUND", "absent.toml"),
        (("atlas", "build", "m", "--settings", "absent.toml"), "SOURCE_NOT_FOUND", "absent.toml"),
        (("atlas", "build", "m", "--sketch-dimensions", "67"), "CONFIG_INVALID", "multiple of folds"),
        (("identify", "--model", "a", "--peer", "b", "--target", "x/y"), "CONFIG_INVALID", "'x/y' cannot name"),
        (("serve", "--neuron-set", "absent"), "ARTIFACT_NOT_FOUND", "absent"),
        (("serve", "--neuron-set", "x", "--host", "0.0.0.0"), "CONFIG_INVALID", "without TLS"),
        (("study", "--out", "s.json"), "CONFIG_INVALID", "--group"),
        (("study", "--out", "s.json", "--group", "160m=alone"), "CONFIG_INVALID", "LABEL=ANCHOR,PEER"),
        (("zoo", "train", "--corpora", "c", "--out", "o", "--work", "w", "--only", "cat"), "CONFIG_INVALID", "'cat'"),
        (("zoo", "train", "--corpora", "c", "--out", "o", "--work", "w"), "SOURCE_NOT_FOUND", ".jsonl.zst"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)  # fmt: skip
def test_a_mistake_on_the_command_line_is_named(tmp_path, monkeypatch, words, code, says):
    monkeypatch.chdir(tmp_path)
    result = curator(*words)
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"error [{code}]: ") and says in last
    assert result.exit_code == (2 if code == "CONFIG_INVALID" else 1)
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


ALONE = [
    (
        "filter p --out o --threshold 1 --window-rule window",
        "--window-rule says nothing without --window or --from-scores",
    ),
    ("filter p --out o --threshold 1 --window 0 --window-rule window", "--window-rule says nothing without --window"),
    ("filter p --out o --threshold 1 --cascade-recall 0.9", "--cascade-recall says nothing without --cascade"),
    ("filter p --out o --threshold 1 --prevalence 0.1", "--prevalence says nothing without --precision"),
    ("filter p --out o --threshold 1 --seed 1", "--seed says nothing without --soft"),
    ("filter p --out o --threshold 1 --tls", "--tls says nothing without --remote"),
    ("filter p --out o --threshold 1 --remote h:1 --device cpu", "--device says nothing beside --remote"),
    ("filter p --out o --mix a=1 --domain a", "--domain says nothing beside --mix"),
    ("filter --out o --threshold 1 --from-scores d --text-field t", "--text-field says nothing beside --from-scores"),
    ("score p --neuron-set x --token t", "--token says nothing without --remote"),
    ("score p --neuron-set x --replace", "--replace says nothing without --out"),
    ("identify --model a --peer b --target c --study s.json", "--study says nothing without --report"),
    ("match a --peer b --min-rho 0.5", "--min-rho says nothing without --carry"),
    ("match --carry a --to b --rule paper", "--rule says nothing beside --carry"),
    ("serve --neuron-set x --max-jobs 2", "--max-jobs says nothing without --jobs"),
    ("serve --neuron-set x --metrics-host h", "--metrics-host says nothing without --metrics-port"),
    ("bakeoff --quick --seeds 2", "--seeds says nothing beside --quick"),
    ("study --out s --zoo --depth quick --replicates 5", "--replicates says nothing beside --depth"),
]


@pytest.mark.parametrize(("words", "says"), ALONE, ids=[words for words, _ in ALONE])
def test_an_option_that_would_be_ignored_is_refused(words, says):
    result = curator(*words.split())
    assert result.exit_code == 2 and says in result.stderr


def test_what_the_environment_says_is_no_option_on_the_command_line(monkeypatch):
    monkeypatch.setenv("CURATOR_TOKEN", "secret")
    assert "absent.jsonl" in curator("score", "absent.jsonl", "--neuron-set", "x").stderr


def test_a_taken_port_is_told_before_anything_is_looked_for():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words, option in ((("--port", port), "--port"), (("--port", 0, "--metrics-port", port), "--metrics-port")):
            result = curator("serve", "--neuron-set", "absent", *words)
            assert result.exit_code == 2 and f"name another port with {option}" in result.stderr


@pytest.mark.parametrize("words", ["--help", "zoo list"])
def test_a_reader_that_leaves_ends_the_command_quietly(words):
    reader, writer = os.pipe()
    os.close(reader)
    run = f"import sys; from curator.cli.main import run; sys.argv = ['curator', *{words.split()}]; run()"
    result = subprocess.run([sys.executable, "-c", run], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, "")


def test_twice_verbose_shows_the_traceback_of_a_foreseen_error():
    assert "Traceback" not in curator("-v", "serve", "--neuron-set", "absent").stderr
    assert "Traceback" in curator("-vv", "serve", "--neuron-set", "absent").stderr


def test_a_text_never_leaves_the_machine_because_of_the_environment(monkeypatch):
    monkeypatch.setenv("CURATOR_ADDRESS", "elsewhere.example:50051")
    with pytest.raises(ConfigError, match="--neuron-set FOLDER"):
        scorers.chosen_scorer(None)
    assert "CURATOR_ADDRESS" not in curator("filter", "--help").output


def test_a_log_record_is_one_json_object_a_line_with_its_extra_fields(capsys):
    logs.set_up_logging(1, as_json=True)
    log = logging.getLogger("curator.somewhere")
    log.info("kept %d\nof all", 3, extra={"out": "o", "name_": identify_cmd})
    log.debug("not shown")
    try:
        raise ValueError("deep")
    except ValueError:
        log.exception("failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["level"], first["logger"], first["message"], first["out"]) == (
        "INFO",
        "curator.somewhere",
        "kept 3\nof all",
        "o",
    )
    assert "ValueError: deep" in second["traceback"]


def test_plain_records_carry_their_extra_fields_too():
    record = logging.makeLogRecord({"msg": "serving", "address": "[::1]:1"})
    assert logs.PlainFormatter().format(record) == "serving  address=[::1]:1"


def test_what_libraries_put_on_every_record_is_not_shown():
    record = logging.makeLogRecord({"msg": "serving", "_ray_timestamp_ns": 1, "address": "[::1]:1"})
    assert logs.PlainFormatter().format(record) == "serving  address=[::1]:1"


def test_zoo_list_prints_a_line_for_each_bundled_model():
    from curator.zoo.catalog import bundled_models

    result = curator("zoo", "list")
    assert result.exit_code == 0, result.output
    assert all(f"zoo:{name}" in result.stdout for name in bundled_models())
    assert bundled_models() or "no model is bundled" in result.stderr


def test_the_entry_point_is_this_application():
    result = python("-c", "import sys; from curator.cli.main import run; sys.argv = ['curator', '--version']; run()")
    assert result.stdout.strip() == __version__
    assert callable(app)
