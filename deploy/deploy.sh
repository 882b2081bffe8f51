#!/usr/bin/env bash
# Brings one image into a GKE cluster that deploy/terraform made; a person and the pipeline use the same script.
#
#   deploy/deploy.sh PROJECT CLUSTER REGION [SERVICE_ACCOUNT_KEY] [--dry-run]
#
# COMMIT_SHA names the image (default: latest). SERVICE_ACCOUNT_KEY is a key file; without it gcloud's own login counts.
# --dry-run prints what would be applied, without secrets, and changes nothing.
#
# Secrets and settings come from Secret Manager through files, never through a command line. Order: settings and
# secret, the migrate Job, web, a smoke test, then the CronJobs. When web does not get well it is rolled back.
set -euo pipefail
umask 077

here=$(cd "$(dirname "$0")" && pwd)
namespace=gisttracker
secrets=(database-password secret-key github-token pipedrive-token)

say() { printf '==> %s\n' "$*" >&2; }
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
[ -z "$key" ] || [ -r "$key" ] || fail "the service account key $key cannot be read"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export KUBECONFIG=$work/kubeconfig
gcloud() { command gcloud --project "$project" --quiet "$@"; }
kube() { kubectl --namespace "$namespace" "$@"; }

# --- who we are ---
if [ -n "$key" ]; then
    export CLOUDSDK_CONFIG=$work/gcloud # A login of our own; whoever calls this keeps theirs.
    gcloud auth activate-service-account --key-file "$key" >&2
fi

# --- what is to run ---
tag=${COMMIT_SHA:-latest}
repository=$region-docker.pkg.dev/$project/gisttracker/gisttracker
digest=$(gcloud artifacts docker images describe "$repository:$tag" --format 'value(image_summary.digest)')
case $digest in
sha256:*) ;;
*) fail "there is no image $repository:$tag" ;;
esac
say "image $repository@$digest ($tag)"

cp -R "$here/kubernetes" "$work/kubernetes"
gcloud secrets versions access latest --secret gisttracker-settings >"$work/kubernetes/overlays/gke/settings.env"
domain=$(sed -n 's/^DOMAIN=//p' "$work/kubernetes/overlays/gke/settings.env")
[ -n "$domain" ] || fail "the secret gisttracker-settings has no DOMAIN: run terraform apply"
mkdir "$work/kubernetes/this"
cat >"$work/kubernetes/this/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../overlays/gke]
images:
  - {name: gisttracker, newName: $repository, digest: $digest}
END
kubectl kustomize "$work/kubernetes/this" >"$work/all.yaml"
# Pods read their settings at their start only: other settings make other pods.
settings=$(sha256sum <"$work/all.yaml")
cat >>"$work/kubernetes/this/kustomization.yaml" <<END
patches:
  - target: {kind: Deployment, name: web}
    patch: |
      - op: add
        path: /spec/template/metadata/annotations
        value: {gisttracker/settings: "${settings%% *}"}
END
kubectl kustomize "$work/kubernetes/this" >"$work/all.yaml"

if [ -n "$dry_run" ]; then
    say "dry run: this would be applied to $cluster, beside the secret gisttracker with ${secrets[*]}"
    cat "$work/all.yaml"
    exit 0
fi

gcloud container clusters get-credentials "$cluster" --region "$region" --dns-endpoint >&2

apply() { kube apply --filename "$work/all.yaml" --selector "$1" >&2; }

# --- settings and the secret ---
apply '!app.kubernetes.io/component'
say "secret"
mkdir "$work/secrets"
files=()
for name in "${secrets[@]}"; do
    gcloud secrets versions access latest --secret "gisttracker-$name" >"$work/secrets/$name" ||
        fail "the secret gisttracker-$name has no version yet: gcloud secrets versions add gisttracker-$name --data-file FILE"
    files+=("--from-file=$work/secrets/$name")
done
kube create secret generic gisttracker "${files[@]}" --dry-run=client --output yaml | kube apply --filename - >&2

# --- the database ---
say "migrate"
kube delete job migrate --ignore-not-found --wait >&2
apply 'app.kubernetes.io/component=migrate'
finished=
for _ in $(seq "${MIGRATE_TRIES:-180}"); do
    finished=$(kube get job migrate --output 'jsonpath={.status.conditions[?(@.status=="True")].type}')
    case $finished in
    *Complete*) break ;;
    *Failed*) break ;;
    esac
    sleep "${MIGRATE_PAUSE:-5}"
done
case $finished in
*Complete*) ;;
*)
    kube logs job/migrate --tail 50 >&2 || true
    fail "migrate did not succeed; web still runs what it ran before"
    ;;
esac

# --- web ---
revision() {
    kube get deployment web --ignore-not-found --output 'jsonpath={.metadata.annotations.deployment\.kubernetes\.io/revision}'
}
before=$(revision)
roll_back() {
    kube get pods --selector app.kubernetes.io/component=web >&2 || true
    kube logs --selector app.kubernetes.io/component=web --tail 20 >&2 || true
    [ "$(revision)" != "$before" ] || fail "$1; it runs the release that ran before, so nothing is rolled back"
    if kube rollout undo deployment/web >&2 && kube rollout status deployment/web --timeout 300s >&2; then
        fail "$1; rolled back"
    fi
    fail "$1; there is nothing to roll back to, or that failed too"
}
say "web"
apply 'app.kubernetes.io/component=web'
kube rollout status deployment/web --timeout 300s >&2 || roll_back "web did not get ready"
say "smoke test"
ready=
for _ in 1 2 3 4 5; do
    if kube get --raw "/api/v1/namespaces/$namespace/services/http:web:http/proxy/readyz" >&2; then
        ready=yes
        break
    fi
    sleep "${SMOKE_PAUSE:-3}"
done
[ -n "$ready" ] || roll_back "/readyz does not answer"

# --- the jobs ---
say "jobs"
apply 'app.kubernetes.io/component=sync'
printf 'https://%s/\n' "$domain"
