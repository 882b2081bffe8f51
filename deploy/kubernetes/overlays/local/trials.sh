#!/usr/bin/env bash
# Disturbs the service that try.sh has deployed to the current cluster, which needs two workers: kills runs, drains a
# node, rolls out a broken image. After each trial, every gist must have exactly one activity. Can be repeated.
#
#   deploy/kubernetes/overlays/local/trials.sh [kills] [drain] [broken_image]      default: all
set -euo pipefail
kube() { kubectl --namespace gisttracker "$@"; }
log() { printf '==> %s\n' "$*" >&2; }
fail() {
    printf 'trials.sh: %s\n' "$*" >&2
    kube get pods,jobs --output wide >&2 || true
    kube logs --selector app.kubernetes.io/component=sync --tail 20 --prefix >&2 || true
    exit 1
}

id=$(date +%s) # part of all names, so that the trials can be repeated
drained='' probe='' broken=''
work=$(mktemp -d)
clean_up() {
    [ -z "$probe" ] || kill "$probe" 2>/dev/null || true
    [ -z "$broken" ] || kube set image deployment/web "web=$broken" >&2 || true
    [ -z "$drained" ] || kubectl uncordon "$drained" >&2 || true
    suspend_cron_jobs false || true
    rm -rf "$work"
}

# --- people, and what became of their gists ---
# The stand-ins have each account whose login ends like this.
track() { # NAME PEOPLE GISTS
    people=()
    local number
    for number in $(seq "$2"); do
        people+=("$1-$id-$number-has-$3-gists")
    done
    total=$(($2 * $3))
    printf '%s\n' username "${people[@]}" | kube exec --stdin deployment/web -- python manage.py import_people - >&2
}
check() { kube exec deployment/stand-ins -- python -m tests.standins.check "${people[@]}"; }
count_done() { check 2>/dev/null | sed -n 's/.*: \([0-9]*\) with one.*/\1/p' || true; }
wait_until_done() { # COUNT
    local count
    for _ in $(seq 120); do
        count=$(count_done)
        count=${count:-0}
        [ "$count" -lt "$total" ] || fail "the run ended before it was disturbed"
        [ "$count" -lt "$1" ] || return 0
    done
    fail "only $count of $total gists have an activity after two minutes"
}
require_exactly_once() {
    check >&2 || fail "$1: not every gist has exactly one activity"
    sync_once "$1-again"
    check >&2 || fail "$1: not every gist has exactly one activity after one more run"
}

# --- runs ---
suspend_cron_jobs() {
    kube patch cronjob sync-gists --patch "{\"spec\": {\"suspend\": $1}}" >&2
    kube patch cronjob sync-requested --patch "{\"spec\": {\"suspend\": $1}}" >&2
}
start_sync() { # NAME [PATCH]
    kube create job "$1-$id" --from cronjob/sync-gists --dry-run=client --output yaml |
        kubectl patch --local --filename - --type json --output yaml --patch "[${2:-}]" | kube create --filename - >&2
}
# Prints Complete or Failed.
wait_for_end() { # NAME
    local condition
    for _ in $(seq 150); do
        condition=$(kube get job "$1-$id" --output 'jsonpath={.status.conditions[?(@.status=="True")].type}')
        case $condition in
        *Complete*) echo Complete && return ;;
        *Failed*) echo Failed && return ;;
        esac
        sleep 2
    done
    fail "the Job $1-$id has not ended"
}
sync_once() { # NAME
    start_sync "$1"
    [ "$(wait_for_end "$1")" = Complete ] || fail "the Job $1-$id failed"
}
running_pod() { # NAME
    kube get pods --selector "job-name=$1-$id" --field-selector status.phase=Running --output name | head -n 1
}

