#!/usr/bin/env bash
# Deploys the service with stand-ins for GitHub and Pipedrive to the current cluster (kind, minikube), and waits until a
# gist has its activity. Can be repeated. The cluster needs the images gisttracker:local and docker.io/library/mysql:8.4.
#
#   kind create cluster && kind load docker-image gisttracker:local && deploy/kubernetes/overlays/local/try.sh
set -euo pipefail
umask 077
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../../..
work=$(mktemp -d)
forward=
trap '[ -z "$forward" ] || kill "$forward" 2>/dev/null || true; rm -rf "$work"' EXIT
kube() { kubectl --namespace gisttracker "$@"; }
log() { printf '==> %s\n' "$*" >&2; }

create_secret() {
    printf 'demo-pipedrive-token' >"$work/pipedrive-token"
    printf 'demo-github-token' >"$work/github-token"
    local name
    for name in database-password secret-key; do
        head -c 40 /dev/urandom | base64 | tr -dc 'A-Za-z0-9' >"$work/$name"
        head -c 40 /dev/urandom | base64 | tr -dc 'A-Za-z0-9' >>"$work/$name"
    done
    kube create secret generic gisttracker --from-file="$work/pipedrive-token" --from-file="$work/github-token" \
        --from-file="$work/database-password" --from-file="$work/secret-key" --from-literal=ping-url= --from-literal=notify-url=
}

wait_for_job() {
    local condition
    for _ in $(seq 180); do
        condition=$(kube get job "$1" --output 'jsonpath={.status.conditions[?(@.status=="True")].type}' || true)
        case $condition in
        *Complete*) return ;;
        *Failed*) break ;;
        esac
        sleep 2
    done
    kube logs "job/$1" --tail 50 >&2 || true
    printf 'try.sh: the Job %s did not complete\n' "$1" >&2
    return 1
}

log "secret and stand-ins"
kubectl create namespace gisttracker --dry-run=client --output yaml | kubectl apply --filename -
# The database keeps the password of its first start, so an existing Secret stays.
kube get secret gisttracker >/dev/null 2>&1 || create_secret
kube create configmap stand-ins --from-file="$root/tests/standins" --dry-run=client --output yaml |
    kube apply --server-side --force-conflicts --filename -
log "database"
kubectl kustomize "$here/../trial" >"$work/all.yaml"
kube delete job migrate --ignore-not-found --wait
kube apply --filename "$work/all.yaml"
kube rollout status statefulset/mysql --timeout 300s
log "migrate"
wait_for_job migrate
log "web"
kube rollout status deployment/web --timeout 300s
kube rollout status deployment/stand-ins --timeout 120s

log "smoke test"
kubectl --namespace gisttracker port-forward service/web :80 >"$work/forward" &
forward=$!
for _ in $(seq 50); do
    port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$work/forward")
    [ -z "$port" ] || break
    sleep 0.2
done
"$root/deploy/smoke.sh" "http://localhost:$port" kubectl --namespace gisttracker exec deploy/web --
