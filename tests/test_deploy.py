"""What no linter knows of the manifests, the image, compose and the workflows."""

import json
import os
import re
import shutil
import subprocess
from functools import cache
from typing import Any

import pytest
import yaml

from gisttracker.environment import VARIABLES
from tests.conftest import ROOT

# Of use on a developer's machine only.
NOT_DEPLOYED = {"SQLITE_PATH", "TEST_DATABASE_NAME"}
# Fixed by the image: in the cluster it is not the environment's affair.
BY_COMPOSE_FIXED = {"HOST", "PORT"}
TOKENS = ("github", "pipedrive-token", "pipedrive_token")
KUBERNETES = ROOT / "deploy/kubernetes"


@cache
def rendered(folder: str) -> list[dict[str, Any]]:
    kubectl = shutil.which("kubectl")
    if not kubectl:
        assert not os.environ.get("CI"), "CI has kubectl"
        pytest.skip("kubectl is not installed; it renders the manifests")
    text = subprocess.run([kubectl, "kustomize", str(KUBERNETES / folder)], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(text.stdout))


def one(kind: str, name: str, folder: str = "base") -> Any:
    (found,) = [row for row in rendered(folder) if (row["kind"], row["metadata"]["name"]) == (kind, name)]
    return found


def pod_of(workload: dict[str, Any]) -> Any:
    spec = workload["spec"]
    return (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]["spec"]


def workloads(folder: str = "base") -> list[dict[str, Any]]:
    kinds = ("Deployment", "Job", "CronJob", "StatefulSet")
    return [row for row in rendered(folder) if row["kind"] in kinds]


def compose() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


# --- settings ---
def test_every_setting_reaches_the_cluster() -> None:
    configured = {name for row in rendered("base") if row["kind"] == "ConfigMap" for name in row["data"]}
    for workload in workloads():
        for container in pod_of(workload)["containers"]:
            configured |= {row["name"].removesuffix("_FILE") for row in container.get("env", [])}

    assert {variable.name for variable in VARIABLES} - NOT_DEPLOYED - configured == set()


def test_no_manifest_names_a_setting_that_does_not_exist() -> None:
    known = {variable.name for variable in VARIABLES}
    named = {name for row in rendered("base") if row["kind"] == "ConfigMap" for name in row["data"]}

    assert named - known == set()


def test_every_setting_reaches_the_containers_of_compose() -> None:
    services = compose()["services"]
    given = set(services["web"]["environment"]) | set(services["worker"]["environment"])

    assert {variable.name for variable in VARIABLES} - NOT_DEPLOYED - BY_COMPOSE_FIXED - given == set()


# --- secrets ---
@pytest.mark.parametrize("folder", ["base", "overlays/local", "overlays/gke"])
def test_secrets_are_files_and_never_values(folder: str) -> None:
    assert not [row for row in rendered(folder) if row["kind"] == "Secret"]
    for variable in (variable for variable in VARIABLES if variable.secret):
        for workload in workloads(folder):
            for container in pod_of(workload)["containers"]:
                assert variable.name not in [row["name"] for row in container.get("env", [])]


@pytest.mark.parametrize("folder", ["base", "overlays/local", "overlays/gke"])
def test_web_holds_neither_remote_token(folder: str) -> None:
    text = json.dumps(one("Deployment", "web", folder)).lower()

    assert not [word for word in TOKENS if word in text]


def test_the_web_service_of_compose_holds_neither_remote_token() -> None:
    assert not {"GITHUB_TOKEN", "PIPEDRIVE_TOKEN"} & set(compose()["services"]["web"]["environment"])


# --- how pods run ---
@pytest.mark.parametrize("folder", ["base", "overlays/local", "overlays/gke"])
def test_every_pod_is_restricted(folder: str) -> None:
    for workload in workloads(folder):
        pod = pod_of(workload)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert (pod["automountServiceAccountToken"], pod["serviceAccountName"]) == (False, "gisttracker")
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert set(container["resources"]) == {"requests", "limits"}
            assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]]  # noqa: S108


