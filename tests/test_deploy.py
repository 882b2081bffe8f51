"""Properties of the manifests, image, compose file and workflows that no linter checks."""

import json
import os
import re
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from gisttracker.config.environment import EX_STOPPED, VARIABLES
from gisttracker.management.commands.wait_for_database import DEFAULT_TIMEOUT
from tests.conftest import ROOT

# Settings for development only.
DEVELOPMENT_ONLY = {"SQLITE_PATH"}
# The image sets these; the compose file publishes a fixed port.
FIXED_IN_COMPOSE = {"LISTEN_HOST", "LISTEN_PORT"}
TOKEN_WORDS = ("github", "pipedrive-token", "pipedrive_token")
KUBERNETES = ROOT / "deploy/kubernetes"
FOLDERS = ["base", "overlays/local", "overlays/trial", "overlays/gke"]


@cache
def render(folder: str) -> list[dict[str, Any]]:
    kubectl = shutil.which("kubectl")
    if not kubectl:
        assert not os.environ.get("CI"), "kubectl is required in CI"
        pytest.skip("kubectl is not installed, so the manifests cannot be rendered")
    result = subprocess.run(
        [kubectl, "kustomize", str(KUBERNETES / folder)], capture_output=True, text=True, check=True
    )
    return list(yaml.safe_load_all(result.stdout))


def find(kind: str, name: str, folder: str = "base") -> Any:
    (match,) = [row for row in render(folder) if (row["kind"], row["metadata"]["name"]) == (kind, name)]
    return match


def pod_spec(workload: dict[str, Any]) -> Any:
    spec = workload["spec"]
    return (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]["spec"]


def workloads(folder: str = "base") -> list[dict[str, Any]]:
    kinds = ("Deployment", "Job", "CronJob", "StatefulSet")
    return [row for row in render(folder) if row["kind"] in kinds]


def load_compose() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


# --- settings ---
def test_the_manifests_configure_every_setting() -> None:
    configured = {name for row in render("base") if row["kind"] == "ConfigMap" for name in row["data"]}
    for workload in workloads():
        for container in pod_spec(workload)["containers"]:
            configured |= {row["name"].removesuffix("_FILE") for row in container.get("env", [])}

    assert {variable.name for variable in VARIABLES} - DEVELOPMENT_ONLY - configured == set()


def test_the_manifests_configure_only_existing_settings() -> None:
    existing = {variable.name for variable in VARIABLES}
    configured = {name for row in render("base") if row["kind"] == "ConfigMap" for name in row["data"]}

    assert configured - existing == set()


def test_the_compose_file_configures_every_setting() -> None:
    services = load_compose()["services"]
    configured = set(services["web"]["environment"]) | set(services["worker"]["environment"])

    assert {variable.name for variable in VARIABLES} - DEVELOPMENT_ONLY - FIXED_IN_COMPOSE - configured == set()


def test_the_worker_in_compose_judges_the_health_and_notifies_also_when_its_loop_hangs() -> None:
    worker = load_compose()["services"]["worker"]

    assert worker["healthcheck"]["test"] == ["CMD", "python", "manage.py", "sync_status", "--notify"]
    assert {"PING_URL", "NOTIFY_URL", "SYNC_INTERVAL_MINUTES"} <= set(worker["environment"])
    assert "60 * $${SYNC_INTERVAL_MINUTES:-180}" in worker["command"][-1]


def test_the_worker_in_compose_begins_a_run_a_minute_after_the_last_began() -> None:
    loop = load_compose()["services"]["worker"]["command"][-1].partition("while :; do")[2]

    assert loop.index("sleep 60 & tick=$$!") < loop.index("sync_gists $$which") < loop.index("pid=$$tick")


