#!/usr/bin/env bash
# Deploys one image to a GKE cluster created by deploy/terraform. Used by the pipeline and for manual deployments.
#
#   deploy/deploy.sh PROJECT CLUSTER REGION [SERVICE_ACCOUNT_KEY] [--dry-run] [--allow-unsigned]
#
# COMMIT_SHA is the image tag (default: latest). SERVICE_ACCOUNT_KEY is a key file; without it, the current gcloud login
# is used. --dry-run prints the manifests that would be applied, without secrets, and changes nothing.
# --allow-unsigned deploys an image whose signature cannot be verified; for emergencies only.
#
# Order: verify the signature, read all settings and secrets, then migrate, web, a smoke test, the CronJobs. The names
# of ConfigMaps and of the Secret end with a hash of their content, so a release keeps those it was made with. If a step
# after migrate fails, the previous release's own manifest, which the ConfigMap `release` holds, is applied again.
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
    printf 'usage: deploy/deploy.sh PROJECT CLUSTER REGION [SERVICE_ACCOUNT_KEY] [--dry-run] [--allow-unsigned]\n' >&2
    exit 2
}

dry_run='' allow_unsigned=''
arguments=()
for argument in "$@"; do
    case $argument in
    --dry-run) dry_run=yes ;;
    --allow-unsigned) allow_unsigned=yes ;;
    -*) usage ;;
    *) arguments+=("$argument") ;;
    esac
done
[ "${#arguments[@]}" -ge 3 ] && [ "${#arguments[@]}" -le 4 ] || usage
project=${arguments[0]} cluster=${arguments[1]} region=${arguments[2]} key=${arguments[3]:-}

for tool in gcloud kubectl; do
    command -v "$tool" >/dev/null || fail "$tool is not installed"
done
[ -n "$allow_unsigned" ] || command -v cosign >/dev/null ||
    fail "cosign is not installed; it verifies who built the image (in an emergency: --allow-unsigned)"
[ -z "$key" ] || [ -r "$key" ] || fail "cannot read the service account key $key"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export KUBECONFIG=$work/kubeconfig
gcloud() { command gcloud --project "$project" --quiet "$@"; }
kube() { kubectl --namespace "$namespace" "$@"; }

# --- what is deployed ---
log_in() {
    [ -n "$key" ] || return 0
    export CLOUDSDK_CONFIG=$work/gcloud # A separate configuration, so that the caller's login is unchanged.
    gcloud auth activate-service-account --key-file "$key" >&2
}

find_image() {
    tag=${COMMIT_SHA:-latest}
    repository=$region-docker.pkg.dev/$project/gisttracker/gisttracker
    digest=$(gcloud artifacts docker images describe "$repository:$tag" --format 'value(image_summary.digest)')
    case $digest in
    sha256:*) log "image $repository@$digest ($tag)" ;;
    *) fail "image $repository:$tag not found" ;;
    esac
}

read_settings() {
    cp -R "$here/kubernetes" "$work/kubernetes"
    settings=$work/kubernetes/overlays/gke/settings.env
    gcloud secrets versions access latest --secret gisttracker-settings >"$settings"
    domain=$(read_setting DOMAIN)
    source_repository=$(read_setting SOURCE_REPOSITORY)
}
read_setting() {
    local value
    value=$(sed -n "s/^$1=//p" "$settings")
    [ -n "$value" ] || fail "the secret gisttracker-settings has no $1: run terraform apply"
    printf '%s' "$value"
}

verify_signature() {
    if [ -n "$allow_unsigned" ]; then
        log "WARNING: --allow-unsigned: nothing verifies who built this image"
        return
    fi
    mkdir "$work/docker"
    printf '{"credHelpers": {"%s": "gcloud"}}' "$region-docker.pkg.dev" >"$work/docker/config.json"
    DOCKER_CONFIG=$work/docker cosign verify "$repository@$digest" \
        --certificate-oidc-issuer https://token.actions.githubusercontent.com \
        --certificate-identity "https://github.com/$source_repository/.github/workflows/cd.yml@refs/heads/main" \
        --certificate-github-workflow-repository "$source_repository" >"$work/signature" ||
        fail "the image is not signed by the pipeline of $source_repository, so it is not deployed (in an emergency: --allow-unsigned)"
    log "signed by the pipeline of $source_repository"
}

read_secrets() {
    mkdir "$release/secrets"
    local name
    for name in "${secrets[@]}"; do
        gcloud secrets versions access latest --secret "gisttracker-$name" >"$release/secrets/$name" ||
            fail "the secret gisttracker-$name has no version; add one: gcloud secrets versions add gisttracker-$name --data-file FILE"
    done
    for name in "${optional_secrets[@]}"; do
        gcloud secrets versions access latest --secret "gisttracker-$name" >"$release/secrets/$name" 2>/dev/null || {
            log "the secret gisttracker-$name has no version, so it is not used"
            : >"$release/secrets/$name"
        }
    done
    {
        printf 'secretGenerator:\n  - name: gisttracker\n    namespace: %s\n    files:\n' "$namespace"
        printf '      - secrets/%s\n' "${secrets[@]}" "${optional_secrets[@]}"
        printf '    options: {immutable: true, labels: {app.kubernetes.io/part-of: gisttracker}}\n'
    } >>"$release/kustomization.yaml"
}

render() {
    kubectl kustomize "$release" >"$work/all.yaml"
    # What is recorded in the cluster and applied for a rollback; the Secret of a release stays in the cluster.
    awk 'BEGIN { RS = ORS = "---\n" } !/\nkind: Secret\n/' "$work/all.yaml" >"$work/new.yaml"
}

