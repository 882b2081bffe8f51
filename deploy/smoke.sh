#!/usr/bin/env bash
# Smoke test: tracks a person through a running service and waits until their gist has an activity.
#
#   deploy/smoke.sh URL COMMAND...      COMMAND runs a program in the web container, e.g. docker compose exec -T web
set -euo pipefail
[ "$#" -ge 2 ] || { echo "usage: deploy/smoke.sh URL COMMAND..." >&2; exit 2; }
base_url=$1
shift

for _ in $(seq 60); do
    curl -fsS -o /dev/null "$base_url/readyz" 2>/dev/null && break
    sleep 2
done
key=$("$@" python manage.py create_api_key smoke | awk '{print $NF}')
request() { curl -fsS -H "Authorization: Api-Key $key" "$@"; }
request -o /dev/null -d username=ada "$base_url/api/v1/people"
for _ in $(seq 60); do
    if request "$base_url/api/v1/people/ada/gists?push_state=pushed" | grep -q '"pipedrive_activity_id":[0-9]'; then
        echo "ada's gist has an activity"
        exit 0
    fi
    sleep 2
done
echo "ada's gist has no activity after two minutes. Status:" >&2
request "$base_url/api/v1/status" >&2
exit 1
