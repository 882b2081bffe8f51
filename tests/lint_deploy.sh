#!/bin/sh
# Validates the manifests rendered by kubectl against the Kubernetes 1.33 schemas, and checks the Terraform formatting.
# Custom resources (Gateway, PodMonitoring) have no schema in kubernetes-validate and are only rendered.
set -eu

skip_or_fail() {
    echo "SKIPPED: $1 is not installed, so $2 is not checked." >&2
    [ -z "${CI:-}" ]
}

if command -v kubectl >/dev/null; then
    for folder in base overlays/local overlays/trial overlays/gke; do
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
    skip_or_fail kubectl "deploy/kubernetes"
fi

if command -v terraform >/dev/null; then
    terraform fmt -check -diff -recursive deploy/terraform
else
    skip_or_fail terraform "deploy/terraform"
fi
