#!/usr/bin/env bash
# Stops the cluster and deletes its pods, etcd and volumes: the next start makes a new cluster. The programs, the images and the
# content of the registry stay. 'down.sh --clean' deletes these, too: everything in CLUSTER_HOME.
# Debian packages, Go's caches and kernel settings (sysctl) are left as they are.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$(readlink -f "$0")")/common.sh"
. "$SCRIPTS/network.sh"
. "$SCRIPTS/runtime.sh"

PROCESSES=(kubelet kube-proxy kube-scheduler kube-controller-manager kube-apiserver etcd registry)

end_pods() {
  local id
  if [ -d "$STATE/containerd" ]; then
    start_containerd # also after it was killed: it has to remove its containers
    await 30 containerd containerd kube_ctr version
    for id in $(kube_ctr tasks ls -q); do kube_ctr tasks kill --signal KILL "$id" || true; done
    for id in $(kube_ctr tasks ls -q); do kube_ctr tasks rm --force "$id" || true; done
    for id in $(kube_ctr containers ls -q); do kube_ctr containers rm "$id" || true; done
    halt 10 containerd
  fi >>"$LOGS/down.log" 2>&1
}

end_leftovers() { # kill containers that containerd could not stop: children of the shims with our socket among their arguments
  local shim
  { grep -lzxF -- "$CRI_SOCKET" /proc/[0-9]*/cmdline 2>/dev/null || true; } | cut -d/ -f3 | while read -r shim; do
    pkill -KILL --parent "$shim" || true
    kill -KILL "$shim" 2>/dev/null || true
  done
  # their sockets, which are outside of CLUSTER_HOME
  { grep -hs . "$RUN"/containerd/*/k8s.io/*/address || true; } | sed 's|^unix://||' | xargs -r rm -f
}

remove_cgroups() { # only empty ones can be removed
  local cgroup
  if [ ! -d "$STATE/kubelet" ]; then return; fi # this cluster has none
  for cgroup in /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods; do
    find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

delete() { # delete PATH...: only in CLUSTER_HOME, and only without mounts, whose files would be deleted, too
  local target
  for target; do
    [[ $target == "$CLUSTER_HOME"/?* ]] || die "$target is not in $CLUSTER_HOME: not deleted"
    [ -z "$(mounts_in "$target")" ] || die "not deleted, because something is mounted there: $(mounts_in "$target" | xargs)"
    rm -rf "$target"
  done
}

case ${1:-} in '' | --clean) ;; *) die "usage: down.sh [--clean]" ;; esac
if [ ! -e "$MARK" ]; then
  say "there is no cluster in $CLUSTER_HOME"
  exit 0
fi
if [ -d "$STATE" ] || [ -d "$RUN" ]; then
  [ "$(id -u)" = 0 ] || die "only root can stop the cluster: run it as root (sudo make cluster-down)"
  lock
  mkdir -p "$RUN" "$LOGS" "$CONF"
  say "stopping the control plane"
  halt 2 "${PROCESSES[@]}"
  say "stopping the pods"
  (end_pods) || say "containerd could not stop them (log: $LOGS/down.log): killing them"
  end_leftovers
  for folder in "$STATE" "$RUN" "$STORAGE"; do
    mounts_in "$folder" | while read -r mount; do umount --lazy "$mount" || true; done
  done
  say "removing the network"
  network_down
  unshare_mounts
  remove_cgroups
  delete "$STATE" "$RUN" "$KUBECONFIG"
  say "the cluster is deleted"
else
  say "no cluster runs"
fi
if [ "${1:-}" = --clean ]; then
  lock
  mapfile -t entries < <(find "$CLUSTER_HOME" -mindepth 1 -maxdepth 1 ! -path "$MARK")
  delete "${entries[@]}"
  rm "$MARK"
  rmdir "$CLUSTER_HOME" 2>/dev/null || true # fails for a mount point, which stays
  say "$CLUSTER_HOME is deleted"
fi
