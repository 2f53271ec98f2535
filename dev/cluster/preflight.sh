#!/usr/bin/env bash
# Reports every problem of a start or a build at once, each with the next step, before anything is changed. Checks only what this
# start or build needs.
#
#   preflight.sh            for starting the cluster, and for building its missing parts
#   preflight.sh PART...    for building these parts (names as for build.sh)
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$(readlink -f "$0")")/common.sh"
. "$SCRIPTS/parts.sh"

STARTS= # yes when the cluster will be started
if [ $# = 0 ]; then
  STARTS=yes
  set -- "${CLUSTER[@]}"
fi
TODO=$(missing "$@")
PROBLEMS=()
problem() { PROBLEMS+=("$1: $2"); } # problem WHAT NEXT-STEP
to_do() { grep -q "$1" <<<"$TODO"; } # to_do PATTERN: does a missing part match?
has() { command -v "$1" >/dev/null; }

check_machine() {
  case $(uname -s)/$(uname -m) in
    Linux/x86_64 | Linux/aarch64) ;;
    *) problem "this is $(uname -s) on $(uname -m)" "the cluster needs Linux on amd64 or arm64" ;;
  esac
  if { [ -n "$STARTS" ] || to_do '^packages\|^image'; } && [ "$(id -u)" != 0 ]; then
    problem "you are $(id -un 2>/dev/null || id -u), not root" \
      "run it as root (sudo make cluster-up): it makes network devices, mounts and cgroups"
  fi
  if ! { mkdir -p "$CLUSTER_HOME" && [ -w "$CLUSTER_HOME" ]; } 2>/dev/null; then
    problem "$CLUSTER_HOME cannot be written" "set CLUSTER_HOME to a folder that you may write"
  elif [ ! -e "$MARK" ] && [ -n "$(ls -A "$CLUSTER_HOME")" ]; then
    problem "$CLUSTER_HOME holds other files" "set CLUSTER_HOME to an empty or a new folder"
  fi
  if to_do '^packages' && ! has apt-get; then
    problem "these Debian packages are missing, and there is no apt-get: $(missing_packages | xargs)" \
      "use Debian 12 or newer, or a derivative of it"
  fi
}

