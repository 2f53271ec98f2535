#!/usr/bin/env bash
# Ends the cluster and deletes it: its pods, etcd and volumes, so that the next start makes a new one. The programs, the images
# and what was pushed to the registry stay. 'down.sh --clean' deletes these as well: everything in CLUSTER_HOME.
# Untouched are Debian packages, Go's caches and kernel settings (sysctl).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$(readlink -f "$0")")/common.sh"
. "$SCRIPTS/network.sh"
. "$SCRIPTS/runtime.sh"

PROCESSES=(kubelet kube-proxy kube-scheduler kube-controller-manager kube-apiserver etcd registry)

end_pods() {
  local id
  if [ -d "$STATE/containerd" ]; then
    start_containerd # one that was killed is needed once more, to take its containers away
    await 30 containerd containerd kube_ctr version
    for id in $(kube_ctr tasks ls -q); do kube_ctr tasks kill --signal KILL "$id" || true; done
    for id in $(kube_ctr tasks ls -q); do kube_ctr tasks rm --force "$id" || true; done
    for id in $(kube_ctr containers ls -q); do kube_ctr containers rm "$id" || true; done
    halt 10 containerd
  fi >>"$LOGS/down.log" 2>&1
}

end_leftovers() { # containers that containerd could not end: children of the shims that have our socket among their arguments
  local shim
  { grep -lzxF -- "$CRI_SOCKET" /proc/[0-9]*/cmdline 2>/dev/null || true; } | cut -d/ -f3 | while read -r shim; do
    pkill -KILL --parent "$shim" || true
    kill -KILL "$shim" 2>/dev/null || true
  done
  # their sockets, which lie outside
  { grep -hs . "$RUN"/containerd/*/k8s.io/*/address || true; } | sed 's|^unix://||' | xargs -r rm -f
}

remove_cgroups() { # only empty ones can be removed
  local cgroup
  if [ ! -d "$STATE/kubelet" ]; then return; fi # none are ours
  for cgroup in /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods; do
    find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

delete() { # delete PATH...: in CLUSTER_HOME, and with nothing mounted in it whose files would go too
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
  [ "$(id -u)" = 0 ] || die "only root can end the cluster: run it as root (sudo make cluster-down)"
  lock
  mkdir -p "$RUN" "$LOGS" "$CONF"
  say "ending the control plane"
  halt 2 "${PROCESSES[@]}"
  say "ending the pods"
  (end_pods) || say "containerd could not do it (log: $LOGS/down.log): killing them"
  end_leftovers
  for folder in "$STATE" "$RUN" "$STORAGE"; do
    mounts_in "$folder" | while read -r mount; do umount --lazy "$mount" || true; done
  done
  say "taking the network down"
  network_down
  unshare_mounts
  remove_cgroups
  delete "$STATE" "$RUN" "$KUBECONFIG"
  say "the cluster is gone"
else
  say "no cluster runs"
fi
if [ "${1:-}" = --clean ]; then
  lock
  mapfile -t entries < <(find "$CLUSTER_HOME" -mindepth 1 -maxdepth 1 ! -path "$MARK")
  delete "${entries[@]}"
  rm "$MARK"
  rmdir "$CLUSTER_HOME" 2>/dev/null || true # a mounted disk stays
  say "$CLUSTER_HOME is deleted"
fi
