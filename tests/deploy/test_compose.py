"""The service on one machine: the compose file's schema, its commands run here, and metrics that the server really has."""

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml
from curator_server.app import _Background
from curator_server.jobs.settings import JobSettings
from prometheus_client.parser import text_string_to_metric_families

from curator.version import __version__
from tests.contract.job_fakes import FakeShelf
from tests.contract.service_fakes import SETTINGS, LetterScorer
from tests.deploy.commands import ROOT, as_image, free_port, running

COMPOSE = ROOT / "deploy/compose"
SERVICES = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
PROMETHEUS = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())
RULES = yaml.safe_load((COMPOSE / "alerts.yml").read_text())["groups"]
DASHBOARD = json.loads((COMPOSE / "grafana/dashboards/curator.json").read_text())
FUNCTIONS = {"avg_over_time", "by", "histogram_quantile", "increase", "le", "or", "and", "rate", "sum"}


def test_the_file_fits_the_schema_of_compose():
    check = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [check, "--builtin-schema", "vendor.compose-spec", COMPOSE / "compose.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def offered(tmp_path_factory):
    """Names of all series of a server with jobs, those that have no value yet included."""
    settings = SETTINGS.model_copy(
        update={"metrics_port": 0, "jobs": JobSettings(state=tmp_path_factory.mktemp("state"))}
    )
    with (
        _Background(settings, [LetterScorer()], FakeShelf()) as server,
        urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=30) as page,
    ):
        families = list(text_string_to_metric_families(page.read().decode()))
    ends = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count"), "info": ("",)}
    return {family.name + end for family in families for end in ends[family.type]}


def metrics_of(query):
    """Names in a query that are neither functions nor labels."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)", " ", query)
    return set(re.findall(r"[a-z_][a-z0-9_]*", bare)) - FUNCTIONS


def queries():
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return panels + [rule["expr"] for group in RULES for rule in group["rules"]]


@pytest.mark.parametrize("query", queries())
def test_every_metric_of_a_query_is_one_of_the_servers(offered, query):
    names = metrics_of(query)
    assert names - {"up"} <= offered, names - offered
    assert query.count("(") == query.count(")")
    assert names


def test_a_metric_that_is_not_there_would_be_noticed(offered):
    assert metrics_of('sum(rate(curator_docs_total{outcome="scored"}[1m]))') - offered == {"curator_docs_total"}


def test_every_metric_of_ours_is_on_the_dashboard(offered):
    shown = {name for query in queries() for name in metrics_of(query)}
    series = {name for name in offered if name.startswith(("curator_", "grpc_")) and not name.endswith("_created")}
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in series}
    assert ours <= bases | shown, ours - bases


def test_grafana_shows_the_dashboard_of_the_source_that_is_provisioned():
    provisioning = COMPOSE / "grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/curator.yaml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_prometheus_scrapes_the_port_that_the_server_opens():
    (job,) = PROMETHEUS["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert target == "server:9464"
    assert "--metrics-port=9464" in SERVICES["server"]["command"]
    assert all(f'job="{job["job_name"]}"' in query for query in queries() if query.startswith(("up", "process")))


def test_ports_are_open_to_this_machine_alone_and_ours_run_sealed():
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
    for name in ("identify", "server", "client"):
        assert SERVICES[name]["read_only"] and SERVICES[name]["cap_drop"] == ["ALL"]
        assert SERVICES[name]["image"] == f"rosetta-curator:${{CURATOR_TAG:-{__version__}}}"


def words_of(name):
    return [*SERVICES[name].get("entrypoint", ["curator"]), *SERVICES[name]["command"]]


@pytest.mark.slow
def test_the_commands_make_a_set_offer_it_and_filter_the_sample(tmp_path):
    shutil.copytree(COMPOSE / "samples", tmp_path / "samples")
    made = subprocess.run(**as_image(words_of("identify"), tmp_path), capture_output=True, check=False)
    assert made.returncode == 0, made.stderr
    port, metrics = free_port(), free_port()
    serve = [*words_of("server"), f"--port={port}", f"--metrics-port={metrics}"]
    with running(as_image(serve, tmp_path)) as server:
        for line in server.stderr:
            if line.startswith("{") and json.loads(line)["message"] == "serving":
                break
        words = [word.replace("server:50051", f"127.0.0.1:{port}") for word in words_of("client")]
        client = subprocess.run(**as_image(words, tmp_path), capture_output=True, check=False)
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=30) as page:
            assert 'curator_documents_total{outcome="scored"} 9.0' in page.read().decode()
        server.terminate()
        assert server.wait(90) == 0
    assert client.returncode == 0, client.stderr
    report = json.loads(client.stdout)
    assert report["documents_in"] == 9
    assert 1 <= report["documents_kept"] < 9
    assert (tmp_path / "var/lib/curator/kept/manifest.json").is_file()
