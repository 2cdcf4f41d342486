"""The operations guide: every command in it runs, or says what it needs and what to expect; every fault of the tests is in it."""

import os
import re
import subprocess

import pytest

from curator.filtering.evaluation import kept_ids
from tests.deploy.commands import ROOT, free_port
from tests.deploy.rendering import render

GUIDE = (ROOT / "deploy/README.md").read_text()
BLOCKS = re.findall(r"^```([^\n]+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def lines(kind):
    return [line for name, body in BLOCKS if name == kind for line in body.splitlines()]


NEEDS = {
    "console needs a container engine": r"(PYTHON_DIGEST=\S+ )?docker ",
    "console needs a cluster": r"kubectl ",
    "console needs Slurm": r"(deploy/slurm/submit\.sh|squeue|sbatch) ",
    "console needs a package index": r"make dist-check$",
}
CHECKLIST = GUIDE[GUIDE.index("## Checklist") :]


def test_every_block_is_run_or_says_what_it_needs_and_holds_commands_only():
    assert {name for name, _ in BLOCKS} == {"console", "text", *NEEDS}
    assert len(BLOCKS) * 2 == len(re.findall(r"^\s*(```|~~~)", GUIDE, re.MULTILINE))
    for kind in ("console", *NEEDS):
        assert all(line.startswith("$ ") for line in lines(kind))
    for kind, tools in NEEDS.items():
        assert all(re.match(rf"\$ {tools}", line) for line in lines(kind))
    assert not any(re.match(rf"\$ {tools}", line) for line in lines("console") for tools in NEEDS.values())


def test_no_command_hides_in_the_prose():
    """Names of commands may stand in it; one with options is to be copied, so it stands in a block or in the checklist."""
    prose = re.sub(r"^```.*?^```$", "", GUIDE[: GUIDE.index("## Checklist")], flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`((?:curator|curator-client|docker|kubectl|make|sbatch|python|pip) [^`]+)`", prose)
    assert spans and not [span for span in spans if " --" in span or len(span.split()) > 2]


def test_the_checklist_says_what_to_expect_of_every_command_that_was_not_run():
    for line in (line for kind in NEEDS for line in lines(kind)):
        words = [word for word in line[2:].replace("--namespace curator ", "").split() if "=" not in word]
        command = words[0] if words[0].endswith((".sh", "squeue")) else " ".join(words[:2])
        assert re.search(rf"`{re.escape(command)}\b", CHECKLIST), command


def test_the_checklist_lists_what_the_overlay_creates():
    (said,) = [body.splitlines() for name, body in BLOCKS if name == "text"]
    made = []
    for one in render(ROOT / "deploy/kubernetes/overlays/cpu"):
        group = "".join(f".{part}" for part in one["apiVersion"].split("/")[:-1])
        made.append(f"{one['kind'].lower()}{group}/{one['metadata']['name']} created")
    assert sorted(said) == sorted(made)


def test_what_the_guide_links_to_is_there():
    links = re.findall(r"\]\(([^)#]+)\)", GUIDE)
    assert links and all((ROOT / "deploy" / link).exists() for link in links)
    named = re.findall(r"(?<![\w/])deploy/[\w./-]*\w", GUIDE)
    assert named and all((ROOT / name).exists() for name in named)


