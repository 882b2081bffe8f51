"""A stand-in for kubectl: what deploy.sh asks of it, done on a `Cluster` in this process.

It takes the place of a program that needs 50 ms of CPU for each of 30 calls of a deployment; `make proof` runs all
tests of deploy.sh with the real one. What it does not know, it refuses.
"""

import argparse
import re
from pathlib import Path

import yaml

from tests.kubernetes_api import RESOURCES, Cluster, Object

KINDS = {alias: kind for row in RESOURCES.values() for name, kind in row.items() for alias in (name, kind.lower())}
GROUPS = {kind: version.rpartition("/")[0] for version, row in RESOURCES.items() for kind in row.values()}


class KubectlError(Exception):
    """What kubectl prints, with exit code 1."""


class Kubectl:
    """Runs commands; one that fails raises KubectlError."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def __call__(self, arguments: list[str], stdin: str) -> str:
        options, words = _parse(arguments)
        command = words.pop(0)
        if not hasattr(self, f"_{command}"):
            raise KubectlError(f"this stand-in has no {command}")
        output: str = getattr(self, f"_{command}")(words, options, stdin)
        return output

    def _apply(self, words: list[str], options: argparse.Namespace, stdin: str) -> str:
        lines, errors = [], []
        for row in _load(stdin if options.filename == "-" else Path(options.filename).read_text()):
            kind, name = row["kind"], row["metadata"]["name"]
            current = self._cluster.objects.get((kind, name))
            if not _matches(row, options.selector) or (current and _content(current) == _content(row)):
                continue
            self._cluster.requests.append(("PATCH", f"/{kind}/{name}"))
            if kind in self._cluster.rejected_kinds:
                errors.append(f"{kind} is invalid")
            elif current and current.get("immutable"):
                errors.append("field is immutable when `immutable` is set")
            else:
                self._cluster.store(row)
                lines.append(f"{kind.lower()}/{name} configured\n")
        if errors:
            raise KubectlError("\n".join(errors))
        return "".join(lines)

    def _delete(self, words: list[str], options: argparse.Namespace, stdin: str) -> str:
        kind, name = words[0].split("/") if "/" in words[0] else words
        self._cluster.requests.append(("DELETE", f"/{kind}/{name}"))
        found = self._cluster.objects.pop((_kind(kind), name), None)
        if not found and not options.ignore_not_found:
            raise KubectlError(f"{kind} {name} not found")
        return f"{kind} {name} deleted\n" if found else ""

    def _create(self, words: list[str], options: argparse.Namespace, stdin: str) -> str:
        if words[0] != "configmap" or options.dry_run != "client":
            raise KubectlError(f"this stand-in does not create {words}")
        key, _, path = options.from_file.partition("=")
        name, _, value = options.from_literal.partition("=")
        row = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": words[1]}}
        return yaml.dump({**row, "data": {key: Path(path).read_text(), name: value}}, Dumper=yaml.CSafeDumper)

    def _rollout(self, words: list[str], options: argparse.Namespace, stdin: str) -> str:
        status = self._cluster.get(_kind(words[1].split("/")[0]), words[1].split("/")[1])["status"]
        if status["updatedReplicas"] < status["replicas"]:
            raise KubectlError("error: timed out waiting for the condition")
        return "successfully rolled out\n"

    def _logs(self, words: list[str], options: argparse.Namespace, stdin: str) -> str:
        name = words[0].partition("/")[2]
        pods = [pod for pod in self._cluster.names("Pod") if pod.startswith(f"{name}-")] if name else words
        if options.previous and "broken" not in pods[0]:
            raise KubectlError(f"previous terminated container in pod {pods[0]} not found")
        return f"log of {pods[0]}\n"

    def _get(self, words: list[str], options: argparse.Namespace, stdin: str) -> str:
        if options.raw:
            if self._cluster.readyz_fails:
                raise KubectlError("the server is currently unable to handle the request")
            return "ready"
        if words[:1] == ["job"] and self._cluster.errors_left:
            self._cluster.errors_left -= 1
            raise KubectlError("etcd is not available")
        if options.filename:
            wanted = [(row["kind"], row["metadata"]["name"]) for row in _load(Path(options.filename).read_text())]
        elif len(words) == 2:
            wanted = [(_kind(words[0]), words[1])]
        else:
            kinds = [_kind(name) for name in words[0].split(",")]
            wanted = sorted(key for key in self._cluster.objects if key[0] in kinds)
        rows = [self._cluster.objects[key] for key in wanted if key in self._cluster.objects]
        return _format([row for row in rows if _matches(row, options.selector)], options.output)


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    for name in ("namespace", "filename", "selector", "output", "raw", "field-selector", "timeout", "tail"):
        parser.add_argument(f"--{name}", default="")
    for name in ("from-file", "from-literal", "dry-run"):
        parser.add_argument(f"--{name}", default="")
    for name in ("ignore-not-found", "wait", "server-side", "force-conflicts", "previous"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser.parse_known_args(arguments)


def _kind(name: str) -> str:
    return KINDS[name.split(".")[0]]


def _load(text: str) -> list[Object]:
    return [row for row in yaml.load_all(text, yaml.CSafeLoader) if row]


def _content(row: Object) -> Object:
    """The object without what the server adds."""
    return {**row, "status": None, "metadata": {"labels": row["metadata"].get("labels")}}


def _matches(row: Object, selector: str) -> bool:
    """`a=b`, `a!=b`, `!a`, `a`, `a in (b, c)` and `a notin (b, c)`, joined by commas."""
    labels = row["metadata"].get("labels", {})
    for term in re.split(r",(?![^(]*\))", selector) if selector else []:
        if match := re.fullmatch(r"(\S+) (in|notin) \((.*)\)", term.strip()):
            is_match = (labels.get(match[1]) in match[3].split(", ")) == (match[2] == "in")
        elif "!=" in term:
            name, value = term.split("!=")
            is_match = labels.get(name) != value
        elif "=" in term:
            name, value = term.split("=")
            is_match = labels.get(name) == value
        else:
            is_match = (term.lstrip("!") in labels) != term.startswith("!")
        if not is_match:
            return False
    return True


def _format(rows: list[Object], output: str) -> str:
    if output == "yaml":
        return yaml.dump({"items": rows}, Dumper=yaml.CSafeDumper)
    if match := re.search(r'\.data[ .]"?([\w.]+)', output):
        return "".join(row["data"][match[1]] for row in rows)
    if output.startswith("jsonpath={.status.conditions"):
        return " ".join(row["type"] for job in rows for row in job["status"]["conditions"] if row["status"] == "True")
    if output.startswith("jsonpath={range"):
        return "".join(f"{row['metadata']['name']} {row['status']['conditions'][0]['status']}\n" for row in rows)
    types = [f"{row['kind'].lower()}.{GROUPS[row['kind']]}".rstrip(".") for row in rows]
    return "".join(f"{type_name}/{row['metadata']['name']}\n" for type_name, row in zip(types, rows, strict=True))
