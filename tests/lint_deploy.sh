#!/bin/sh
# The manifests as kubectl renders them, against the schemas of Kubernetes 1.33; the shape of the Terraform files.
# Kinds of other makers (Gateway, PodMonitoring, Rules) have no schema here and are only rendered.
set -eu

missing() {
    echo "NOT LINTED: $1 is not installed ($2)." >&2
    [ -z "${CI:-}" ]
}

if command -v kubectl >/dev/null; then
    for folder in base overlays/local overlays/gke; do
        rendered=$(mktemp)
        kubectl kustomize "deploy/kubernetes/$folder" >"$rendered"
        kubernetes-validate --strict -k 1.33 "$rendered" >"$rendered.log" 2>&1 || {
            cat "$rendered.log" >&2
            exit 1
        }
        rm -f "$rendered" "$rendered.log"
    done
    echo "The manifests are valid."
else
    missing kubectl "the manifests"
fi

if command -v terraform >/dev/null; then
    terraform fmt -check -diff -recursive deploy/terraform
else
    missing terraform "deploy/terraform"
fi
