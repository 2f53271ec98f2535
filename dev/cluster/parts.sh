# The parts of the cluster, and which of them are missing or not of the pinned version. Sourced by build.sh, preflight.sh, up.sh.
# A part is called packages, binary:NAME or image:NAME. NAME.stamp beside a built part is the recipe that it was built from.
# shellcheck shell=bash disable=SC2034

# A needed program or file, and the Debian package that has it. When the machine has it from another package (Docker's containerd.io
# in place of containerd), nothing is installed.
PACKAGES="
ip                                                iproute2
iptables                                          iptables
sysctl                                            procps
containerd                                        containerd
ctr                                               containerd
runc                                              runc
/usr/lib/cni/bridge                               containernetworking-plugins
buildah                                           buildah
mmdebstrap                                        mmdebstrap
/usr/share/keyrings/debian-archive-keyring.gpg    debian-archive-keyring
/etc/ssl/certs/ca-certificates.crt                ca-certificates
"

# Go programs. A main package in src/NAME replaces the module's.
declare -A GO_PACKAGES GO_VERSION GO_VERSION_VARIABLE GO_REPLACE
go_program() { # go_program NAME PACKAGE VERSION [VARIABLE]: the variable is what the program prints as its version
  GO_PACKAGES[$1]=$2 GO_VERSION[$1]=$3 GO_VERSION_VARIABLE[$1]=${4:-}
}
go_program kubernetes \
  "$(echo k8s.io/kubernetes/cmd/kube{-apiserver,-controller-manager,-proxy,-scheduler,adm,ctl,let})" "$KUBERNETES_VERSION"
go_program etcd go.etcd.io/etcd/server/v3 "$ETCD_VERSION"
go_program coredns github.com/coredns/coredns "$COREDNS_VERSION"
go_program local-path-provisioner github.com/rancher/local-path-provisioner "$LOCAL_PATH_VERSION"
go_program metrics-server sigs.k8s.io/metrics-server/cmd/metrics-server "$METRICS_SERVER_VERSION"
go_program registry github.com/distribution/distribution/v3/cmd/registry "$REGISTRY_VERSION"
go_program helm helm.sh/helm/v3/cmd/helm "$HELM_VERSION" helm.sh/helm/v3/internal/version.version
go_program helm4 helm.sh/helm/v4/cmd/helm "$HELM4_VERSION" helm.sh/helm/v4/internal/version.version
go_program skaffold github.com/GoogleContainerTools/skaffold/v2/cmd/skaffold "$SKAFFOLD_VERSION" \
  github.com/GoogleContainerTools/skaffold/v2/pkg/skaffold/version.version
go_program helm-unittest github.com/helm-unittest/helm-unittest/cmd/helm-unittest "$HELM_UNITTEST_VERSION"
go_program helm-docs github.com/norwoodj/helm-docs/cmd/helm-docs "$HELM_DOCS_VERSION" main.version
go_program actionlint github.com/rhysd/actionlint/cmd/actionlint "$ACTIONLINT_VERSION"
go_program promtool github.com/prometheus/prometheus/cmd/promtool "$PROMETHEUS_VERSION" \
  github.com/prometheus/common/version.Version
# helm-unittest needs its own version of a library, as its go.mod says.
GO_REPLACE[helm-unittest]=github.com/vmware-labs/yaml-jsonpath=github.com/helm-unittest/yaml-jsonpath@v0.4.0
# Copies of the replacements in skaffold's go.mod, which Go applies in the main module only: mergo has moved, docker 28 does not
# compile.
GO_REPLACE[skaffold]="
github.com/alessio/shellescape=github.com/alessio/shellescape@v1.4.2
github.com/buildpacks/lifecycle=github.com/buildpacks/lifecycle@v0.20.5
github.com/docker/cli=github.com/docker/cli@v27.5.1+incompatible
github.com/docker/docker=github.com/docker/docker@v27.5.1+incompatible
github.com/imdario/mergo=github.com/imdario/mergo@v0.3.16
github.com/spf13/viper=github.com/spf13/viper@v1.19.0
"
CLUSTER=(packages binaries images) # the groups that a running cluster needs
CLUSTER_PROGRAMS=(kubernetes etcd coredns local-path-provisioner metrics-server registry)
TOOLS=(helm helm4 helm-unittest helm-docs actionlint promtool skaffold)

