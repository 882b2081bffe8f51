"""A Kubernetes cluster with state, and its API server, for the tests of deploy.sh.

It stores what is applied, and merges patches as the real server does, so that a test sees what a deployment leaves
behind. kubectl.py takes the place of kubectl; the real one uses the API server. Its controllers decide at once: a pod
starts if all ConfigMaps and the Secret that its template names exist, if its DATABASE_HOST is the right one, and if its
image is not broken.
"""

import base64
import copy
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Object = dict[str, Any]

DATABASE_HOST = "10.1.2.3"
# Group and version -> plural name -> kind.
RESOURCES = {
    "v1": {
        "namespaces": "Namespace",
        "serviceaccounts": "ServiceAccount",
        "configmaps": "ConfigMap",
        "secrets": "Secret",
        "services": "Service",
        "pods": "Pod",
        "events": "Event",
    },
    "apps/v1": {"deployments": "Deployment", "replicasets": "ReplicaSet"},
    "batch/v1": {"jobs": "Job", "cronjobs": "CronJob"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
    "gateway.networking.k8s.io/v1": {"gateways": "Gateway", "httproutes": "HTTPRoute"},
    "networking.gke.io/v1": {"healthcheckpolicies": "HealthCheckPolicy"},
    "monitoring.googleapis.com/v1": {"podmonitorings": "PodMonitoring"},
}
# The fields by which a strategic merge patch finds the elements of a list; other lists are replaced.
MERGE_KEYS = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}


@dataclass
class Cluster:
    """The objects by kind and name (there is one namespace), and what is broken in it."""

    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    broken_images: set[str] = field(default_factory=set)
    rejected_kinds: set[str] = field(default_factory=set)
    readyz_fails: bool = False
    job_errors: int = 0  # how many requests fail after a Job was created
    errors_left: int = 0
    jobs_hang: bool = False
    requests: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def get(self, kind: str, name: str) -> Object:
        return self.objects[kind, name]

    def names(self, kind: str) -> list[str]:
        return sorted(name for stored, name in self.objects if stored == kind)

    def specs(self) -> dict[tuple[str, str], Object]:
        """What was applied, without what the server adds: to compare two states of the cluster."""
        return {
            key: {name: value for name, value in row.items() if name not in ("metadata", "status")}
            for key, row in self.objects.items()
        }

    def environment_of(self, kind: str, name: str) -> dict[str, str]:
        """The variables that a new pod of this workload would get now, and its secrets, by file name."""
        return self._environment(_template(self.get(kind, name)))

    def why_no_start(self, template: Object) -> str:
        """Why a pod of this template does not start; empty if it does."""
        try:
            environment = self._environment(template)
        except KeyError as error:
            return f"{error.args[0][0]} {error.args[0][1]} not found"
        if template["spec"]["containers"][0]["image"].rpartition("@")[2] in self.broken_images:
            return "the image is broken"
        return "" if environment["DATABASE_HOST"] == DATABASE_HOST else "cannot connect to the database"

    def _environment(self, template: Object) -> dict[str, str]:
        (container,) = template["spec"]["containers"]
        found: dict[str, str] = {}
        for row in container.get("envFrom", []):
            found |= self.objects["ConfigMap", row["configMapRef"]["name"]]["data"]
        for volume in template["spec"]["volumes"]:
            if "secret" in volume:
                data = self.objects["Secret", volume["secret"]["secretName"]]["data"]
                found |= {item["key"]: data[item["key"]] for item in volume["secret"]["items"]}
        return found | {row["name"]: row["value"] for row in container.get("env", []) if "value" in row}

    def store(self, row: Object) -> Object:
        key = row["kind"], row["metadata"]["name"]
        previous = self.objects.get(key, {"metadata": {"generation": 0, "uid": f"uid-{len(self.requests)}"}})
        changed = previous.get("spec") != row.get("spec")
        metadata = row["metadata"]
        metadata["uid"] = previous["metadata"]["uid"]
        metadata["generation"] = previous["metadata"]["generation"] + changed
        metadata["resourceVersion"] = str(len(self.requests))
        metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        self.objects[key] = row
        self._control(row)
        return row

    def _control(self, row: Object) -> None:
        if row["kind"] == "Job":
            self.errors_left = self.job_errors
            problem = self.why_no_start(_template(row))
            ends = [] if self.jobs_hang else [{"type": "Failed" if problem else "Complete", "status": "True"}]
            row["status"] = {"conditions": ends}
            self._add_pods(row, problem)
        if row["kind"] == "Deployment":
            problem = self.why_no_start(_template(row))
            generation = row["metadata"]["generation"]
            pods = {"replicas": 3, "updatedReplicas": 1} if problem else {"replicas": 2, "updatedReplicas": 2}
            row["status"] = {"observedGeneration": generation, "availableReplicas": 2, "readyReplicas": 2, **pods}
            self._add_pods(row, problem)

    def _add_pods(self, deployment: Object, problem: str) -> None:
        workload = deployment["metadata"]["name"]
        name = f"{workload}-{deployment['metadata']['generation']}"
        for other in self.names("Pod"):
            if other.startswith(f"{workload}-") and (not problem or other.endswith("-broken")):
                del self.objects["Pod", other]
        for index in [0] if problem else [0, 1]:
            pod = {**copy.deepcopy(_template(deployment)), "apiVersion": "v1", "kind": "Pod"}
            pod["metadata"]["name"] = f"{name}-{'broken' if problem else index}"
            pod["status"] = {"conditions": [{"type": "Ready", "status": "False" if problem else "True"}]}
            self.objects["Pod", pod["metadata"]["name"]] = pod


