"""Jobs on clusters: the RayJob on an emulated cluster of two machines, the Slurm array with an emulated ``sbatch``, Envoy."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import ValidationError

from curator.filtering.output import verify_output
from tests.cli.cli_world import curator
from tests.deploy.commands import ROOT
from tests.deploy.validation import validate
from tests.filtering.filtering_pool import files_of

RAYJOB = yaml.safe_load((ROOT / "deploy/ray/rayjob.yaml").read_text())
SLURM = ROOT / "deploy/slurm"
ENVOY = yaml.safe_load((ROOT / "deploy/envoy/envoy.yaml").read_text())
SBATCH = """#!/usr/bin/env bash
# Runs at once what sbatch would queue; an array's tasks in reverse.
set -euo pipefail
options=() count=1
while [[ $1 == --* ]]; do
  [[ $1 == --array=1-* ]] && count=${1#--array=1-}
  options+=("$1"); shift
done
echo "${options[*]} $*" >>"$LOG"
export SLURM_CPUS_PER_TASK=1 SLURM_ARRAY_TASK_COUNT=$count
for ((SLURM_ARRAY_TASK_ID = count; SLURM_ARRAY_TASK_ID >= 1; SLURM_ARRAY_TASK_ID--)); do
  export SLURM_ARRAY_TASK_ID
  bash "$@" >>"$LOG" 2>&1
done
wc -l <"$LOG"
"""


@pytest.fixture(scope="session")
def bucket(corpus):
    """The corpus behind an address that ``fsspec`` opens, through the same code as s3://; its store is a folder here."""
    return f"local://{corpus}"


@pytest.fixture(scope="module")
def expected(world, bucket, tools, tmp_path_factory):
    """What one process makes of the corpus, under the policy of the examples; both keep everything that has a score."""
    out = tmp_path_factory.mktemp("expected") / "out"
    command(tools, *filter_words(world, bucket, out), "--format", "parquet", "--piece-size", "256MiB")
    return files_of(out)


def filter_words(world, bucket, out):
    words = ("--neuron-set", world.neuron_set, "--token-budget", "20B", "--out", out)
    return ["filter", f"{bucket}/*.jsonl.zst", *map(str, words)]


def command(tools, *words, **environment):
    here = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | environment
    done = subprocess.run([tools / "curator", *words], env=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_the_rayjob_fits_the_schema_and_a_mistyped_one_does_not():
    validate(RAYJOB)
    for change in ({"entryPoint": "curator"}, {"backoffLimit": "two"}, {"submissionMode": "SSH"}):
        with pytest.raises(ValidationError):
            validate(RAYJOB | {"spec": RAYJOB["spec"] | change})


def test_the_rayjob_places_one_actor_on_each_worker_and_shares_the_output():
    cluster = RAYJOB["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    entry = shlex.split(RAYJOB["spec"]["entrypoint"])
    assert int(entry[entry.index("--workers") + 1]) == group["replicas"]
    pods = [cluster["headGroupSpec"]["template"]["spec"], group["template"]["spec"]]
    assert len({pod["containers"][0]["image"] for pod in pods}) == 1
    for pod in pods:
        mounts = {one["mountPath"]: one["name"] for one in pod["containers"][0]["volumeMounts"]}
        assert entry[entry.index("--out") + 1].startswith(f"{next(iter(mounts))}/")
        assert {one["name"] for one in pod["volumes"]} == set(mounts.values())


@pytest.mark.timeout(720)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_entry_point_of_the_rayjob_makes_the_bytes_of_one_process_on_two_machines(
    cluster, world, bucket, expected, tools, tmp_path
):
    shutil.copytree(world.neuron_set, tmp_path / "neuron-sets/default")
    name, *words = shlex.split(RAYJOB["spec"]["entrypoint"].replace("s3://example-corpus/web", bucket))
    assert name == "curator" and words[2].startswith("local://")
    command(tools, *(re.sub("^/shards", str(tmp_path), word) for word in words), RAY_ADDRESS=cluster.address)
    found = files_of(tmp_path / "web-20B")
    assert found == expected
    assert verify_output(tmp_path / "web-20B").documents_kept > 100


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_bucket_as_the_output_is_refused_before_anything_is_done(world, bucket, tmp_path, monkeypatch, engine):
    monkeypatch.chdir(tmp_path)
    words = filter_words(world, bucket, "s3://example-shards/web-20B")
    done = curator(*words, "--engine", engine)
    assert done.exit_code == 2
    assert "cannot be written to s3:// addresses; name a folder on a disk or a mounted volume" in done.output
    assert list(tmp_path.iterdir()) == []


def test_the_copy_that_the_rayjob_describes_brings_every_file_to_the_store(tmp_path):
    (copy,) = re.findall(r"python -c \"(.+)\"", (ROOT / "deploy/ray/rayjob.yaml").read_text())
    (tmp_path / "shards/web-20B/kept").mkdir(parents=True)
    (tmp_path / "shards/web-20B/kept/kept-00000.parquet").write_bytes(b"rows")
    (tmp_path / "shards/web-20B/manifest.json").write_bytes(b"{}")
    store = f"local://{tmp_path}/store"
    code = (
        copy.replace("/shards", f"{tmp_path}/shards").replace("s3://example-shards", store).replace("'s3'", "'local'")
    )
    for _ in range(2):  # a job that RayJob starts again copies again
        subprocess.run([sys.executable, "-c", code], check=True)
        assert files_of(tmp_path / "store/web-20B") == files_of(tmp_path / "shards/web-20B")


def test_the_scripts_are_clean():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [shellcheck, SLURM / "submit.sh", SLURM / "filter.sbatch"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def submit(folder, *words, **environment):
    return subprocess.run(
        ["bash", SLURM / "submit.sh", *map(str, words)],
        env=os.environ | {"TMPDIR_SHARED": str(folder)} | environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


def test_a_dry_run_shows_three_commands_and_sends_none(tmp_path):
    done = submit(tmp_path, 64, "--gres=gpu:1", "--", "a b/*.jsonl", "--out", "kept", DRY_RUN="1", PATH="/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    prepare, parts, finish = done.stderr.replace("\\", "").splitlines()
    assert prepare.endswith("filter.sbatch prepare")
    assert "--dependency=afterok:prepare" in parts and "--array=1-64 --gres=gpu:1" in parts
    assert "afterok:prepare,afterany:part" in finish and "--array" not in finish
    (words,) = tmp_path.glob("curator-filter-*.words")
    assert words.read_text() == "a b/*.jsonl\n--out\nkept\n"


@pytest.mark.parametrize("words", [(), ("none", "--", "a"), ("0", "--", "a"), ("4", "a"), ("4", "--")])
def test_a_submission_without_parts_or_command_is_refused(tmp_path, words):
    done = submit(tmp_path, *words)
    assert done.returncode != 0
    assert "usage: " in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.timeout(720)
def test_the_array_makes_the_bytes_of_one_process(world, bucket, expected, tools, tmp_path):
    slurm = tmp_path / "slurm"
    slurm.mkdir()
    (slurm / "sbatch").write_text(SBATCH)
    (slurm / "sbatch").chmod(0o755)
    words = [*filter_words(world, bucket, tmp_path / "out")[1:], "--format", "parquet", "--piece-size", "256MiB"]
    path = f"{slurm}:{tools}:{os.environ['PATH']}"
    done = submit(tmp_path, 2, "--", *words, PATH=path, LOG=str(tmp_path / "log"))
    log = (tmp_path / "log").read_text()
    assert done.returncode == 0, done.stderr + log
    assert "prepared 6 pieces" in log
    assert log.count("3 pieces, 3 of them scored now") == 2
    assert files_of(tmp_path / "out") == expected


def test_envoy_ends_no_stream_by_itself_and_speaks_http2_on_both_sides():
    (listener,) = ENVOY["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    (cluster,) = ENVOY["static_resources"]["clusters"]
    assert route["route"]["timeout"] == "0s" == manager["request_timeout"]
    assert route["route"]["max_stream_duration"]["max_stream_duration"] == "0s"
    assert (
        float(manager["stream_idle_timeout"].rstrip("s")) > 300
    )  # that of our client, which must be the first to give up
    assert manager["codec_type"] == "HTTP2"
    (upstream,) = cluster["typed_extension_protocol_options"].values()
    assert "http2_protocol_options" in upstream["explicit_http_config"]
    assert route["route"]["cluster"] == cluster["name"] == cluster["load_assignment"]["cluster_name"]


def test_envoy_finds_the_service_and_asks_for_the_health_that_readiness_asks_for():
    from curator_server.app import SCORING_SERVICE

    (cluster,) = ENVOY["static_resources"]["clusters"]
    (check,) = cluster["health_checks"]
    assert check["grpc_health_check"]["service_name"] == SCORING_SERVICE
    address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    service = yaml.safe_load((ROOT / "deploy/kubernetes/base/service.yaml").read_text())
    assert address["address"] == f"{service['metadata']['name']}.curator.svc.cluster.local"
    assert address["port_value"] == service["spec"]["ports"][0]["port"]
