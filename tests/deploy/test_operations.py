"""The operations guide: every command in it runs, or says that it needs a cluster; every fault of the tests is in it."""

import os
import re
import subprocess

import pytest

from curator.filtering.evaluation import kept_ids
from tests.deploy.commands import ROOT, free_port

GUIDE = (ROOT / "deploy/README.md").read_text()
BLOCKS = re.findall(r"^```([^\n]+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def lines(kind):
    return [line for name, body in BLOCKS if name == kind for line in body.splitlines()]


def test_every_block_is_run_or_needs_a_cluster_and_holds_commands_only():
    assert {name for name, _ in BLOCKS} == {"console", "console needs a cluster"}
    for kind in ("console", "console needs a cluster"):
        assert all(line.startswith("$ ") for line in lines(kind))
    assert all(re.match(r"\$ (kubectl|docker) ", line) for line in lines("console needs a cluster"))


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
@pytest.mark.timeout(280)
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
        ["bash", "-c", script], cwd=desk, env=environment, capture_output=True, text=True, check=False, timeout=270
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


@pytest.mark.parametrize(
    ("fault", "proof"),
    [
        (
            "server killed",
            "faults/test_service_kills.py::test_shards_are_the_same_bytes_through_a_hundred_dead_servers",
        ),
        (
            "client killed",
            "faults/test_service_kills.py::test_a_hundred_dead_clients_leave_no_work_behind_and_no_broken_result",
        ),
        ("stream cancelled", "server/test_server_faults.py::test_a_thousand_cancelled_streams_leave_nothing_behind"),
        (
            "reader that never reads",
            "server/test_server_faults.py::test_a_client_that_never_reads_costs_a_bounded_amount",
        ),
        ("queue full", "server/test_overload.py::test_a_full_queue_says_when_to_come_back_in_both_languages"),
        ("second SIGTERM", "server/test_server_drain.py::test_a_second_signal_ends_at_once_whatever_still_runs"),
        (
            "server with jobs killed",
            "server/test_jobs_for_real.py::test_a_filter_job_goes_on_after_its_server_was_killed",
        ),
        (
            "filter killed",
            "faults/test_filter_faults.py::test_a_process_that_is_killed_for_real_goes_on_where_it_stopped",
        ),
    ],
)
def test_a_fault_of_the_guide_is_one_that_a_test_makes(fault, proof):
    file, name = proof.split("::")
    assert re.search(rf"^\| {fault}", GUIDE, re.MULTILINE)
    assert f"def {name}" in (ROOT / "tests" / file).read_text()