def _template(workload: Object) -> Any:
    spec = workload["spec"]
    return (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]


# --- patches ---
def merge(target: Any, patch: Any, field_name: str = "") -> Any:
    """Apply a strategic merge patch (and, without lists that have keys, a JSON merge patch)."""
    if isinstance(patch, list) and field_name in MERGE_KEYS and isinstance(target, list):
        return _merge_list(target, patch, MERGE_KEYS[field_name])
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    retained = patch.get("$retainKeys")
    if retained is not None:
        result = {name: value for name, value in result.items() if name in retained}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif not name.startswith("$"):
            result[name] = merge(result.get(name), value, name)
    return result


def _merge_list(target: list[Any], patch: list[Any], key: str) -> list[Any]:
    result = list(target)
    for element in patch:
        position = next((index for index, row in enumerate(result) if row[key] == element[key]), None)
        if element.get("$patch") == "delete":
            if position is not None:
                del result[position]
        elif position is None:
            result.append(merge({}, element))
        else:
            result[position] = merge(result[position], element)
    return result


# --- HTTP ---
class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # Else every kept-alive request waits 40 ms for an acknowledgement.
    wbufsize = -1
    cluster: Cluster

    def log_message(self, format: str, *args: Any) -> None:  # the name in the base class
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        if url.path.endswith("/proxy/readyz"):
            self._send(503 if self.cluster.readyz_fails else 200, {"status": "ready"})
        elif url.path.endswith("/log"):
            self._send_log(parts[-2])
        elif url.path.startswith("/openapi/v3"):
            self._send(200, _describe_openapi(url.path))
        elif discovery := _describe_api(url.path):
            self._send(200, discovery)
        else:
            self._get_objects(*_locate(parts))

    def do_POST(self) -> None:
        version, plural, _ = _locate(urlsplit(self.path).path.strip("/").split("/"))
        row = self._read_body()
        self._store({"apiVersion": version, "kind": RESOURCES[version][plural], **row})

    def do_PATCH(self) -> None:
        version, plural, name = _locate(urlsplit(self.path).path.strip("/").split("/"))
        patch = self._read_body()
        with self.cluster.lock:
            current = self.cluster.objects.get((RESOURCES[version][plural], name or ""))
            if "apply-patch" in self.headers["Content-Type"]:
                self._store(patch)
            elif current is None:
                self._not_found()
            elif current.get("immutable") and current["data"] != merge(current, patch)["data"]:
                self._fail(422, "Invalid", "field is immutable when `immutable` is set")
            else:
                self._store(merge(current, patch))

    def do_DELETE(self) -> None:
        version, plural, name = _locate(urlsplit(self.path).path.strip("/").split("/"))
        self._read_body()
        with self.cluster.lock:
            row = self.cluster.objects.pop((RESOURCES[version][plural], name or ""), None)
        self._not_found() if row is None else self._send(
            200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        )

    def _get_objects(self, version: str, plural: str, name: str | None) -> None:
        kind = RESOURCES.get(version, {}).get(plural)
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        if not kind or query.get("sendInitialEvents"):
            self._not_found()
        elif kind == "Job" and self.cluster.errors_left:
            self.cluster.errors_left -= 1
            self._fail(500, "InternalError", "etcd is not available")
        elif name:
            row = self.cluster.objects.get((kind, name))
            self._send(200, row) if row else self._not_found()
        elif query.get("watch"):
            time.sleep(0.2)  # No event: kubectl watches again until its timeout.
            self._send_bytes(200, "application/json", b"")
        else:
            rows = [row for (stored, _), row in sorted(self.cluster.objects.items()) if stored == kind]
            rows = [row for row in rows if _is_selected(row, query)]
            self._send(200, {"apiVersion": version, "kind": f"{kind}List", "metadata": {}, "items": rows})

    def _send_log(self, pod: str) -> None:
        if "previous=true" in self.path and "broken" not in pod:
            self._fail(400, "BadRequest", f"previous terminated container in pod {pod} not found")
        else:
            self._send_text(f"log of {pod}\n")

    def _store(self, row: Object) -> None:
        if row["kind"] in self.cluster.rejected_kinds:
            self._fail(422, "Invalid", f"{row['kind']} is invalid")
            return
        with self.cluster.lock:
            stored = self.cluster.store(row)
        self._send(200, stored)

    def _read_body(self) -> Any:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.cluster.requests.append((self.command, urlsplit(self.path).path))
        return yaml.safe_load(body) if body else {}

    def _not_found(self) -> None:
        self._fail(404, "NotFound", f"{urlsplit(self.path).path} not found")

    def _fail(self, status: int, reason: str, message: str) -> None:
        row = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": status}
        self._send(status, {**row, "message": message})

    def _send_text(self, text: str) -> None:
        self._send_bytes(200, "text/plain", text.encode())

    def _send(self, status: int, row: Any) -> None:
        self._send_bytes(status, "application/json", json.dumps(row).encode())

    def _send_bytes(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _locate(parts: list[str]) -> tuple[str, str, str | None]:
    """Group and version, plural name, and name of the object that a path is about."""
    version, rest = (parts[1], parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    return version, rest[0] if rest else "", rest[1] if len(rest) > 1 else None


def _is_selected(row: Object, query: dict[str, str]) -> bool:
    labels = row["metadata"].get("labels", {})
    for term in filter(None, query.get("labelSelector", "").split(",")):
        name, _, value = term.partition("=")
        if labels.get(name) != value:
            return False
    for term in filter(None, query.get("fieldSelector", "").split(",")):
        name, _, value = term.partition("=")
        if name == "metadata.name" and row["metadata"]["name"] != value:
            return False
    return True


def _describe_api(path: str) -> Object | None:
    version = path.removeprefix("/apis/").removeprefix("/api/")
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = [name.split("/") for name in RESOURCES if "/" in name]
        versions = [(group, {"groupVersion": f"{group}/{number}", "version": number}) for group, number in groups]
        rows = [{"name": group, "versions": [row], "preferredVersion": row} for group, row in versions]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": rows}
    if version not in RESOURCES:
        return {"major": "1", "minor": "33", "gitVersion": "v1.33.0"} if path == "/version" else None
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    resources = [
        {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": kind != "Namespace", "verbs": verbs}
        for plural, kind in RESOURCES[version].items()
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def _describe_openapi(path: str) -> Object:
    """Just enough for kubectl to leave the validation to the server."""
    prefixes = {f"api{'s' if '/' in version else ''}/{version}": version for version in RESOURCES}
    version = prefixes.get(path.removeprefix("/openapi/v3/"))
    if not version:
        return {"paths": {prefix: {"serverRelativeURL": f"/openapi/v3/{prefix}"} for prefix in prefixes}}
    group, _, number = version.rpartition("/")
    parameters = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]
    paths = {}
    for plural, kind in RESOURCES[version].items():
        names = {"group": group, "version": number, "kind": kind}
        paths[f"/{plural}"] = {"patch": {"parameters": parameters, "x-kubernetes-group-version-kind": names}}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.33.0"}, "paths": paths}


@contextmanager
def running_cluster() -> Iterator[tuple[Cluster, str]]:
    """A cluster, and the URL of its API."""
    cluster = Cluster()
    handler = type("Handler", (_Handler,), {"cluster": cluster})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield cluster, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def secret_text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()
