#!/usr/bin/env bash
# Tracks somebody through a running service and waits until the activity is made: is it whole?
#
#   deploy/smoke.sh ADDRESS COMMAND...      COMMAND runs something where the service runs, e.g. docker compose exec -T web
set -euo pipefail
[ "$#" -ge 2 ] || { echo "usage: deploy/smoke.sh ADDRESS COMMAND..." >&2; exit 2; }
address=$1
shift

for _ in $(seq 60); do
    curl -fsS -o /dev/null "$address/readyz" 2>/dev/null && break
    sleep 2
done
key=$("$@" python manage.py create_api_key smoke | awk '{print $NF}')
ask() { curl -fsS -H "Authorization: Api-Key $key" "$@"; }
ask -o /dev/null -d username=ada "$address/api/v1/people"
for _ in $(seq 60); do
    if ask "$address/api/v1/people/ada/gists?push_state=pushed" | grep -q '"pipedrive_activity_id":[0-9]'; then
        echo "ada's gist has its activity"
        exit 0
    fi
    sleep 2
done
echo "ada's gist got no activity:" >&2
ask "$address/api/v1/status" >&2
exit 1
