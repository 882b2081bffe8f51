#!/usr/bin/env bash
# Deploys the manifests to the current cluster (kind, minikube) and runs a real sync against the stand-ins. For CI, which
# deletes the cluster afterwards.
set -euo pipefail
umask 077
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kube() { kubectl --namespace gisttracker "$@"; }

printf 'demo-pipedrive-token' >"$work/pipedrive-token"
printf 'demo-github-token' >"$work/github-token"
for name in database-password secret-key; do
    python3 -c 'import secrets; print(secrets.token_urlsafe(50), end="")' >"$work/$name"
done
kubectl create namespace gisttracker --dry-run=client --output yaml | kubectl apply --filename -
kube create secret generic gisttracker --from-file="$work/pipedrive-token" --from-file="$work/github-token" \
    --from-file="$work/database-password" --from-file="$work/secret-key" --from-literal=ping-url= --from-literal=notify-url=
kubectl apply --kustomize "$here"

# The stand-ins run in a pod of their own; the network policy below lets the sync jobs reach it.
kube create configmap stand-ins --from-file="$root/tests/standins"
kube apply --filename - <<'END'
apiVersion: v1
kind: Pod
metadata:
  name: stand-ins
  labels: {app: stand-ins}
spec:
  automountServiceAccountToken: false
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: stand-ins
      image: gisttracker:local
      command: [python, -m, tests.standins]
      workingDir: /standins
      securityContext:
        allowPrivilegeEscalation: false
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: code, mountPath: /standins/tests/standins}
  volumes:
    - name: code
      configMap: {name: stand-ins}
---
apiVersion: v1
kind: Service
metadata:
  name: stand-ins
spec:
  selector: {app: stand-ins}
  ports:
    - {name: github, port: 8081}
    - {name: pipedrive, port: 8082}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: stand-ins
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress:
    - from: [{podSelector: {}}]
  egress:
    - to: [{podSelector: {}}]
END
kube patch configmap database --type merge --patch \
    '{"data": {"GITHUB_API_URL": "http://stand-ins:8081", "PIPEDRIVE_API_URL": "http://stand-ins:8082"}}'
kube patch configmap sync --type merge --patch '{"data": {"ALLOW_INSECURE": "true"}}'

kube wait --for=condition=complete job/migrate --timeout=300s
kube rollout status deployment/web --timeout=180s
kube port-forward service/web 3000:80 >/dev/null &
forward=$!
trap 'kill "$forward"; rm -rf "$work"' EXIT
kube create job first-sync --from=cronjob/sync-gists >/dev/null
(sleep 15 && kube create job second-sync --from=cronjob/sync-gists >/dev/null) &
"$root/deploy/smoke.sh" http://localhost:3000 kubectl --namespace gisttracker exec deploy/web --