# --- changes of the cluster ---
apply() { kube apply --filename "$work/all.yaml" --selector "$1" >&2; }

migrate() {
    log "migrate"
    kube delete job migrate --ignore-not-found --wait >&2
    apply 'app.kubernetes.io/component=migrate'
    local condition=''
    for _ in $(seq "${MIGRATE_TRIES:-360}"); do
        # The API server may be unavailable for a moment.
        condition=$(kube get job migrate --output 'jsonpath={.status.conditions[?(@.status=="True")].type}' || true)
        case $condition in
        *Complete*) return ;;
        *Failed*) break ;;
        esac
        sleep "${MIGRATE_PAUSE:-5}"
    done
    case $condition in
    *Failed*) show_pods migrate ;;
    *) kube logs job/migrate --tail 30 >&2 || true ;; # It still waits for the database, or migrates.
    esac
    fail "the migrate Job failed or did not finish; web and the CronJobs still run the previous release with its own settings"
}

deploy_web() {
    log "web"
    apply 'app.kubernetes.io/component notin (migrate, sync, prune)' || roll_back "the manifests of web were not accepted"
    wait_for_web || roll_back "web did not become ready"
    log "smoke test"
    for _ in 1 2 3 4 5; do
        kube get --raw "/api/v1/namespaces/$namespace/services/http:web:http/proxy/readyz" >&2 && return
        sleep "${SMOKE_PAUSE:-3}"
    done
    roll_back "/readyz did not return 200"
}
wait_for_web() { kube rollout status deployment/web --timeout "${WEB_TIMEOUT:-600s}" >&2; }

deploy_cronjobs() {
    log "CronJobs"
    apply 'app.kubernetes.io/component in (sync, prune)' || roll_back "the manifests of the CronJobs were not accepted"
}

# --- the previous release ---
read_previous_release() {
    kube get configmap release --ignore-not-found --output 'go-template={{index .data "manifest.yaml"}}' >"$work/previous.yaml"
    previous_commit=$(kube get configmap release --ignore-not-found --output 'go-template={{.data.commit}}')
}

record_release() {
    kube create configmap release --from-file=manifest.yaml="$work/new.yaml" --from-literal=commit="$tag" \
        --dry-run=client --output yaml | kube apply --server-side --force-conflicts --filename - >&2
}

roll_back() {
    show_pods web
    [ -s "$work/previous.yaml" ] || fail "$1; there is no previous release to return to"
    ! cmp -s "$work/previous.yaml" "$work/new.yaml" || fail "$1; this release was live before, so there is nothing to roll back"
    log "rolling back to $previous_commit"
    if kube apply --filename "$work/previous.yaml" --selector 'app.kubernetes.io/component!=migrate' >&2 &&
        delete_removed "$work/new.yaml" "$work/previous.yaml" && wait_for_web; then
        fail "$1; rolled back to $previous_commit"
    fi
    fail "$1; the rollback to $previous_commit failed, too"
}

# Delete what the first manifest has and the second has not. Settings are kept: pods may still use them.
delete_removed() {
    list_objects "$1" >"$work/before" && list_objects "$2" >"$work/after" || return 1
    comm -23 "$work/before" "$work/after" | while read -r object; do
        kube delete "$object" --ignore-not-found >&2
    done
}
list_objects() {
    [ -s "$1" ] || return 0
    kube get --filename "$1" --ignore-not-found --output name | sed -E '/^(configmap|secret|namespace)\//d' | sort
}

# Settings are deleted when neither this release, the previous one, nor an existing pod, Job or ReplicaSet names them.
delete_unused_settings() {
    kube get pods,jobs,replicasets --output yaml | cat - "$work/previous.yaml" "$work/new.yaml" >"$work/in-use"
    kube get configmaps,secrets --selector app.kubernetes.io/part-of=gisttracker --output name | while read -r object; do
        grep -qF "${object#*/}" "$work/in-use" || kube delete "$object" >&2 || exit 1
    done
}

# Print the log and the events of each pod of the component that is not ready, also of its container before a restart.
show_pods() {
    kube get pods --selector "app.kubernetes.io/component=$1" >&2 || true
    local pod ready
    kube get pods --selector "app.kubernetes.io/component=$1" \
        --output 'jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' |
        while read -r pod ready; do
            [ "$ready" != True ] || continue
            log "pod $pod is not ready"
            kube logs "$pod" --previous --tail 30 >&2 2>/dev/null || kube logs "$pod" --tail 30 >&2 || true
            kube get events --field-selector "involvedObject.name=$pod" >&2 || true
        done
}

log_in
find_image
read_settings
verify_signature
release=$work/kubernetes/release
mkdir "$release"
cat >"$release/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../overlays/gke]
images:
  - {name: gisttracker, newName: $repository, digest: $digest}
END
if [ -n "$dry_run" ]; then
    render
    log "dry run: would apply these manifests to $cluster, and a Secret with ${secrets[*]} ${optional_secrets[*]}"
    cat "$work/all.yaml"
    exit 0
fi
read_secrets
render
gcloud container clusters get-credentials "$cluster" --region "$region" --dns-endpoint >&2
read_previous_release

log "settings and secrets"
apply '!app.kubernetes.io/component' # They have new names if their content is new, so no pod uses them yet.
migrate
deploy_web
deploy_cronjobs
record_release
if ! { delete_removed "$work/previous.yaml" "$work/new.yaml" && delete_unused_settings; }; then
    fail "the release is live, but what it no longer needs could not be deleted; run deploy.sh again"
fi
printf 'https://%s/\n' "$domain"
