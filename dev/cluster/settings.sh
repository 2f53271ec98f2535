# What all scripts here share: folders, versions, names, addresses, ports. Sourced, never run.
# shellcheck shell=bash disable=SC2034

SCRIPTS=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

# One folder holds everything that is built, stored or running.
CLUSTER_HOME=${CLUSTER_HOME-${XDG_CACHE_HOME:-${HOME:?}/.cache}/data-collection/cluster}
if ! [[ $CLUSTER_HOME =~ ^/[A-Za-z0-9._/+-]{1,79}$ ]]; then # the name goes into mount tables, YAML and socket paths
  echo "error: CLUSTER_HOME='$CLUSTER_HOME': name an absolute path of at most 80 letters, digits and . _ / + -" >&2
  exit 1
fi
CLUSTER_HOME=$(realpath -m "$CLUSTER_HOME")
if [[ ${HOME:-/root}/ == "${CLUSTER_HOME%/}/"* ]]; then
  echo "error: CLUSTER_HOME=$CLUSTER_HOME holds the home folder: name a folder of its own" >&2
  exit 1
fi
BIN=$CLUSTER_HOME/bin           # programs
MODULES=$CLUSTER_HOME/mods      # one Go module for each of them
IMAGES=$CLUSTER_HOME/images     # archives that containerd imports
STORAGE=$CLUSTER_HOME/storage   # what buildah keeps of images
REGISTRY=$CLUSTER_HOME/registry # what was pushed to the registry
STATE=$CLUSTER_HOME/state       # the cluster itself: etcd, certificates, containers, volumes
RUN=$CLUSTER_HOME/run           # pid files and sockets
LOGS=$CLUSTER_HOME/logs
CONF=$STATE/conf
PKI=$STATE/pki
KUBECONFIGS=$STATE/kubeconfigs # of the cluster's own parts
CRI_SOCKET=$RUN/containerd.sock

# Versions
KUBERNETES_VERSION=v1.34.4
ETCD_VERSION=v3.6.16 # Debian's 3.4 lacks a call (RequestWatchProgress) without which Java clients' watches fail
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
GO_NEEDED=1.26 # what the newest of these modules asks for (etcd)

# Names. Images of the cluster's own parts are local: their names are never looked up anywhere.
CLUSTER_NAME=data-collection-test # the node and the kubeconfig's context have it too
PAUSE_IMAGE=docker.io/cluster/pause:1
COREDNS_IMAGE=docker.io/cluster/coredns:$COREDNS_VERSION
LOCAL_PATH_IMAGE=docker.io/cluster/local-path-provisioner:$LOCAL_PATH_VERSION
METRICS_SERVER_IMAGE=docker.io/cluster/metrics-server:$METRICS_SERVER_VERSION
BASE_IMAGE=docker.io/library/debian:$DEBIAN_SUITE-slim # as Dockerfiles call it

# Addresses. The node has one of its own, so that no certificate depends on the network that the machine is in.
NODE_DEVICE=dc-node0
NODE_IP=10.244.255.1
POD_BRIDGE=dc-pods0
POD_GATEWAY=10.244.0.1
POD_CIDR=10.244.0.0/24 # of the node, and as there is one node, of the cluster
SERVICE_CIDR=10.96.0.0/16
DNS_IP=10.96.0.10

# Ports. 10248 and those of the last line are what the programs take without being told.
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
# Programs that honour HTTPS_PROXY would ask the proxy for the cluster's own addresses.
NO_PROXY=${NO_PROXY:-${no_proxy:-}}
NO_PROXY=${NO_PROXY:+$NO_PROXY,}localhost,127.0.0.1,$NODE_IP,$POD_CIDR,$SERVICE_CIDR,.svc,.cluster.local
export NO_PROXY no_proxy=$NO_PROXY
