"""deploy.sh, with a cluster that keeps state, and stand-ins for kubectl, gcloud and cosign.

`make proof` runs all of it with the real kubectl as well; `make test` a deployment and a rollback.
"""

import copy
import json
import os
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.kubectl import Kubectl, KubectlError
from tests.kubernetes_api import DATABASE_HOST, Cluster, running_cluster, secret_text

pytestmark = pytest.mark.slow("runs deploy.sh")
ARGUMENTS = ("project", "cluster", "europe-west1")
TOKEN = "a \"quoted\" 'token'\nwith two lines & $(more)"
GOOD, BAD = "sha256:" + "a" * 64, "sha256:" + "b" * 64
SETTINGS = {
    "DOMAIN": "gists.example.org",
    "DATABASE_HOST": DATABASE_HOST,
    "DATABASE_CIDR": f"{DATABASE_HOST}/32",
    "ADDRESS_NAME": "a",
    "CERTIFICATE_MAP": "c",
    "SOURCE_REPOSITORY": "acme/gisttracker",
}
# Passes its arguments, and its input if it reads one, to the test, which returns what to print or to run.
FAKE_PROGRAM = """#!{bash}
exec 3<>/dev/tcp/127.0.0.1/{port}
input=
case "$*" in *"--filename -") input=$(cat) ;; esac
printf '%s\\0' "${{0##*/}}" "${{KUBECONFIG-}}" "$input" "$#" "$@" >&3
IFS= read -r -d '' code <&3
IFS= read -r -d '' out <&3
IFS= read -r -d '' err <&3
if [ "$code" = exec ]; then
    [ -z "$input" ] || exec "$out" "$@" <<<"$input"
    exec "$out" "$@"
fi
printf '%s' "$out"
printf '%s' "$err" >&2
exit "$code"
"""


@dataclass
class DeployResult:
    exit_code: int
    stdout: str
    stderr: str
    calls: list[list[str]]

    def commands(self) -> list[str]:
        return [" ".join(call) for call in self.calls]

    def position(self, text: str) -> int:
        return next(index for index, command in enumerate(self.commands()) if text in command)