# Images: of one static program each, or of a small Debian.
declare -A IMAGE_NAME=(
  [pause]=$PAUSE_IMAGE
  [coredns]=$COREDNS_IMAGE
  [local-path-provisioner]=$LOCAL_PATH_IMAGE
  [metrics-server]=$METRICS_SERVER_IMAGE
  [base]=$BASE_IMAGE
)
CLUSTER_IMAGES=(pause coredns local-path-provisioner metrics-server base)

missing_packages() { # the Debian packages to install
  local needed package
  while read -r needed package; do
    if [ -n "$needed" ] && [ ! -e "$needed" ] && ! command -v "$needed" >/dev/null; then echo "$package"; fi
  done <<<"$PACKAGES" | sort -u
}

programs_of() { # programs_of NAME: the files in $BIN that its build writes
  local package
  if [ "$1" != kubernetes ]; then
    echo "$1"
    return
  fi
  for package in ${GO_PACKAGES[$1]}; do echo "${package##*/}"; done
}

recipe() { # recipe PART: a text that changes when the part has to be built again
  local name=${1#*:} source=$SCRIPTS/src/${1#*:}/main.go
  case $1 in
    binary:*)
      echo "${GO_PACKAGES[$name]} ${GO_VERSION[$name]} ${GO_REPLACE[$name]:-}"
      if [ -f "$source" ]; then cksum <"$source"; fi
      ;;
    image:pause) echo "$PAUSE_IMAGE" && cksum <"$SCRIPTS/src/pause.c" ;;
    image:base) echo "$BASE_IMAGE merged-usr" && { cat /usr/local/share/ca-certificates/*.crt 2>/dev/null || true; } | cksum ;;
    image:*) echo "${IMAGE_NAME[$name]}" && recipe "binary:$name" ;;
  esac
}

stamp_of() { # stamp_of PART: the file with the recipe of the built part
  case $1 in binary:*) echo "$BIN/${1#*:}.stamp" ;; image:*) echo "$IMAGES/${1#*:}.stamp" ;; esac
}

is_current() { # is_current PART: is it built from its present recipe?
  local name=${1#*:} program
  case $1 in
    packages) [ -z "$(missing_packages)" ]; return ;;
    binary:*) for program in $(programs_of "$name"); do [ -x "$BIN/$program" ] || return 1; done ;;
    image:*) [ -f "$IMAGES/$name.tar" ] || return 1 ;;
  esac
  recipe "$1" | cmp -s - "$(stamp_of "$1")"
}

parts_of() { # parts_of GROUP|NAME...: the parts, one per line, in build order
  local name
  for name; do
    case $name in
      packages) echo packages ;;
      binaries) printf 'binary:%s\n' "${CLUSTER_PROGRAMS[@]}" ;;
      images) printf '%s\n' binary:{coredns,local-path-provisioner,metrics-server} && printf 'image:%s\n' "${CLUSTER_IMAGES[@]}" ;;
      tools) printf 'binary:%s\n' "${TOOLS[@]}" ;;
      *)
        if [ -n "${GO_VERSION[$name]:-}" ]; then
          echo "binary:$name"
        elif [ -n "${IMAGE_NAME[$name]:-}" ]; then
          echo "image:$name"
        else
          die "no part is called '$name'; there are packages, binaries, images, tools, ${!GO_VERSION[*]}, pause, base"
        fi
        ;;
    esac
  done
}

missing() { # missing GROUP|NAME...: the parts of them that are not current
  local parts part
  parts=$(parts_of "$@")
  for part in $parts; do if ! is_current "$part"; then echo "$part"; fi; done
}
