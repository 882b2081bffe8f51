#!/usr/bin/env bash
# Deploys one image to a GKE cluster created by deploy/terraform. Used by the pipeline and for manual deployments.
#
#   deploy/deploy.sh PROJECT CLUSTER REGION [SERVICE_ACCOUNT_KEY] [--dry-run]
#
# COMMIT_SHA is the image tag (default: latest). SERVICE_ACCOUNT_KEY is a key file; without it, the current gcloud login
# is used. --dry-run prints the manifests that would be applied, without secrets, and changes nothing.
#
# Secrets and settings are read from Secret Manager into files, and never appear on a command line. Order: settings and
# secret, the migrate Job, web, a smoke test, then the CronJobs. If web does not become ready, it is rolled back.
set -euo pipefail
umask 077

here=$(cd "$(dirname "$0")" && pwd)
namespace=gisttracker
secrets=(database-password secret-key github-token pipedrive-token)
optional_secrets=(ping-url notify-url) # empty if they have no version

log() { printf '==> %s\n' "$*" >&2; }
fail() {
    printf 'deploy.sh: %s\n' "$*" >&2
    exit 1
}
usage() {
    printf 'usage: deploy/deploy.sh PROJECT CLUSTER REGION [SERVICE_ACCOUNT_KEY] [--dry-run]\n' >&2
    exit 2
}

dry_run=
arguments=()
for argument in "$@"; do
    case $argument in
    --dry-run) dry_run=yes ;;
    -*) usage ;;
    *) arguments+=("$argument") ;;
    esac
done
[ "${#arguments[@]}" -ge 3 ] && [ "${#arguments[@]}" -le 4 ] || usage
project=${arguments[0]} cluster=${arguments[1]} region=${arguments[2]} key=${arguments[3]:-}

for tool in gcloud kubectl; do
    command -v "$tool" >/dev/null || fail "$tool is not installed"
done
[ -z "$key" ] || [ -r "$key" ] || fail "cannot read the service account key $key"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export KUBECONFIG=$work/kubeconfig
gcloud() { command gcloud --project "$project" --quiet "$@"; }
kube() { kubectl --namespace "$namespace" "$@"; }

# --- login ---
if [ -n "$key" ]; then
    export CLOUDSDK_CONFIG=$work/gcloud # A separate configuration, so that the caller's login is unchanged.
    gcloud auth activate-service-account --key-file "$key" >&2
fi

# --- image and manifests ---
tag=${COMMIT_SHA:-latest}
repository=$region-docker.pkg.dev/$project/gisttracker/gisttracker
digest=$(gcloud artifacts docker images describe "$repository:$tag" --format 'value(image_summary.digest)')
case $digest in
sha256:*) ;;
*) fail "image $repository:$tag not found" ;;
esac
log "image $repository@$digest ($tag)"

cp -R "$here/kubernetes" "$work/kubernetes"
gcloud secrets versions access latest --secret gisttracker-settings >"$work/kubernetes/overlays/gke/settings.env"
domain=$(sed -n 's/^DOMAIN=//p' "$work/kubernetes/overlays/gke/settings.env")
[ -n "$domain" ] || fail "the secret gisttracker-settings has no DOMAIN: run terraform apply"
mkdir "$work/kubernetes/release"
cat >"$work/kubernetes/release/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../overlays/gke]
images:
  - {name: gisttracker, newName: $repository, digest: $digest}
END
kubectl kustomize "$work/kubernetes/release" >"$work/all.yaml"
# Pods read their settings only at startup. A checksum in the pod template replaces the pods when settings change.
checksum=$(sha256sum <"$work/all.yaml")
cat >>"$work/kubernetes/release/kustomization.yaml" <<END
patches:
  - target: {kind: Deployment, name: web}
    patch: |
      - op: add
        path: /spec/template/metadata/annotations
        value: {gisttracker/settings: "${checksum%% *}"}
END
kubectl kustomize "$work/kubernetes/release" >"$work/all.yaml"

if [ -n "$dry_run" ]; then
    log "dry run: would apply these manifests to $cluster, and the secret gisttracker with ${secrets[*]} ${optional_secrets[*]}"
    cat "$work/all.yaml"
    exit 0
fi

gcloud container clusters get-credentials "$cluster" --region "$region" --dns-endpoint >&2

apply() { kube apply --filename "$work/all.yaml" --selector "$1" >&2; }

# --- settings and secret ---
apply '!app.kubernetes.io/component'
log "secret"
mkdir "$work/secrets"
files=()
for name in "${secrets[@]}"; do
    gcloud secrets versions access latest --secret "gisttracker-$name" >"$work/secrets/$name" ||
        fail "the secret gisttracker-$name has no version; add one: gcloud secrets versions add gisttracker-$name --data-file FILE"
    files+=("--from-file=$work/secrets/$name")
done
for name in "${optional_secrets[@]}"; do
    if ! gcloud secrets versions access latest --secret "gisttracker-$name" >"$work/secrets/$name" 2>/dev/null; then
        log "the secret gisttracker-$name has no version, so it is not used"
        : >"$work/secrets/$name"
    fi
    files+=("--from-file=$work/secrets/$name")
done
kube create secret generic gisttracker "${files[@]}" --dry-run=client --output yaml | kube apply --filename - >&2

# --- migrations ---
log "migrate"
kube delete job migrate --ignore-not-found --wait >&2
apply 'app.kubernetes.io/component=migrate'
condition=
for _ in $(seq "${MIGRATE_TRIES:-180}"); do
    condition=$(kube get job migrate --output 'jsonpath={.status.conditions[?(@.status=="True")].type}')
    case $condition in
    *Complete*) break ;;
    *Failed*) break ;;
    esac
    sleep "${MIGRATE_PAUSE:-5}"
done
case $condition in
*Complete*) ;;
*)
    kube logs job/migrate --tail 50 >&2 || true
    fail "the migrate Job failed; web still runs the previous release"
    ;;
esac

# --- web ---
revision() {
    kube get deployment web --ignore-not-found --output 'jsonpath={.metadata.annotations.deployment\.kubernetes\.io/revision}'
}
previous_revision=$(revision)
roll_back() {
    kube get pods --selector app.kubernetes.io/component=web >&2 || true
    kube logs --selector app.kubernetes.io/component=web --tail 20 >&2 || true
    [ "$(revision)" != "$previous_revision" ] || fail "$1; the release did not change, so there is nothing to roll back"
    if kube rollout undo deployment/web >&2 && kube rollout status deployment/web --timeout 300s >&2; then
        fail "$1; rolled back"
    fi
    fail "$1; the rollback failed, or there is no previous release"
}
log "web"
apply 'app.kubernetes.io/component=web'
kube rollout status deployment/web --timeout 300s >&2 || roll_back "web did not become ready"
log "smoke test"
ready=
for _ in 1 2 3 4 5; do
    if kube get --raw "/api/v1/namespaces/$namespace/services/http:web:http/proxy/readyz" >&2; then
        ready=yes
        break
    fi
    sleep "${SMOKE_PAUSE:-3}"
done
[ -n "$ready" ] || roll_back "/readyz did not return 200"

# --- CronJobs ---
log "CronJobs"
apply 'app.kubernetes.io/component in (sync, prune)'
printf 'https://%s/\n' "$domain"