def test_the_namespace_lets_in_only_restricted_pods() -> None:
    labels = one("Namespace", "gisttracker")["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_web_rolls_without_a_gap_and_is_probed() -> None:
    web = one("Deployment", "web")
    (container,) = pod_of(web)["containers"]

    assert web["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert one("HorizontalPodAutoscaler", "web")["spec"]["minReplicas"] == 2
    assert {
        name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    } == {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    assert container["lifecycle"]["preStop"]
    assert one("PodDisruptionBudget", "web")["spec"]["minAvailable"] == 1


@pytest.mark.parametrize("kind", ["Service", "PodDisruptionBudget"])
def test_selectors_find_the_web_pods(kind: str) -> None:
    selector = one(kind, "web")["spec"]["selector"]
    labels = one("Deployment", "web")["spec"]["template"]["metadata"]["labels"]

    assert (selector.get("matchLabels") or selector).items() <= labels.items()


def test_the_monitoring_and_the_policies_find_their_pods() -> None:
    web = one("Deployment", "web")["spec"]["template"]["metadata"]["labels"]
    sync = one("CronJob", "sync-gists")["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]

    assert one("PodMonitoring", "web", "overlays/gke")["spec"]["selector"]["matchLabels"].items() <= web.items()
    assert one("NetworkPolicy", "sync")["spec"]["podSelector"]["matchLabels"].items() <= sync.items()


# --- the jobs ---
@pytest.mark.parametrize(
    ("name", "schedule", "arguments"),
    [("sync-gists", "0 */3 * * *", []), ("sync-requested", "*/5 * * * *", ["--requested"])],
)
def test_the_jobs_run_when_and_how_they_should(name: str, schedule: str, arguments: list[str]) -> None:
    cron = one("CronJob", name)["spec"]
    job = cron["jobTemplate"]["spec"]
    (container,) = pod_of(one("CronJob", name))["containers"]

    assert (cron["schedule"], cron["timeZone"], cron["concurrencyPolicy"]) == (schedule, "Etc/UTC", "Forbid")
    assert cron["startingDeadlineSeconds"] > 0
    assert job["activeDeadlineSeconds"] < 3 * 3600
    assert (job["backoffLimit"], job["parallelism"]) == (0, job["completions"])
    assert job["ttlSecondsAfterFinished"] > 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert container["command"][:3] == ["python", "manage.py", "sync_gists"]
    assert container["command"][3 : 3 + len(arguments)] == arguments
    minutes = int(container["command"][container["command"].index("--max-minutes") + 1])
    assert minutes * 60 < job["activeDeadlineSeconds"]


def test_nothing_is_let_in_or_out_but_what_is_named() -> None:
    assert one("NetworkPolicy", "default-deny")["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (out,) = one("NetworkPolicy", "sync")["spec"]["egress"]
    assert out["ports"] == [{"port": 443, "protocol": "TCP"}]
    assert "10.0.0.0/8" in out["to"][0]["ipBlock"]["except"]
    assert "egress" not in one("NetworkPolicy", "web")["spec"]


def test_the_alerts_name_metrics_that_exist() -> None:
    (group,) = one("Rules", "gisttracker", "overlays/gke")["spec"]["groups"]
    told = (ROOT / "sync/api/metrics.py").read_text()

    for rule in group["rules"]:
        for name in re.findall(r"gisttracker_(\w+)", rule["expr"]):
            assert f'"{name}"' in told, name
    assert "23400" in group["rules"][0]["expr"]  # 6h30m, as sync_status has it


# --- image and workflows ---
def test_the_image_runs_as_a_numbered_user_without_tests() -> None:
    text = (ROOT / "Dockerfile").read_text()

    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text
    assert "tests" not in text
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


@pytest.mark.parametrize("name", ["ci", "cd"])
def test_workflows_trust_nothing_by_default(name: str) -> None:
    text = (ROOT / f".github/workflows/{name}.yml").read_text()
    workflow = yaml.safe_load(text)

    assert workflow["permissions"] == {}
    assert workflow["concurrency"]
    assert all("timeout-minutes" in job and "permissions" in job for job in workflow["jobs"].values())
    for action in re.findall(r"uses: (\S+.*)", text):
        assert re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    assert "secrets." not in text


def test_what_is_deployed_is_what_passed_on_main() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/cd.yml").read_text())["jobs"]["deploy"]

    assert "head_branch == 'main'" in job["if"]
    assert "conclusion == 'success'" in job["if"]
    assert job["environment"] == "production"
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
