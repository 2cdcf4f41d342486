"""The manifests: rendered, held to Kubernetes' own schemas, and to what the server really does."""

import shutil
import subprocess

import pytest
import yaml
from jsonschema import ValidationError

from curator.version import __version__
from tests.deploy.commands import ROOT, environment_of_image, parsed_serve
from tests.deploy.rendering import merged, render
from tests.deploy.validation import validate

KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = ("cpu", "gpu", "tls")


def deployment(overlay):
    (found,) = [one for one in render(KUBERNETES / "overlays" / overlay) if one["kind"] == "Deployment"]
    return found


def server(overlay):
    (container,) = deployment(overlay)["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_resource_fits_the_strict_schema_of_its_kind(overlay):
    rendered = render(KUBERNETES / "overlays" / overlay)
    for resource in rendered:
        validate(resource)
    assert sorted(one["kind"] for one in rendered) == [
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"replica": 2}},
        {"spec": {"replicas": "two"}},
        {"spec": {"template": {"spec": {"terminationGracePeriod": 5}}}},
        {
            "spec": {
                "template": {"spec": {"containers": [{"name": "server", "livenessProbe": {"grpc": {"port": "x"}}}]}}
            }
        },
    ],
)
def test_a_mistyped_manifest_does_not_fit(change):
    with pytest.raises(ValidationError):
        validate(merged(deployment("cpu"), change))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_renders_the_same(overlay):
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl on this machine; the test's own rendering is not compared with it")
    done = subprocess.run(
        [kubectl, "kustomize", KUBERNETES / "overlays" / overlay], capture_output=True, text=True, check=True
    )
    theirs = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(done.stdout)}
    ours = {(one["kind"], one["metadata"]["name"]): one for one in render(KUBERNETES / "overlays" / overlay)}
    assert ours == theirs


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_servers_arguments_are_its_options_and_its_address_is_safe_to_open(overlay, tmp_path):
    container = server(overlay)
    settings = parsed_serve(container["args"], tmp_path)
    settings.check_exposure()
    assert settings.token_file is not None
    assert (settings.tls_certificate is not None) == (overlay == "tls")
    assert settings.insecure == (overlay != "tls")
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports == {"grpc": settings.port, "metrics": settings.metrics_port}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_is_not_killed_before_its_streams_have_left(overlay, tmp_path):
    pod = deployment(overlay)["spec"]["template"]["spec"]
    settings = parsed_serve(server(overlay)["args"], tmp_path)
    assert pod["terminationGracePeriodSeconds"] > settings.drain_delay_s + settings.grace_s + 10
    readiness = server(overlay)["readinessProbe"]
    assert readiness["failureThreshold"] * readiness["periodSeconds"] <= 20


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_new_pods_are_found_within_half_an_hour_and_no_stream_is_cut_for_it(overlay, tmp_path):
    settings = parsed_serve(server(overlay)["args"], tmp_path)
    assert 60 <= settings.max_connection_age_s <= 1800
    assert settings.max_connection_grace_s is None


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_ask_for_services_that_there_are_and_liveness_for_the_process_alone(overlay):
    from curator_server.app import SCORING_SERVICE, SERVICES

    container = server(overlay)
    startup, readiness, liveness = (container[f"{name}Probe"] for name in ("startup", "readiness", "liveness"))
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600
    if overlay == "tls":
        assert all("grpc" not in probe for probe in (startup, readiness, liveness))
        assert all(probe["exec"]["command"][:2] == ["curator", "health"] for probe in (startup, readiness, liveness))
        assert f"--service={SCORING_SERVICE}" in readiness["exec"]["command"]
        assert not any("service" in word for word in liveness["exec"]["command"])
    else:
        assert readiness["grpc"]["service"] in SERVICES
        assert "service" not in liveness["grpc"]
        assert {probe["grpc"]["port"] for probe in (startup, readiness, liveness)} == {50051}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_run_as_the_images_user_and_write_only_where_a_volume_is(overlay):
    pod = deployment(overlay)["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == 10001 and pod["securityContext"]["runAsNonRoot"]
    container = server(overlay)
    assert container["securityContext"]["readOnlyRootFilesystem"]
    writable = {one["mountPath"] for one in container["volumeMounts"] if not one.get("readOnly")}
    image = environment_of_image()
    assert {image["CURATOR_HOME"], image["HF_HOME"], "/tmp"} == writable
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}


def test_the_gpu_overlay_asks_for_a_gpu_and_its_image():
    assert server("gpu")["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert server("gpu")["image"].endswith(f":{__version__}-gpu")
    assert server("cpu")["image"].endswith(f":{__version__}")


def test_everything_that_selects_pods_selects_those_of_the_deployment():
    rendered = {one["kind"]: one for one in render(KUBERNETES / "overlays/cpu")}
    labels = rendered["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        rendered["Service"]["spec"]["selector"],
        rendered["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        rendered["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        rendered["Deployment"]["spec"]["selector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() and selector for selector in selectors)
    assert rendered["Service"]["spec"]["clusterIP"] == "None"
    assert rendered["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "curator"
    assert rendered["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_replicas_are_added_well_before_callers_are_refused(tmp_path):
    rendered = {one["kind"]: one for one in render(KUBERNETES / "overlays/cpu")}
    (metric,) = rendered["HorizontalPodAutoscaler"]["spec"]["metrics"]
    settings = parsed_serve(server("cpu")["args"], tmp_path)
    assert metric["pods"]["metric"]["name"] == "curator_queue_documents"
    assert int(metric["pods"]["target"]["averageValue"]) <= settings.max_queued_documents / 4
    rules = yaml.safe_load((KUBERNETES / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    assert all("curator_queue_documents" in rule["seriesQuery"] for rule in rules)