def render_with(tmp_path: Path, file: str, line: str) -> list[dict[str, Any]]:
    """The manifests for GKE after a line is added to a file of settings."""
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    with (tmp_path / "kubernetes" / file).open("a") as settings:
        settings.write(f"{line}\n")
    command = ["kubectl", "kustomize", str(tmp_path / "kubernetes/overlays/gke")]
    return list(yaml.safe_load_all(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


@pytest.mark.parametrize(
    ("file", "line", "renamed"),
    [
        ("base/database.env", "ADDED=1", "database"),
        ("base/web.env", "ADDED=1", "web"),
        ("base/sync.env", "ADDED=1", "sync"),
    ],
)
def test_changed_settings_have_a_new_name_and_every_pod_that_reads_them_names_it(
    file: str, line: str, renamed: str, tmp_path: Path
) -> None:
    before = {row["metadata"]["name"] for row in render("overlays/gke") if row["kind"] == "ConfigMap"}

    rows = render_with(tmp_path, file, line)

    after = {row["metadata"]["name"]: row for row in rows if row["kind"] == "ConfigMap"}
    (name,) = after.keys() - before
    assert name.startswith(f"{renamed}-")
    assert all(row["immutable"] for row in after.values())
    (old,) = before - after.keys()
    assert old not in json.dumps(rows)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_setting_and_secret_that_a_pod_names_exists(folder: str) -> None:
    existing = {row["metadata"]["name"] for row in render(folder) if row["kind"] == "ConfigMap"}
    for workload in workloads(folder):
        for container in pod_spec(workload)["containers"]:
            names = {row["configMapRef"]["name"] for row in container.get("envFrom", [])}
            names |= {
                row["valueFrom"]["configMapKeyRef"]["name"]
                for row in container.get("env", [])
                if "configMapKeyRef" in row.get("valueFrom", {})
            }
            assert names <= existing
        secrets = {volume["secret"]["secretName"] for volume in pod_spec(workload)["volumes"] if "secret" in volume}
        assert secrets <= {"gisttracker"}


def test_nothing_that_running_pods_depend_on_changes_before_migrate() -> None:
    # deploy.sh applies these first; ConfigMaps have new names when their content changes.
    first = [row for row in render("overlays/gke") if "app.kubernetes.io/component" not in row["metadata"]["labels"]]

    assert {row["kind"] for row in first} == {"Namespace", "ServiceAccount", "ConfigMap"}


def test_the_worker_in_compose_records_that_no_run_can_begin_without_a_token() -> None:
    worker = load_compose()["services"]["worker"]
    (guard,) = [line for line in worker["command"][-1].splitlines() if "PIPEDRIVE_TOKEN" in line]

    # In the demo only, where the stand-ins have a name, another service syncs.
    assert guard == '[ -n "$$PIPEDRIVE_TOKEN" ] || ! getent hosts pipedrive.test || exec sleep infinity'
    assert worker["healthcheck"]["start_period"]


def test_migrate_in_compose_waits_for_the_database_and_is_tried_again() -> None:
    services = load_compose()["services"]
    migrate = services["migrate"]

    assert migrate["command"][-1] == "python manage.py wait_for_database && exec python manage.py migrate --no-input"
    assert migrate["restart"] == "on-failure:3"
    for name in ("web", "worker", "demo"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_every_service_in_compose_has_limits_of_cpu_and_memory() -> None:
    for name, service in load_compose()["services"].items():
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name


# --- secrets ---
@pytest.mark.parametrize("folder", FOLDERS)
def test_pods_read_secrets_from_files_only(folder: str) -> None:
    assert not [row for row in render(folder) if row["kind"] == "Secret"]
    for variable in (variable for variable in VARIABLES if variable.secret):
        for workload in workloads(folder):
            for container in pod_spec(workload)["containers"]:
                assert variable.name not in [row["name"] for row in container.get("env", [])]


@pytest.mark.parametrize("folder", FOLDERS)
def test_web_pods_have_neither_api_token(folder: str) -> None:
    text = json.dumps(find("Deployment", "web", folder)).lower()

    assert not [word for word in TOKEN_WORDS if word in text]


def test_the_web_service_in_compose_has_neither_api_token() -> None:
    assert not {"GITHUB_TOKEN", "PIPEDRIVE_TOKEN"} & set(load_compose()["services"]["web"]["environment"])


# --- pods ---
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_pod_runs_with_a_restricted_security_context(folder: str) -> None:
    for workload in workloads(folder):
        pod = pod_spec(workload)
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


def test_the_namespace_enforces_the_restricted_pod_security_standard() -> None:
    labels = find("Namespace", "gisttracker")["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_web_rolls_out_without_downtime_and_has_probes() -> None:
    web = find("Deployment", "web")
    (container,) = pod_spec(web)["containers"]

    assert web["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert find("HorizontalPodAutoscaler", "web")["spec"]["minReplicas"] == 2
    assert {
        name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    } == {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    assert container["lifecycle"]["preStop"]
    assert find("PodDisruptionBudget", "web")["spec"]["minAvailable"] == 1


@pytest.mark.parametrize("kind", ["Service", "PodDisruptionBudget"])
def test_selectors_match_the_web_pods(kind: str) -> None:
    selector = find(kind, "web")["spec"]["selector"]
    labels = find("Deployment", "web")["spec"]["template"]["metadata"]["labels"]

    assert (selector.get("matchLabels") or selector).items() <= labels.items()


def test_the_monitoring_and_network_policy_selectors_match_their_pods() -> None:
    web = find("Deployment", "web")["spec"]["template"]["metadata"]["labels"]
    sync = find("CronJob", "sync-gists")["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]

    assert find("PodMonitoring", "web", "overlays/gke")["spec"]["selector"]["matchLabels"].items() <= web.items()
    assert find("NetworkPolicy", "sync")["spec"]["podSelector"]["matchLabels"].items() <= sync.items()


# --- CronJobs ---
@pytest.mark.parametrize(
    ("name", "schedule", "arguments"),
    [("sync-gists", "0 */3 * * *", ["--trigger", "schedule"]), ("sync-requested", "*/2 * * * *", ["--requested"])],
)
def test_cron_jobs_have_the_expected_schedule_and_command(name: str, schedule: str, arguments: list[str]) -> None:
    cron = find("CronJob", name)["spec"]
    job = cron["jobTemplate"]["spec"]
    (container,) = pod_spec(find("CronJob", name))["containers"]

    assert (cron["schedule"], cron["timeZone"], cron["concurrencyPolicy"]) == (schedule, "Etc/UTC", "Forbid")
    assert cron["startingDeadlineSeconds"] > 0
    assert job["activeDeadlineSeconds"] < 3 * 3600
    assert job["backoffLimit"] == 0
    assert not {"parallelism", "completions"} & set(job)  # One pod: a second one could only wait for its lease.
    assert job["ttlSecondsAfterFinished"] > 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert container["command"][:3] == ["python", "manage.py", "sync_gists"]
    assert container["command"][3 : 3 + len(arguments)] == arguments
    minutes = int(container["command"][container["command"].index("--max-minutes") + 1])
    assert minutes * 60 < job["activeDeadlineSeconds"]


@pytest.mark.parametrize("name", ["sync-gists", "sync-requested", "prune"])
def test_a_pod_that_was_evicted_or_stopped_with_work_left_is_replaced_at_once(name: str) -> None:
    job = find("CronJob", name)["spec"]["jobTemplate"]["spec"]
    evicted, stopped = job["podFailurePolicy"]["rules"]

    assert evicted == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    killed_by_sigterm = 128 + signal.SIGTERM
    codes = {"operator": "In", "values": [EX_STOPPED, killed_by_sigterm]}
    assert stopped == {"action": "Ignore", "onExitCodes": codes}
    assert job["backoffLimit"] == 0  # Every other end waits for the next schedule.
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # A podFailurePolicy requires it.


def test_migrate_waits_for_the_database_and_has_time_and_memory_for_the_migrations() -> None:
    migrate = find("Job", "migrate")
    (container,) = pod_spec(migrate)["containers"]

    assert container["command"][-1].startswith("python manage.py wait_for_database && exec python manage.py migrate")
    assert migrate["spec"]["activeDeadlineSeconds"] >= DEFAULT_TIMEOUT + 600
    assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"] == "512Mi"


def test_old_rows_are_deleted_once_a_day_by_a_pod_that_reaches_the_database_only() -> None:
    job = find("CronJob", "prune")
    (container,) = pod_spec(job)["containers"]
    labels = job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    (reaches_database,) = find("NetworkPolicy", "database")["spec"]["podSelector"]["matchExpressions"]

    assert job["spec"]["schedule"] == "30 4 * * *"
    assert container["command"] == ["python", "manage.py", "prune"]
    assert labels["app.kubernetes.io/component"] in reaches_database["values"]
    assert not find("NetworkPolicy", "sync")["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_network_policies_deny_by_default_and_allow_only_public_https_to_sync() -> None:
    assert find("NetworkPolicy", "default-deny")["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (egress,) = find("NetworkPolicy", "sync")["spec"]["egress"]
    assert egress["ports"] == [{"port": 443, "protocol": "TCP"}]
    assert "10.0.0.0/8" in egress["to"][0]["ipBlock"]["except"]
    assert "egress" not in find("NetworkPolicy", "web")["spec"]


# --- image and workflows ---
def test_the_image_runs_as_a_numeric_user_and_contains_no_tests() -> None:
    text = (ROOT / "Dockerfile").read_text()

    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text
    assert "tests" not in text
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


@pytest.mark.parametrize("name", ["ci", "cd"])
def test_workflows_have_minimal_permissions_and_pinned_actions(name: str) -> None:
    text = (ROOT / f".github/workflows/{name}.yml").read_text()
    workflow = yaml.safe_load(text)

    assert workflow["permissions"] == {}
    assert workflow["concurrency"]
    assert all("timeout-minutes" in job and "permissions" in job for job in workflow["jobs"].values())
    for action in re.findall(r"uses: (\S+.*)", text):
        assert re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    assert "secrets." not in text


def test_only_commits_on_main_that_passed_ci_are_deployed() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/cd.yml").read_text())["jobs"]["deploy"]

    assert "head_branch == 'main'" in job["if"]
    assert "conclusion == 'success'" in job["if"]
    assert job["environment"] == "production"
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
