# The node's agents: the kubelet and kube-proxy. Sourced by up.sh.
# shellcheck shell=bash

start_kubelet() {
  resolver
  put "$CONF/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
port: $KUBELET_PORT
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $PKI/ca.crt}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://$CRI_SOCKET
cgroupDriver: cgroupfs # works with and without systemd
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0 # a root without CAP_SYS_RESOURCE may set no negative one
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
resolvConf: $CONF/resolv.conf
maxPods: 200
imageGCHighThresholdPercent: 100 # never: a deleted local image could not be pulled again
evictionHard: {memory.available: 200Mi, nodefs.available: "1%", nodefs.inodesFree: "1%", imagefs.available: "1%"}
fileCheckFrequency: 0s
rotateCertificates: false
shutdownGracePeriod: 0s
END
  ensure kubelet "$BIN/kubelet" --config="$CONF/kubelet.yaml" --kubeconfig="$KUBECONFIGS/kubelet.conf" \
    --root-dir="$STATE/kubelet" --cert-dir="$STATE/kubelet/pki" --hostname-override="$CLUSTER_NAME" --node-ip="$NODE_IP" --v=2
}

# The name servers for the pods. Pods cannot reach one on a loopback address: CoreDNS would forward to itself indefinitely.
# For systemd-resolved, its upstream servers are used. Without any server, the pods get an address that no network uses: names
# outside the cluster fail, names in the cluster resolve.
resolver() {
  local source=/etc/resolv.conf lines
  if grep -qs '^nameserver 127\.0\.0\.53' "$source" && [ -f /run/systemd/resolve/resolv.conf ]; then
    source=/run/systemd/resolve/resolv.conf
  fi
  lines=$(grep -Ev '^nameserver +(127\.|::1)' "$source" 2>/dev/null || true)
  if ! grep -q ^nameserver <<<"$lines"; then lines+=$'\nnameserver 192.0.2.1'; fi
  put "$CONF/resolv.conf" <<<"$lines"
}

start_proxy() {
  # kube-proxy exits when this file is written, so 'put' writes it only when its content changes.
  put "$CONF/kube-proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: $POD_CIDR
clientConnection: {kubeconfig: $KUBECONFIGS/kube-proxy.conf}
hostnameOverride: $CLUSTER_NAME
bindAddress: $NODE_IP
nodePortAddresses: [primary]
metricsBindAddress: 127.0.0.1:10249
healthzBindAddress: 127.0.0.1:10256
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0} # the machine's limits stay
END
  ensure kube-proxy "$BIN/kube-proxy" --config="$CONF/kube-proxy.yaml"
}
