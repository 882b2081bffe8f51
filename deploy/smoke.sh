#!/usr/bin/env bash
# Smoke test: tracks a person through a running service, and waits until a gist of theirs has an activity. Can be
# repeated: it revokes its key, and removes the person if it added them.
#
#   deploy/smoke.sh URL COMMAND...      COMMAND runs a program in the web container, e.g. docker compose exec -T web
#
# PERSON is the login (default: ada, who exists in the stand-ins); TRIES the number of checks, one every two seconds.
set -euo pipefail
[ "$#" -ge 2 ] || { echo "usage: deploy/smoke.sh URL COMMAND..." >&2; exit 2; }
base_url=$1
shift
person=${PERSON:-ada} tries=${TRIES:-120} key='' added=''
body=$(mktemp)

request() { curl -sS -H "Authorization: Bearer $key" "$@"; }
# shellcheck disable=SC2329  # the trap calls it
clean_up() {
    rm -f "$body"
    [ -z "$added" ] || request -o /dev/null -X DELETE "$base_url/api/v1/people/$person" || true
    [ -z "$key" ] || "$@" python manage.py revoke_api_key "${key%%.*}" >/dev/null || true
}
trap 'clean_up "$@"' EXIT

for _ in $(seq "$tries"); do
    curl -fsS -o /dev/null "$base_url/readyz" 2>/dev/null && break
    sleep 2
done
key=$("$@" python manage.py create_api_key smoke | awk '{print $NF}')
status=$(request -o "$body" -w '%{http_code}' -d "username=$person" "$base_url/api/v1/people")
case $status in
201) added=yes ;;
*)
    grep -q '"already_tracked"' "$body" || {
        echo "POST /api/v1/people returned $status:" >&2
        cat "$body" >&2
        exit 1
    }
    ;;
esac
for _ in $(seq "$tries"); do
    request -o "$body" "$base_url/api/v1/people/$person/gists?push_state=pushed"
    if grep -q '"pipedrive_activity_id":[0-9]' "$body"; then
        echo "A gist of $person has an activity."
        exit 0
    fi
    sleep 2
done
echo "No gist of $person has an activity after $((2 * tries)) seconds. Status:" >&2
request "$base_url/api/v1/status" >&2
exit 1