@pytest.fixture
def desk(world, tmp_path):
    """A folder with what an operator has: two sets of different content, a pool."""
    home = tmp_path / "home"
    for name, target in (("law-v1", "digits"), ("law-v2", "letters")):
        made = world.identify(target, home / "neuron-sets" / name, "--name", name)
        assert made.exit_code == 0, made.output
    (tmp_path / "pool.jsonl").write_text(world.pool.read_text())
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(1120)
def test_the_commands_of_the_guide_run_in_order_as_they_stand(desk, tools):
    script = "\n".join(
        ["set -eo pipefail", "trap 'kill $(jobs -p) 2>&- || true' EXIT", *(x[2:] for x in lines("console"))]
    )
    ports = {port: str(free_port()) for port in ("50051", "50052", "50053", "9464")}
    for port, ours in ports.items():
        script = script.replace(port, ours)
    environment = os.environ | {
        "CURATOR_HOME": str(desk / "home"),
        "CURATOR_HEALTH_ADDRESS": f"127.0.0.1:{ports['50051']}",
        "CURATOR_ADDRESS": f"127.0.0.1:{ports['50051']}",
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=desk, env=environment, capture_output=True, text=True, check=False, timeout=1080
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "curator_queue_documents 0.0" in done.stdout
    assert "UNAUTHENTICATED" in done.stderr
    assert "prepared " in done.stdout and "part-2-of-2" in done.stdout
    kept = {name: shards(desk / name) for name in ("kept-before", "kept-after", "kept-back", "kept-v2")}
    assert kept["kept-before"] == kept["kept-after"] == kept["kept-back"] != kept["kept-v2"]
    assert len(list(kept_ids(desk / "kept-parts"))) == 45


def shards(folder):
    found = {path.name: path.read_bytes() for path in folder.glob("*.zst")}
    assert found
    return found


def test_the_alerts_of_the_guide_are_those_that_there_are():
    alerts = set(re.findall(r"alert: (\w+)", (ROOT / "deploy/compose/alerts.yml").read_text()))
    assert set(re.findall(r"^\| (Curator\w+) \|", GUIDE, re.MULTILINE)) == alerts


FAULTS = {
    "server killed": (
        "faults/test_service_kills.py::test_scores_are_complete_and_in_order_through_a_hundred_dead_servers",
        "faults/test_service_kills.py::test_shards_are_the_same_bytes_through_a_hundred_dead_servers",
        "client/test_client_replicas.py::test_a_stream_whose_replica_dies_goes_on_at_the_other",
    ),
    "client killed": (
        "faults/test_service_kills.py::test_a_hundred_dead_clients_leave_no_work_behind_and_no_broken_result",
    ),
    "client's machine gone": (
        "server/test_connection_age.py::test_a_client_whose_machine_is_gone_is_cut_off_once_it_gives_no_sign_of_life",
    ),
    "connection cut": (
        "client/test_client_filter.py::test_broken_streams_resume_to_the_same_bytes",
        "server/test_connection_age.py::test_shards_are_the_same_bytes_however_often_the_connection_is_cut",
    ),
    "server stops answering": ("client/test_client_streams.py::test_a_silent_server_is_taken_for_broken",),
    "worker hangs": (
        "server/test_overload.py::test_health_answers_within_100_ms_for_every_service_while_the_engine_never_rests",
    ),
    "stream cancelled": ("server/test_server_faults.py::test_a_thousand_cancelled_streams_leave_nothing_behind",),
    "reader that never reads": (
        "server/test_server_faults.py::test_a_client_that_never_reads_costs_a_bounded_amount_and_delays_nobody",
    ),
    "queue full": ("server/test_overload.py::test_a_full_queue_says_when_to_come_back_in_both_languages",),
    "damaged, oversized or malicious": (
        "server/test_size_caps.py::test_bombs_are_refused_one_by_one_in_bounded_memory_and_the_stream_goes_on",
        "server/test_errors_stay_inside.py::test_bytes_that_are_no_message_are_refused_without_a_word_of_the_inside",
    ),
    "another set": ("client/test_client_streams.py::test_another_neuron_set_after_a_restart_is_refused_not_mixed",),
    "SIGTERM": ("server/test_server_drain.py::test_sigterm_drains_in_order_and_ends_with_0_once_the_work_is_answered",),
    "second SIGTERM": ("server/test_server_drain.py::test_a_second_signal_ends_at_once_whatever_still_runs",),
    "a worker of a filter dies": (
        "faults/test_filter_faults.py::test_a_worker_that_dies_changes_nothing",
        "filtering/test_filter_engines.py::test_a_piece_that_takes_three_workers_with_it_ends_the_job_with_one_sentence",
    ),
    "server with jobs killed": ("server/test_jobs_for_real.py::test_a_filter_job_goes_on_after_its_server_was_killed",),
    "filter killed": (
        "faults/test_filter_faults.py::test_killed_over_and_over_the_output_is_the_same_to_the_byte",
        "faults/test_filter_faults.py::test_killed_at_every_operation_of_the_last_step_the_output_is_the_same",
        "faults/test_filter_faults.py::test_a_selection_from_kept_scores_survives_kills_too",
        "faults/test_filter_faults.py::test_a_process_that_is_killed_for_real_goes_on_where_it_stopped",
        "integrations/test_ray_engine.py::test_a_machine_lost_in_the_middle_changes_nothing",
    ),
    "part of an array": (
        "filtering/test_filter_parts.py::test_a_part_that_runs_again_scores_nothing_and_one_that_is_lost_is_made_at_the_end",
        "filtering/test_filter_parts.py::test_a_part_that_runs_twice_at_a_time_on_machines_with_equal_process_ids_makes_the_same_bytes",
    ),
    "disk full": (
        "faults/test_filter_faults.py::test_a_full_disk_ends_the_job_with_a_sentence_and_it_goes_on_when_there_is_room",
    ),
    "an input changed": (
        "filtering/test_filter_parts.py::test_an_input_that_changed_after_it_was_prepared_is_refused",
    ),
}
NO_FAULTS = {
    "test_an_injector_that_does_not_kill_changes_nothing_and_counts_the_points",
    "test_no_document_is_lost_or_doubled",
    "test_a_finished_job_is_compared_without_one_change_to_the_disk",
}


def test_every_fault_of_the_guide_has_a_test_that_makes_it_and_no_other():
    table = GUIDE[GUIDE.index("| fault |") :].partition("\n\n")[0].splitlines()[2:]
    rows = [row.split("|")[1].strip() for row in table]
    assert len(rows) == len(FAULTS)
    for row, fault in zip(rows, FAULTS, strict=True):
        assert row.startswith(fault)
    assert all(len(row.split("|")) == 5 and row.split("|")[3].strip() for row in table)


@pytest.mark.parametrize("proof", sorted({proof for proofs in FAULTS.values() for proof in proofs}))
def test_what_is_said_to_prove_a_recovery_is_there(proof):
    file, name = proof.split("::")
    assert re.search(rf"^(async )?def {name}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE)


def test_every_fault_that_the_tests_of_faults_make_is_in_the_guide():
    files = [*sorted((ROOT / "tests/faults").glob("test_*.py")), ROOT / "tests/server/test_server_faults.py"]
    made = {
        name for file in files for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    proofs = {proof.split("::")[1] for named in FAULTS.values() for proof in named}
    assert made and made - NO_FAULTS <= proofs, made - NO_FAULTS - proofs
