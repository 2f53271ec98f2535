#!/usr/bin/env bash
# Starts a single-node Kubernetes as processes on this machine: etcd, the control plane, containerd, the kubelet and kube-proxy,
# with CoreDNS, a storage class and the metrics server as pods. Builds missing parts first. Leaves running processes as they are,
# restarts those that have ended or changed, and prints the kubeconfig.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$(readlink -f "$0")")/common.sh"
. "$SCRIPTS/parts.sh"
. "$SCRIPTS/network.sh"
. "$SCRIPTS/runtime.sh"
. "$SCRIPTS/control_plane.sh"
. "$SCRIPTS/agents.sh"

import_images() { # import_images NAME...: import those that containerd does not have, or has from another build
  local name held
  mkdir -p "$STATE/imported"
  held=$(kube_ctr images ls -q)
  for name; do
    if grep -qxF "${IMAGE_NAME[$name]}" <<<"$held" && cmp -s "$IMAGES/$name.stamp" "$STATE/imported/$name"; then continue; fi
    say "importing ${IMAGE_NAME[$name]}"
    kube_ctr images import "$IMAGES/$name.tar" >/dev/null
    cp "$IMAGES/$name.stamp" "$STATE/imported/$name"
  done
}

apply_addons() { # apply the manifests, with @NAME@ replaced by the setting NAME
  local name script=""
  for name in DNS_IP COREDNS_IMAGE LOCAL_PATH_IMAGE METRICS_SERVER_IMAGE BASE_IMAGE STATE; do script+="s|@$name@|${!name}|g;"; done
  sed "$script" "$SCRIPTS"/addons/*.yaml | kubectl apply -f - >"$LOGS/addons.log" 2>&1
}

rolled_out() { kubectl --namespace "$1" rollout status "deployment/$2" --timeout=2s; } # rolled_out NAMESPACE DEPLOYMENT

kubectl() { timeout 30 "$BIN/kubectl" "$@"; }

connects() { timeout 1 bash -c "</dev/tcp/$1/$2"; } # connects HOST PORT

"$SCRIPTS/preflight.sh"
claim_home
lock
if [ -n "$(missing packages)" ]; then
  "$SCRIPTS/build.sh" packages
  "$SCRIPTS/preflight.sh" # its trials of the kernel need the programs just installed
fi
"$SCRIPTS/build.sh"

if [ ! -d "$STATE" ]; then rm -f "$LOGS"/{kube*,etcd,containerd,registry,addons}.log; fi # of the previous cluster
mkdir -p "$STATE" "$RUN" "$LOGS" "$CONF"
network_up
share_mounts
make_certificates
make_kubeconfig
start_registry
start_containerd
start_etcd
start_api_server
await 30 containerd containerd kube_ctr version
import_images pause coredns local-path-provisioner metrics-server
await 120 kube-apiserver "the API server" kubectl get --raw=/readyz --request-timeout=2s
start_controllers
start_scheduler
start_kubelet
start_proxy
import_images base # the first volume needs it
await 60 addons "the add-ons to be applied" apply_addons
await 120 kubelet "the kubelet to answer" kubectl get --raw="/api/v1/nodes/$CLUSTER_NAME/proxy/healthz"
await 120 kubelet "the node to be ready" kubectl wait --for=condition=Ready "node/$CLUSTER_NAME" --timeout=2s
await 180 kubelet "the CoreDNS pod" rolled_out kube-system coredns
await 60 kube-proxy "the DNS service to answer" connects "$DNS_IP" 53 # after a restart, the pod's status may be an old one
await 180 kubelet "the local-path-provisioner pod" rolled_out local-path-storage local-path-provisioner
await 180 kubelet "the metrics-server pod" rolled_out kube-system metrics-server
await 60 kube-apiserver "the metrics API" kubectl wait --for=condition=Available apiservice/v1beta1.metrics.k8s.io --timeout=2s
await 20 registry "the registry" connects 127.0.0.1 "$REGISTRY_PORT"
for name in "${STARTED[@]}"; do running "$name" || fail_with_log "$name has ended" "$LOGS/$name.log"; done
say "the cluster is up:"
echo "export KUBECONFIG=$KUBECONFIG"
