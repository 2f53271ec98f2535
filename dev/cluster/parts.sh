# What the cluster is made of, and which of it is missing or not of the pinned version. Sourced by build.sh, preflight.sh, up.sh.
# A part is called packages, binary:NAME or image:NAME. Beside each built one stands NAME.stamp: the recipe it was built from.
# shellcheck shell=bash disable=SC2034

# Debian packages: what must be there, and the package that brings it. A machine may have it from another package already
# (Docker's containerd.io in place of containerd), which then stays.
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

# Go programs. An own main package in src/NAME takes the place of the module's.
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
# What skaffold's own go.mod replaces, which counts only in the main module: mergo has moved, docker 28 does not compile.
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

# Images, and what is in them: one static program each, or a small Debian.
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

programs_of() { # programs_of NAME: the files in $BIN that its build makes
  local package
  if [ "$1" != kubernetes ]; then
    echo "$1"
    return
  fi
  for package in ${GO_PACKAGES[$1]}; do echo "${package##*/}"; done
}

recipe() { # recipe PART: a line that changes when the part has to be built again
  local name=${1#*:} source=$SCRIPTS/src/${1#*:}/main.go
  case $1 in
    binary:*)
      echo "${GO_PACKAGES[$name]} ${GO_VERSION[$name]} ${GO_REPLACE[$name]:-}"
      if [ -f "$source" ]; then cksum <"$source"; fi
      ;;
    image:pause) echo "$PAUSE_IMAGE" && cksum <"$SCRIPTS/src/pause.c" ;;
    image:base) echo "$BASE_IMAGE" && { cat /usr/local/share/ca-certificates/*.crt 2>/dev/null || true; } | cksum ;;
    image:*) echo "${IMAGE_NAME[$name]}" && recipe "binary:$name" ;;
  esac
}

stamp_of() { # stamp_of PART: the file that holds the recipe of what is there
  case $1 in binary:*) echo "$BIN/${1#*:}.stamp" ;; image:*) echo "$IMAGES/${1#*:}.stamp" ;; esac
}

is_current() { # is_current PART
  local name=${1#*:} program
  case $1 in
    packages) [ -z "$(missing_packages)" ]; return ;;
    binary:*) for program in $(programs_of "$name"); do [ -x "$BIN/$program" ] || return 1; done ;;
    image:*) [ -f "$IMAGES/$name.tar" ] || return 1 ;;
  esac
  recipe "$1" | cmp -s - "$(stamp_of "$1")"
}

parts_of() { # parts_of GROUP|NAME...: the parts, each on a line, in the order of their making
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

missing() { # missing GROUP|NAME...: those parts that are not there as pinned
  local parts part
  parts=$(parts_of "$@")
  for part in $parts; do if ! is_current "$part"; then echo "$part"; fi; done
}