@dataclass
class Deployer:
    """Runs deploy.sh, as often as a test wants, against one cluster."""

    cluster: Cluster
    folder: Path
    kubectl: str
    kubeconfig: str = ""  # of the API server, for the real kubectl
    script: Path = ROOT / "deploy/deploy.sh"
    scenario: dict[str, Any] = field(default_factory=dict)
    calls: list[list[str]] = field(default_factory=list)

    def __call__(
        self,
        *flags: str,
        arguments: tuple[str, ...] = ARGUMENTS,
        digest: str = GOOD,
        commit: str = "",
        token: str = TOKEN,
        missing: tuple[str, ...] = (),
        signed: bool = True,
        **settings: str,
    ) -> DeployResult:
        self.calls = []
        self.scenario = {"digest": digest, "token": token, "missing": missing, "signed": signed}
        self.scenario["settings"] = "\n".join(f"{name}={value}" for name, value in (SETTINGS | settings).items())
        environment = {"PATH": str(self.folder / "bin"), "HOME": str(self.folder), "COMMIT_SHA": commit}
        environment |= {"SMOKE_PAUSE": "0", "MIGRATE_PAUSE": "0", "MIGRATE_TRIES": "3", "WEB_TIMEOUT": "2s"}
        result = subprocess.run(
            [str(self.folder / "bin/bash"), str(self.script), *arguments, *flags],
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return DeployResult(result.returncode, result.stdout, result.stderr, self.calls)

    def run(self, program: str, arguments: list[str], stdin: str) -> tuple[int | str, str, str]:
        """What a program on deploy.sh's PATH does: its exit code, its output and its errors."""
        self.calls.append([program, *arguments])
        if program == "kubectl":
            return self._run_kubectl(arguments, stdin)
        if program == "cosign":
            return (0, "", "") if self.scenario["signed"] else (1, "", "Error: no matching signatures\n")
        line = " ".join(arguments)
        if "images describe" in line:
            return 0, f"{self.scenario['digest']}\n", ""
        if "gisttracker-settings" in line:
            return 0, f"{self.scenario['settings']}\n", ""
        if "versions access" in line:
            secret = arguments[arguments.index("--secret") + 1].removeprefix("gisttracker-")
            is_missing = secret in self.scenario["missing"]
            return (1, "", "ERROR: NOT_FOUND: no versions\n") if is_missing else (0, self.scenario["token"], "")
        return 0, "", ""

    def _run_kubectl(self, arguments: list[str], stdin: str) -> tuple[int | str, str, str]:
        if self.kubeconfig or arguments[0] == "kustomize":
            return "exec", self.kubectl, ""
        try:
            with self.cluster.lock:
                return 0, Kubectl(self.cluster)(arguments, stdin), ""
        except KubectlError as error:
            return 1, "", f"{error}\n"

    def use_copy(self) -> Path:
        """Deploy from a copy of deploy/ that a test may change; its folder of manifests."""
        shutil.copytree(ROOT / "deploy", self.folder / "deploy")
        self.script = self.folder / "deploy/deploy.sh"
        return self.folder / "deploy/kubernetes"


class _Programs(socketserver.BaseRequestHandler):
    """Receives the call of a program, as FAKE_PROGRAM sends it."""

    deployer: Deployer

    def handle(self) -> None:
        program, kubeconfig, stdin, count = (self._read() for _ in range(4))
        arguments = [self._read() for _ in range(int(count))]
        if "get-credentials" in arguments:
            Path(kubeconfig).write_text(self.deployer.kubeconfig)
        for part in self.deployer.run(program, arguments, stdin):
            self.request.sendall(f"{part}\0".encode())

    def _read(self) -> str:
        """The text before the next null character."""
        text = b""
        while (end := (chunk := self.request.recv(65536, socket.MSG_PEEK)).find(b"\0")) < 0:
            text += self.request.recv(len(chunk))
        return (text + self.request.recv(end + 1)[:-1]).decode()


@contextmanager
def new_cluster(folder: Path, *, with_real_kubectl: bool) -> Iterator[Deployer]:
    kubectl = shutil.which("kubectl")
    if not kubectl:
        assert not os.environ.get("CI"), "kubectl is required in CI"
        pytest.skip("kubectl is not installed")
    with ExitStack() as stack:
        cluster, url = stack.enter_context(running_cluster()) if with_real_kubectl else (Cluster(), "")
        deployer = Deployer(cluster, folder, kubectl, _kubeconfig(url) if url else "")
        handler = type("Handler", (_Programs,), {"deployer": deployer})
        server = stack.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        stack.callback(server.shutdown)
        _install_programs(folder, server.server_address[1])
        yield deployer


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.proof)], ids=["", "kubectl"], scope="module")
def with_real_kubectl(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def deploy(tmp_path: Path, with_real_kubectl: bool) -> Iterator[Deployer]:
    with new_cluster(tmp_path, with_real_kubectl=with_real_kubectl) as deployer:
        yield deployer


@pytest.fixture(scope="module")
def first_deployment(
    tmp_path_factory: pytest.TempPathFactory, with_real_kubectl: bool
) -> Iterator[tuple[Cluster, DeployResult]]:
    """The release "good" in a cluster that was empty, and what deploy.sh has done; tests only read them."""
    folder = tmp_path_factory.mktemp("first")
    with new_cluster(folder, with_real_kubectl=with_real_kubectl) as deployer:
        yield deployer.cluster, deployer(commit="good")


def _kubeconfig(url: str) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fake", "cluster": {"server": url}}],
        "users": [{"name": "fake", "user": {}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        "current-context": "fake",
    }
    return json.dumps(config)


@pytest.fixture
def redeploy(deploy: Deployer, first_deployment: tuple[Cluster, DeployResult]) -> Deployer:
    """Deploys to a cluster that has the release "good"."""
    cluster, result = first_deployment
    assert result.exit_code == 0, result.stderr
    deploy.cluster.objects = copy.deepcopy(cluster.objects)
    return deploy


def _install_programs(folder: Path, port: int) -> None:
    (folder / "bin").mkdir()
    text = FAKE_PROGRAM.format(bash=shutil.which("bash"), port=port)
    for tool in ("gcloud", "kubectl", "cosign"):
        (folder / "bin" / tool).write_text(text)
        (folder / "bin" / tool).chmod(0o755)
    tools = "bash sed mktemp rm cp mkdir cat seq sleep dirname awk sort comm cmp grep"
    for tool in tools.split():
        (folder / "bin" / tool).symlink_to(shutil.which(tool) or tool)


def change_manifest(path: Path, change: Callable[[Any], None]) -> None:
    rows = list(yaml.safe_load_all(path.read_text()))
    change(rows)
    path.write_text(yaml.safe_dump_all(rows))


# --- a deployment ---
def test_a_deployment_runs_its_steps_in_order_and_prints_the_url(
    first_deployment: tuple[Cluster, DeployResult],
) -> None:
    cluster, result = first_deployment

    assert (result.exit_code, result.stdout) == (0, "https://gists.example.org/\n"), result.stderr
    steps = ["images describe", "secret gisttracker-settings", "cosign verify", "secret gisttracker-notify-url"]
    steps += ["get-credentials cluster", "selector !app.kubernetes.io/component", "delete job migrate"]
    steps += ["component=migrate", "get job migrate", "component notin (migrate, sync, prune)", "rollout status"]
    steps += ["/readyz", "component in (sync, prune)", "create configmap release"]
    positions = [result.position(step) for step in steps]
    assert positions == sorted(positions)
    assert all("--project project" in line for line in result.commands() if line.startswith("gcloud"))
    assert cluster.names("CronJob") == ["prune", "sync-gists", "sync-requested"]


def test_secrets_never_appear_on_a_command_line_or_in_the_output(
    first_deployment: tuple[Cluster, DeployResult],
) -> None:
    cluster, result = first_deployment

    assert not any("quoted" in line for line in result.commands())
    assert "quoted" not in result.stdout + result.stderr
    environment = cluster.environment_of("CronJob", "sync-gists")
    assert secret_text(environment["pipedrive-token"]) == TOKEN  # Unchanged, including quotes and newlines.
    assert "Secret" not in cluster.get("ConfigMap", "release")["data"]["manifest.yaml"]


def test_a_service_account_key_is_activated_first(deploy: Deployer, tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text("{}")

    result = deploy(str(tmp_path / "key.json"))

    assert result.exit_code == 0, result.stderr
    assert "activate-service-account --key-file" in result.commands()[0]


def test_a_dry_run_prints_the_manifests_with_the_image_digest_and_changes_nothing(deploy: Deployer) -> None:
    result = deploy("--dry-run")

    assert result.exit_code == 0, result.stderr
    image = f"image: europe-west1-docker.pkg.dev/project/gisttracker/gisttracker@{GOOD}"
    assert result.stdout.count(image) == 5
    assert "gists.example.org" in result.stdout
    assert result.stdout.count(f"cidr: {DATABASE_HOST}/32") == 2
    assert deploy.cluster.requests == []
    assert not any("pipedrive-token" in command for command in result.commands())


def test_a_second_deployment_of_the_same_release_changes_no_pod(redeploy: Deployer) -> None:
    pods = redeploy.cluster.names("Pod")

    assert redeploy(commit="good").exit_code == 0
    assert redeploy.cluster.names("Pod") == pods


def test_the_log_of_a_migrate_job_that_does_not_finish_is_shown(deploy: Deployer) -> None:
    deploy.cluster.jobs_hang = True

    result = deploy()

    assert (result.exit_code, "the migrate Job failed or did not finish" in result.stderr) == (1, True)
    assert "log of migrate-" in result.stderr
    assert deploy.cluster.names("Deployment") == []


def test_the_real_kubectl_deploys_and_rolls_back(tmp_path: Path) -> None:
    with new_cluster(tmp_path, with_real_kubectl=True) as deploy:
        first = deploy(commit="good")
        deploy.cluster.readyz_fails = True
        second = deploy(commit="bad", digest=BAD)

        assert (first.exit_code, second.exit_code) == (0, 1), first.stderr
        assert "/readyz did not return 200; rolled back to good" in second.stderr
        template = deploy.cluster.get("Deployment", "web")["spec"]["template"]
        assert template["spec"]["containers"][0]["image"].endswith(GOOD)


def test_a_moment_without_the_api_server_does_not_end_the_wait_for_migrate(redeploy: Deployer) -> None:
    redeploy.cluster.job_errors = 1

    result = redeploy(digest=BAD)

    assert (result.exit_code, redeploy.cluster.errors_left) == (0, 0), result.stderr
    assert "etcd is not available" in result.stderr


# --- a failed deployment leaves the previous release with its own settings ---
FAILURES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "wrong database": ({"DATABASE_HOST": "10.9.9.9"}, {}, "the migrate Job failed or did not finish"),
    "broken image": ({"digest": BAD}, {"broken_images": {BAD}}, "the migrate Job failed or did not finish"),
    "smoke test": ({"digest": BAD}, {"readyz_fails": True}, "/readyz did not return 200; rolled back to good"),
    "rejected CronJobs": ({"digest": BAD}, {"rejected_kinds": {"CronJob"}}, "rolled back to good"),
    "rejected gateway": ({"ADDRESS_NAME": "b"}, {"rejected_kinds": {"Gateway"}}, "rolled back to good"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_after_a_failed_deployment_every_new_pod_starts_as_before(failure: str, redeploy: Deployer) -> None:
    arguments, faults, message = FAILURES[failure]
    workloads = [("Deployment", "web"), ("CronJob", "sync-gists"), ("CronJob", "sync-requested"), ("CronJob", "prune")]
    before = {workload: redeploy.cluster.environment_of(*workload) for workload in workloads}
    policies = {key: spec for key, spec in redeploy.cluster.specs().items() if key[0] not in ("Job", "Pod")}
    for name, value in faults.items():
        setattr(redeploy.cluster, name, value)

    result = redeploy(commit="bad", token="another token", **arguments)

    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert {workload: redeploy.cluster.environment_of(*workload) for workload in workloads} == before
    after = redeploy.cluster.specs()
    changed = {key for key, spec in policies.items() if after.get(key) != spec}
    # The policy of migrate's own pods may be that of the failed release, because its Job is not run again.
    assert changed <= {("NetworkPolicy", "migrate")}, result.stderr
    assert redeploy.cluster.get("ConfigMap", "release")["data"]["commit"] == "good"


def test_a_web_release_that_does_not_start_is_rolled_back_and_its_pod_is_shown(redeploy: Deployer) -> None:
    manifests = redeploy.use_copy()
    change_manifest(manifests / "base/web.yaml", _require_a_missing_configmap)

    result = redeploy(commit="bad")

    assert result.exit_code == 1
    assert "web did not become ready; rolled back to good" in result.stderr
    assert "log of web-2-broken" in result.stderr
    assert "log of web-1-0" not in result.stderr  # Healthy pods are not shown.
    assert redeploy.cluster.why_no_start(redeploy.cluster.get("Deployment", "web")["spec"]["template"]) == ""
    assert not any("undo" in command for command in result.commands())


def _require_a_missing_configmap(rows: list[Any]) -> None:
    (container,) = rows[0]["spec"]["template"]["spec"]["containers"]
    container["envFrom"].append({"configMapRef": {"name": "missing"}})


def test_a_good_release_after_a_rollback_has_just_its_own_fields(deploy: Deployer) -> None:
    def remove_priority(rows: list[Any]) -> None:
        del rows[0]["spec"]["template"]["spec"]["priorityClassName"]

    def add_priority(rows: list[Any]) -> None:
        rows[0]["spec"]["template"]["spec"]["priorityClassName"] = "high"

    manifests = deploy.use_copy()
    web = manifests / "base/web.yaml"
    change_manifest(web, add_priority)
    assert deploy(commit="first").exit_code == 0
    change_manifest(web, remove_priority)
    deploy.cluster.readyz_fails = True
    assert "rolled back to first" in deploy(commit="bad").stderr
    assert deploy.cluster.get("Deployment", "web")["spec"]["template"]["spec"]["priorityClassName"] == "high"

    deploy.cluster.readyz_fails = False
    assert deploy(commit="good").exit_code == 0

    assert "priorityClassName" not in deploy.cluster.get("Deployment", "web")["spec"]["template"]["spec"]


def test_objects_that_only_the_failed_release_has_are_deleted(redeploy: Deployer) -> None:
    manifests = redeploy.use_copy()
    change_manifest(manifests / "base/network-policy.yaml", _add_policy)
    redeploy.cluster.readyz_fails = True

    redeploy(commit="bad")

    assert "extra" not in redeploy.cluster.names("NetworkPolicy")


def test_objects_that_a_release_no_longer_has_are_deleted(deploy: Deployer) -> None:
    manifests = deploy.use_copy()
    shutil.copytree(manifests, manifests.parent / "original")
    change_manifest(manifests / "base/network-policy.yaml", _add_policy)
    deploy(commit="first")
    assert "extra" in deploy.cluster.names("NetworkPolicy")
    shutil.rmtree(manifests)
    shutil.move(manifests.parent / "original", manifests)

    assert deploy(commit="second").exit_code == 0

    assert "extra" not in deploy.cluster.names("NetworkPolicy")


def _add_policy(rows: list[Any]) -> None:
    rows.append(json.loads(json.dumps(rows[0])))
    rows[-1]["metadata"]["name"] = "extra"


def test_settings_are_deleted_when_neither_of_the_last_two_releases_nor_a_pod_uses_them(deploy: Deployer) -> None:
    counts = []
    for number in range(3):
        assert deploy(commit=str(number), token=f"token {number}", DOMAIN=f"host{number}.example.org").exit_code == 0
        counts.append((len(deploy.cluster.names("Secret")), len(deploy.cluster.names("ConfigMap"))))

    # ConfigMaps: database, sync, release, and web of the last two.
    assert counts == [(1, 4), (2, 5), (2, 5)]


def test_a_pod_of_an_old_job_keeps_its_settings(deploy: Deployer) -> None:
    deploy(commit="0", token="token 0")
    template = deploy.cluster.get("CronJob", "sync-gists")["spec"]["jobTemplate"]["spec"]["template"]
    pod = {**json.loads(json.dumps(template)), "apiVersion": "v1", "kind": "Pod"}
    pod["metadata"]["name"] = "sync-gists-1"
    deploy.cluster.objects["Pod", "sync-gists-1"] = pod
    for number in (1, 2):
        deploy(commit=str(number), token=f"token {number}")

    assert deploy.cluster.why_no_start(pod) == ""
    assert len(deploy.cluster.names("Secret")) == 3


def test_the_first_release_has_nothing_to_return_to(deploy: Deployer) -> None:
    deploy.cluster.readyz_fails = True

    result = deploy()

    assert (result.exit_code, "there is no previous release to return to" in result.stderr) == (1, True)
    assert deploy.cluster.names("CronJob") == []


def test_an_unchanged_release_is_not_rolled_back(redeploy: Deployer) -> None:
    redeploy.cluster.readyz_fails = True

    result = redeploy(commit="good")

    assert (result.exit_code, "there is nothing to roll back" in result.stderr) == (1, True)


# --- before the first change ---
@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ({"digest": ""}, "image europe-west1-docker.pkg.dev/project/gisttracker/gisttracker:latest not found"),
        ({"DOMAIN": ""}, "has no DOMAIN: run terraform apply"),
        ({"SOURCE_REPOSITORY": ""}, "has no SOURCE_REPOSITORY: run terraform apply"),
        ({"missing": ("secret-key",)}, "the secret gisttracker-secret-key has no version; add one"),
        ({"missing": ("pipedrive-token",)}, "the secret gisttracker-pipedrive-token has no version; add one"),
        ({"signed": False}, "the image is not signed by the pipeline of acme/gisttracker"),
    ],
)
def test_what_is_missing_is_reported_before_the_first_change(
    scenario: dict[str, Any], message: str, deploy: Deployer
) -> None:
    result = deploy(**scenario)

    assert (result.exit_code, message in result.stderr) == (1, True), result.stderr
    assert deploy.cluster.requests == []


def test_an_optional_secret_without_a_version_is_empty(deploy: Deployer) -> None:
    result = deploy(missing=("ping-url", "notify-url"))

    assert result.exit_code == 0, result.stderr
    assert deploy.cluster.environment_of("CronJob", "sync-gists")["ping-url"] == ""


def test_the_signature_must_be_that_of_the_pipeline_on_main(first_deployment: tuple[Cluster, DeployResult]) -> None:
    _, result = first_deployment

    (command,) = [command for command in result.commands() if command.startswith("cosign")]
    assert f"gisttracker/gisttracker@{GOOD}" in command
    assert "--certificate-oidc-issuer https://token.actions.githubusercontent.com" in command
    workflow = "https://github.com/acme/gisttracker/.github/workflows/cd.yml@refs/heads/main"
    assert f"--certificate-identity {workflow}" in command
    assert "--certificate-github-workflow-repository acme/gisttracker" in command


def test_an_unsigned_image_is_deployed_on_request_only_and_with_a_warning(deploy: Deployer) -> None:
    result = deploy("--allow-unsigned", signed=False)

    assert result.exit_code == 0
    assert "WARNING: --allow-unsigned" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("a", "b"), ("a", "b", "c", "d", "e"), ("a", "b", "c", "--odd")])
def test_wrong_arguments_print_the_usage(arguments: tuple[str, ...], deploy: Deployer) -> None:
    result = deploy(arguments=arguments)

    assert (result.exit_code, result.calls) == (2, [])
    assert result.stderr.startswith("usage: deploy/deploy.sh PROJECT CLUSTER REGION")


@pytest.mark.parametrize("tool", ["gcloud", "kubectl", "cosign"])
def test_a_missing_tool_is_reported(tool: str, deploy: Deployer) -> None:
    (deploy.folder / "bin" / tool).unlink()

    result = deploy()

    assert (result.exit_code, result.calls) == (1, [])
    assert result.stderr.startswith(f"deploy.sh: {tool} is not installed")
