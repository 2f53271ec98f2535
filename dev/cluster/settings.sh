# Settings of all scripts in this folder: folders, versions, names, addresses, ports. Sourced, never run.
# shellcheck shell=bash disable=SC2034

SCRIPTS=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

# CLUSTER_HOME holds all files of the cluster.
CLUSTER_HOME=${CLUSTER_HOME-${XDG_CACHE_HOME:-${HOME:?}/.cache}/data-collection/cluster}
if ! [[ $CLUSTER_HOME =~ ^/[A-Za-z0-9._/+-]{1,79}$ ]]; then # the path is used in mount tables, YAML and socket paths
  echo "error: CLUSTER_HOME='$CLUSTER_HOME': set an absolute path of at most 80 letters, digits and . _ / + -" >&2
  exit 1
fi
CLUSTER_HOME=$(realpath -m "$CLUSTER_HOME")
if [[ ${HOME:-/root}/ == "${CLUSTER_HOME%/}/"* ]]; then
  echo "error: CLUSTER_HOME=$CLUSTER_HOME contains the home folder: set a folder of its own" >&2
  exit 1
fi
BIN=$CLUSTER_HOME/bin           # programs
MODULES=$CLUSTER_HOME/mods      # one Go module for each of them
IMAGES=$CLUSTER_HOME/images     # archives for containerd to import
STORAGE=$CLUSTER_HOME/storage   # buildah's image store
REGISTRY=$CLUSTER_HOME/registry # content of the registry
STATE=$CLUSTER_HOME/state       # the cluster itself: etcd, certificates, containers, volumes
RUN=$CLUSTER_HOME/run           # pid files and sockets
LOGS=$CLUSTER_HOME/logs
CONF=$STATE/conf
PKI=$STATE/pki
KUBECONFIGS=$STATE/kubeconfigs # of the control plane and the agents
CRI_SOCKET=$RUN/containerd.sock

# Versions
KUBERNETES_VERSION=v1.34.4
ETCD_VERSION=v3.6.16 # Debian's 3.4 has no RequestWatchProgress, without which the watches of Java clients fail
COREDNS_VERSION=v1.14.7
LOCAL_PATH_VERSION=v0.0.30
METRICS_SERVER_VERSION=v0.9.0
REGISTRY_VERSION=v3.0.0
HELM_VERSION=v3.19.5
HELM4_VERSION=v4.2.4
SKAFFOLD_VERSION=v2.16.1
HELM_UNITTEST_VERSION=v1.0.3
HELM_DOCS_VERSION=v1.14.2
ACTIONLINT_VERSION=v1.7.12
PROMETHEUS_VERSION=v0.316.0 # as a Go module; the release is 3.16.0
DEBIAN_SUITE=bookworm
GO_NEEDED=1.26 # of etcd, which requires the newest

# Names. The images of the cluster's parts are local: they are never pulled.
CLUSTER_NAME=data-collection-test # also of the node and of the kubeconfig's context
PAUSE_IMAGE=docker.io/cluster/pause:1
COREDNS_IMAGE=docker.io/cluster/coredns:$COREDNS_VERSION
LOCAL_PATH_IMAGE=docker.io/cluster/local-path-provisioner:$LOCAL_PATH_VERSION
METRICS_SERVER_IMAGE=docker.io/cluster/metrics-server:$METRICS_SERVER_VERSION
BASE_IMAGE=docker.io/library/debian:$DEBIAN_SUITE-slim # the name in Dockerfiles

# Addresses. The node has its own, so that the certificates do not depend on the machine's network.
NODE_DEVICE=dc-node0
NODE_IP=10.244.255.1
POD_BRIDGE=dc-pods0
POD_GATEWAY=10.244.0.1
POD_CIDR=10.244.0.0/24 # of the node and, with a single node, of the cluster
SERVICE_CIDR=10.96.0.0/16
DNS_IP=10.96.0.10

# Ports. 10248 and those of the last line are the programs' defaults.
API_PORT=${API_PORT:-6443}
REGISTRY_PORT=${REGISTRY_PORT:-5000}
ETCD_PORT=2379
ETCD_PEER_PORT=2380
KUBELET_PORT=10250
declare -A PORTS=(
  [kube-apiserver]=$API_PORT [registry]=$REGISTRY_PORT [etcd]="$ETCD_PORT $ETCD_PEER_PORT" [kubelet]="$KUBELET_PORT 10248"
  [kube-proxy]="10249 10256" [kube-controller-manager]=10257 [kube-scheduler]=10259
)

export KUBECONFIG=$CLUSTER_HOME/kubeconfig
export CONTAINERS_STORAGE_CONF=$STORAGE/storage.conf # buildah works in $STORAGE, not in the machine's image store
export PATH=$BIN:$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin
export LC_ALL=C.UTF-8
# Programs that use HTTPS_PROXY must not use the proxy for the cluster's addresses.
NO_PROXY=${NO_PROXY:-${no_proxy:-}}
NO_PROXY=${NO_PROXY:+$NO_PROXY,}localhost,127.0.0.1,$NODE_IP,$POD_CIDR,$SERVICE_CIDR,.svc,.cluster.local
export NO_PROXY no_proxy=$NO_PROXY
