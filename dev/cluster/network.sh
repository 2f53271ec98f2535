# The cluster's network on the host: devices, routes, iptables rules, kernel settings, mounts. Sourced by up.sh and down.sh.
# shellcheck shell=bash

# iptables rules that let pods reach other networks and come before the rules of a firewall or of Docker. The comment of each is the
# cluster's name.
RULES=(
  "nat POSTROUTING -s $POD_CIDR ! -d $POD_CIDR -j MASQUERADE"
  "filter FORWARD -i $POD_BRIDGE -j ACCEPT"
  "filter FORWARD -o $POD_BRIDGE -j ACCEPT"
  "filter INPUT -i $POD_BRIDGE -j ACCEPT"
)

own_rule() { # own_rule -C|-I|-D RULE
  local words
  read -ra words <<<"$2"
  iptables -w -t "${words[0]}" "$1" "${words[@]:1}" -m comment --comment "$CLUSTER_NAME" 2>/dev/null
}

at_least_sysctl() { # at_least_sysctl KEY VALUE: raise the setting to VALUE, never lower it
  if [ "$(sysctl -n "$1")" -lt "$2" ]; then sysctl -qw "$1=$2"; fi
}

network_up() {
  local rule
  modprobe -qa br_netfilter overlay 2>/dev/null || true # when they are modules
  at_least_sysctl net.ipv4.ip_forward 1
  at_least_sysctl net.bridge.bridge-nf-call-iptables 1
  at_least_sysctl fs.inotify.max_user_instances 1024

  # A bridge without ports has the node's address: not every kernel has the dummy driver.
  bridge "$NODE_DEVICE" "$NODE_IP/32"
  bridge "$POD_BRIDGE" "$POD_GATEWAY/${POD_CIDR#*/}"
  # Keep packets for service addresses on this machine. Before kube-proxy has written the rules of a service, a connection to it
  # would take the default route; where a router answers for every address, the API server would keep that wrong connection
  # indefinitely. The route is on a device, since connect() on an unreachable route fails before iptables sees the packet.
  ip route replace "$SERVICE_CIDR" dev "$POD_BRIDGE" src "$NODE_IP"
  for rule in "${RULES[@]}"; do own_rule -C "$rule" || own_rule -I "$rule"; done
}

bridge() { # bridge DEVICE ADDRESS
  if ! ip link show "$1" >/dev/null 2>&1; then ip link add "$1" type bridge; fi
  ip addr replace "$2" dev "$1"
  ip link set "$1" up
}

network_down() {
  local rule device table iptables
  for rule in "${RULES[@]}"; do while own_rule -D "$rule"; do :; done; done
  for device in "$POD_BRIDGE" "$NODE_DEVICE"; do ip link del "$device" 2>/dev/null || true; done # deletes their routes, too
  if [ -x "$BIN/kube-proxy" ]; then timeout 30 "$BIN/kube-proxy" --cleanup >"$LOGS/kube-proxy-cleanup.log" 2>&1 || true; fi
  for iptables in iptables ip6tables; do # chains that the kubelet leaves
    for table in mangle nat filter; do drop_chain "$iptables" "$table" KUBE-KUBELET-CANARY; done
    drop_chain "$iptables" mangle KUBE-IPTABLES-HINT
    drop_chain "$iptables" filter KUBE-FIREWALL INPUT OUTPUT
  done
}

drop_chain() { # drop_chain IPTABLES TABLE CHAIN [USER...]: delete the chain and the jumps to it from the chains USER
  local user
  for user in "${@:4}"; do "$1" -w -t "$2" -D "$user" -j "$3" 2>/dev/null || true; done
  { "$1" -w -t "$2" -F "$3" && "$1" -w -t "$2" -X "$3"; } 2>/dev/null || true
}

mtu() { # of the default route's device, so that the pods' packets fit
  local device
  device=$(ip -4 route show default | sed -n '1s/.* dev \([^ ]*\).*/\1/p')
  cat "/sys/class/net/${device:-none}/mtu" 2>/dev/null || echo 1500
}

# --- Mounts ---------------------------------------------------------------------------------------------------------------

# A pod with mount propagation HostToContainer sees later mounts below shared mounts only. The kernel's default is private; systemd
# makes mounts shared, but not every machine runs it.
share_mounts() {
  local target
  for target in / "$(findmnt -no TARGET --target "$STATE")"; do
    if [[ $(findmnt -no PROPAGATION "$target" | tail -n 1) != *shared* ]]; then
      mount --make-shared "$target"
      echo "$target" >>"$RUN/shared-mounts"
    fi
  done
}

unshare_mounts() {
  local target
  while read -r target; do mount --make-private "$target" || true; done 2>/dev/null <"$RUN/shared-mounts" || true
}

mounts_in() { # mounts_in FOLDER: the innermost first
  awk -v folder="$1/" 'index($2 "/", folder) == 1 { print $2 }' /proc/mounts | sort -r
}