check_compilers() {
  local next="install Go $GO_NEEDED or newer (https://go.dev/dl) and put it on PATH"
  if to_do '^binary'; then
    if ! has go; then
      problem "no Go, and there are programs to build" "$next"
    elif ! go_will_do; then
      problem "Go is too old: $(go_env GOVERSION)" "$next"
    fi
  fi
  if to_do '^image:pause'; then
    if ! has gcc || [[ $(gcc -print-file-name=libc.a) != /* ]]; then
      problem "no gcc, or no static C library for it" "apt-get install gcc libc6-dev"
    fi
  fi
}

go_env() { (cd / && go env "$1"); } # outside of any module, whose go.mod could change the answer

go_will_do() { # since 1.21, Go downloads the release that a module requires, unless GOTOOLCHAIN forbids it
  local version
  version=$(go_env GOVERSION)
  at_least "$GO_NEEDED" "${version#go}" || { at_least 1.21 "${version#go}" && [[ $(go_env GOTOOLCHAIN) == *auto ]]; }
}

at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; } # at_least WANTED GIVEN

# --- Disk and memory, in MiB ----------------------------------------------------------------------------------------------

check_space() {
  local programs home=500 caches
  programs=$(grep -c '^binary' <<<"$TODO" || true)
  if [ "$programs" -gt 0 ]; then
    home=$((home + programs * 100))
    caches=$((programs * 800)) # growth of Go's module and build caches: 9 GB when the whole cluster is built for the first time
    if to_do '^binary:kubernetes'; then home=$((home + 600)) caches=$((caches + 4000)); fi
    if has go; then
      need_disk "Go's build cache" "$(go_env GOCACHE)" "$caches" "free some, or set GOCACHE and GOMODCACHE to another disk"
    fi
    need_memory 2500 "building"
  fi
  if [ -n "$STARTS" ] && ! is_up; then
    home=$((home + 3000))
    need_memory 2000 "the cluster (0.8 GB without your pods)"
  fi
  need_disk "CLUSTER_HOME" "$CLUSTER_HOME" "$home" "free some, or set CLUSTER_HOME to a folder on another disk"
}

need_disk() { # need_disk WHAT FOLDER MIB NEXT-STEP
  local folder=$2 free
  while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
  free=$(($(df --output=avail -k "$folder" | tail -n 1) / 1024))
  if [ "$free" -lt "$3" ]; then problem "$1 ($2) has $free MB of disk left and needs about $3" "$4"; fi
}

need_memory() { # need_memory MIB FOR-WHAT
  local free
  free=$(($(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo) / 1024))
  if [ "$free" -lt "$1" ]; then
    problem "$free MB of memory are free, and $2 needs about $1" "end other programs, or use a larger machine"
  fi
}

is_up() { running kubelet && running kube-apiserver; }

# --- The kernel: each feature is tried in namespaces that end with the trial -----------------------------------------------

check_kernel() {
  local step="use a kernel that has it" privileged="inside a container: run it privileged"
  modprobe -qa overlay bridge br_netfilter veth nf_tables iptable_nat 2>/dev/null || true # when they are modules
  if ! unshare --net true 2>/dev/null; then
    problem "the kernel cannot create network namespaces" "$step; $privileged"
    return # the trials below need one
  fi
  if ! overlay_works; then
    problem "no overlayfs can be mounted on $CLUSTER_HOME" "set CLUSTER_HOME to a folder on ext4 or xfs, or $step; $privileged"
  fi
  if has ip && ! unshare --net ip link add trial type bridge 2>/dev/null; then
    problem "the kernel has no bridges" "$step (CONFIG_BRIDGE)"
  fi
  if has ip && ! unshare --net ip link add trial type veth peer name trial2 2>/dev/null; then
    problem "the kernel has no veth devices" "$step (CONFIG_VETH)"
  fi
  if [ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
    problem "iptables does not see bridged packets" "modprobe br_netfilter, or $step (CONFIG_BRIDGE_NETFILTER)"
  fi
  if has iptables-restore && ! unshare --net iptables-restore <<<"$IPTABLES_TRIAL" 2>/dev/null; then
    problem "iptables lacks what kube-proxy uses (tables nat, filter; comment, mark, statistic, addrtype, conntrack)" \
      "$step (CONFIG_NF_TABLES, CONFIG_NFT_COMPAT, CONFIG_NETFILTER_XT_*)"
  fi
  check_cgroups
}

IPTABLES_TRIAL='*nat
:trial - [0:0]
-A trial -m comment --comment trial -m statistic --mode random --probability 0.5 -j MARK --set-xmark 0x4000/0x4000
-A trial -m mark --mark 0x4000/0x4000 -j MASQUERADE --random-fully
-A trial -m addrtype --dst-type LOCAL -p tcp -m tcp -j DNAT --to-destination 10.0.0.1:80
COMMIT
*filter
:trial - [0:0]
-A trial -m conntrack --ctstate NEW -j REJECT
COMMIT'

overlay_works() {
  local trial options works=0
  trial=$(mktemp -d "$CLUSTER_HOME/trial.XXXXXX" 2>/dev/null) || return 0 # cannot be written: reported already
  mkdir "$trial"/{lower,upper,work,merged}
  options=lowerdir=$trial/lower,upperdir=$trial/upper,workdir=$trial/work
  unshare --mount mount -t overlay overlay -o "$options" "$trial/merged" 2>/dev/null || works=1
  rm -rf "$trial"
  return "$works"
}

check_cgroups() {
  local name have lacks=()
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then # version 2
    have=$(cat /sys/fs/cgroup/cgroup.controllers)
  else
    have=$(awk '$3 == "cgroup" { print $4 }' /proc/mounts | tr ',\n' '  ')
  fi
  for name in cpu cpuset memory pids; do
    [[ " $have " == *" $name "* ]] || lacks+=("$name")
  done
  if [ ${#lacks[@]} -gt 0 ]; then
    problem "/sys/fs/cgroup has no controllers for: ${lacks[*]}" \
      "mount them, or enable them on the kernel's command line (cgroup_enable=memory)"
  fi
  if [ ! -w /sys/fs/cgroup ]; then problem "/sys/fs/cgroup is read-only" "$privileged"; fi
}

# --- Ports and address ranges in use ---------------------------------------------------------------------------------------

check_ports() {
  local name port pid program listeners ours process owner
  local -A other=([kube-apiserver]=", or set API_PORT to another" [registry]=", or set REGISTRY_PORT to another")
  has ss || return 0
  ours=" $({ cut -d' ' -f1 "$RUN"/*.pid 2>/dev/null || true; } | xargs) "
  listeners=$(ss -Hltnp)
  for name in "${!PORTS[@]}"; do
    for port in ${PORTS[$name]}; do
      process="^(\S+ +){3}\S*:$port .*\(\(\"([^\"]*)\",pid=([0-9]+).*"
      owner="s/$process/\3 \2 (process \3)/p; t; s/^(\S+ +){3}\S*:$port .*/? a program that this user cannot see/p"
      while read -r pid program; do
        if [[ $ours == *" $pid "* ]]; then continue; fi
        problem "port $port, for $name, is in use by $program" "stop it${other[$name]:-}"
      done < <(sed -nE "$owner" <<<"$listeners" | sort -u)
    done
  done
}

check_routes() { # routes of other networks into the cluster's ranges
  local range other
  has ip || return 0
  for range in "$POD_CIDR" "$SERVICE_CIDR" "$NODE_IP/32"; do
    other=$({ ip -4 route show root "$range" && ip -4 route show match "$range"; } |
      grep -v "^default\|dev \($POD_BRIDGE\|$NODE_DEVICE\)\b" | head -n 1 || true)
    if [ -n "$other" ]; then
      problem "the cluster's range $range is in use ($(xargs <<<"$other"))" "take that network down (another cluster? a VPN?)"
    fi
  done
}

check_machine
check_compilers
check_space
if [ -n "$STARTS" ] && [ "$(id -u)" = 0 ] && ! is_up; then check_kernel; fi
if [ -n "$STARTS" ]; then
  check_ports
  check_routes
fi
if [ ${#PROBLEMS[@]} -gt 0 ]; then
  {
    echo "error: the cluster cannot be $([ -n "$STARTS" ] && echo started || echo built) here:"
    printf '  - %s\n' "${PROBLEMS[@]}"
  } >&2
  exit 1
fi