# --- trials ---
try_kills() {
    log "kills: a run is killed in the middle, three times"
    track kills 12 60
    # The first process of a container cannot be killed from inside, so it is a shell here.
    local command='["sh", "-c", "python manage.py sync_gists --trigger schedule & wait $!"]' number pod
    for number in 1 2 3; do
        start_sync "kill-$number" \
            "{\"op\": \"replace\", \"path\": \"/spec/template/spec/containers/0/command\", \"value\": $command}"
        wait_until_done $((number * total / 5))
        pod=$(running_pod "kill-$number")
        [ -n "$pod" ] || fail "the pod of kill-$number is not running"
        kube exec "$pod" -- sh -c 'kill -KILL -1' >&2 || true
        [ "$(wait_for_end "kill-$number")" = Failed ] || fail "the Job of a killed run did not fail"
        # The lease of the killed run is over after two minutes.
        sleep 125
    done
    local status
    for number in 1 2 3 4 5; do
        sync_once "after-kills-$number"
        status=0
        check >&2 || status=$?
        [ "$status" -eq 1 ] || break # a person who fails is synced again in the next run
    done
    require_exactly_once kills
}

try_drain() {
    log "drain: the node of a run is drained; web stays available, and the Job continues on another node"
    track drain 12 60
    start_sync drain
    wait_until_done $((total / 5))
    local pod
    pod=$(running_pod drain)
    drained=$(kube get "$pod" --output 'jsonpath={.spec.nodeName}')
    probe_web &
    probe=$!
    # The database and the stand-ins have no second copy.
    kubectl drain "$drained" --ignore-daemonsets --delete-emptydir-data --timeout 300s \
        --pod-selector 'app.kubernetes.io/component notin (mysql, stand-ins)' >&2
    [ "$(wait_for_end drain)" = Complete ] || fail "the Job did not continue after the drain"
    kill "$probe" && probe=''
    kubectl uncordon "$drained" >&2 && drained=''
    [ ! -s "$work/unavailable" ] || fail "web was not available during the drain: $(sort "$work/unavailable" | uniq -c)"
    require_exactly_once drain
}
probe_web() {
    while sleep 0.5; do
        kube get --raw /api/v1/namespaces/gisttracker/services/http:web:http/proxy/readyz >/dev/null \
            2>>"$work/unavailable" || true
    done
}

try_broken_image() {
    log "broken image: the rollout does not replace web, and the run is not disturbed"
    track broken 12 20
    start_sync broken
    local image ready
    image=$(kube get deployment web --output 'jsonpath={.spec.template.spec.containers[0].image}')
    broken=$image
    kube set image deployment/web "web=$image-that-does-not-exist" >&2
    if kube rollout status deployment/web --timeout 60s >&2; then fail "the rollout of a broken image succeeded"; fi
    ready=$(kube get pods --selector app.kubernetes.io/component=web --output \
        'jsonpath={range .items[*]}{.spec.containers[0].image}{" "}{.status.containerStatuses[0].ready}{"\n"}{end}')
    [ "$(grep -c "^$image true$" <<<"$ready")" -ge 2 ] || fail "a broken image replaced web: $ready"
    kube get --raw /api/v1/namespaces/gisttracker/services/http:web:http/proxy/readyz >&2
    kube set image deployment/web "web=$image" >&2 && broken=''
    kube rollout status deployment/web --timeout 120s >&2
    [ "$(wait_for_end broken)" = Complete ] || fail "the run failed"
    require_exactly_once broken
}

trials=("$@")
[ "$#" -gt 0 ] || trials=(kills drain broken_image)
for trial in "${trials[@]}"; do
    declare -F "try_$trial" >/dev/null || { printf 'trials.sh: no trial %s\n' "$trial" >&2; exit 2; }
done
[ "$(kubectl get nodes --output name | wc -l)" -ge 2 ] || fail "two workers are needed"
trap clean_up EXIT
suspend_cron_jobs true
kube rollout status deployment/web --timeout 300s >&2
for trial in "${trials[@]}"; do "try_$trial"; done
log "every gist has exactly one activity"
