# containerd, which runs the pods, and the registry that it pulls from. Sourced by up.sh and down.sh.
# shellcheck shell=bash

start_registry() { # push with: buildah push --tls-verify=false IMAGE docker://localhost:5000/NAME:TAG
  mkdir -p "$REGISTRY"
  put "$CONF/registry.yaml" <<END
version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: $REGISTRY}
  delete: {enabled: true}
http: {addr: "127.0.0.1:$REGISTRY_PORT"}
END
  OTEL_TRACES_EXPORTER=none ensure registry "$BIN/registry" serve "$CONF/registry.yaml"
}

start_containerd() { # with its own socket, store and CNI settings: another containerd on the machine is not affected
  mkdir -p "$CONF/cni" "$CONF/registries/localhost:$REGISTRY_PORT"
  put "$CONF/containerd.toml" <<END
version = 2
root = "$STATE/containerd"
state = "$RUN/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "$CRI_SOCKET"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  # Sandboxes request an oom_score_adj of -998. A root without CAP_SYS_RESOURCE may not set one below its own, and runc fails.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$CONF/registries"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$CONF/cni"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "$RUN/runc"
        SystemdCgroup = false
END
  put "$CONF/registries/localhost:$REGISTRY_PORT/hosts.toml" <<<"server = \"http://127.0.0.1:$REGISTRY_PORT\""
  put "$CONF/cni/pods.conflist" <<END
{
  "cniVersion": "0.4.0",
  "name": "$CLUSTER_NAME",
  "plugins": [
    {
      "type": "bridge", "bridge": "$POD_BRIDGE", "mtu": $(mtu),
      "isGateway": true, "isDefaultGateway": true, "hairpinMode": true,
      "ipam": {"type": "host-local", "dataDir": "$STATE/addresses", "ranges": [[{"subnet": "$POD_CIDR"}]]}
    }
  ]
}
END
  ensure containerd "$(command -v containerd)" --config "$CONF/containerd.toml"
}

kube_ctr() { timeout 120 ctr --address "$CRI_SOCKET" --namespace k8s.io "$@"; }
