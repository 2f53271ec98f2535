#!/usr/bin/env bash
# Builds the parts of the cluster that are missing or whose pinned version has changed: programs from their Go modules, images
# from these programs and from Debian's packages. Nothing is pulled from an image registry.
#
#   build.sh           the cluster: the groups packages, binaries and images
#   build.sh tools     helm, helm4, helm-unittest, helm-docs, actionlint, promtool and skaffold
#   build.sh NAME...   these groups or parts (helm, etcd, base ...)
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$(readlink -f "$0")")/common.sh"
. "$SCRIPTS/parts.sh"

CHILD=
trap 'if [ -n "$CHILD" ]; then kill -- -"$CHILD" 2>/dev/null || true; fi' EXIT
trap 'exit 130' INT TERM

# timed MINUTES NAME VERSION COMMAND...: runs the command, at most for MINUTES; writes its output to a log, prints a line every 30 s
timed() {
  local minutes=$1 name=$2 label="$2 $3" log=$LOGS/build-$2.log
  local from=$EPOCHREALTIME deadline=$((SECONDS + $1 * 60)) report=$((SECONDS + 30))
  shift 3
  say "$label ... (at most $minutes min; log: $log)"
  set -m # its own process group, which the trap can kill as a whole
  "$@" >"$log" 2>&1 </dev/null &
  CHILD=$!
  set +m
  while kill -0 "$CHILD" 2>/dev/null; do
    if ((SECONDS >= deadline)); then
      fail_with_log "$name was not done after $minutes minutes" "$log" # the trap kills the command
    fi
    if ((SECONDS >= report)); then
      say "$label ... running for $(since "$from") s"
      report=$((SECONDS + 30))
    fi
    sleep 0.2
  done
  wait "$CHILD" || fail_with_log "$name failed" "$log"
  CHILD=
  say "$label: $(since "$from") s"
}

install_packages() {
  local packages
  mapfile -t packages < <(missing_packages)
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  # --no-remove: fail rather than remove a package that the machine uses, such as another containerd
  apt-get install -y -q --no-install-recommends --no-remove "${packages[@]}"
}

thrice() { "$@" || { sleep 5 && "$@"; } || { sleep 20 && "$@"; }; } # for commands that fail during a short network failure

go_build() { # go_build NAME: in its own Go module, so that the requirements of one program do not change another's
  local name=$1 version=${GO_VERSION[$1]} out=$BIN/$1 packages replacement variable flags=(-s -w)
  read -ra packages <<<"${GO_PACKAGES[$name]}"
  export CGO_ENABLED=0 GOWORK=off GOFLAGS=-buildvcs=false
  rm -rf "${MODULES:?}/$name"
  mkdir -p "$MODULES/$name"
  cd "$MODULES/$name"
  go mod init "cluster/$name"
  for replacement in ${GO_REPLACE[$name]:-}; do go mod edit -replace="$replacement"; done
  for variable in ${GO_VERSION_VARIABLE[$name]}; do flags+=(-X "$variable=$version"); done
  if [ "$name" = kubernetes ]; then
    replace_staging "$version"
    for variable in k8s.io/{component-base/version,client-go/pkg/version}; do
      flags+=(-X "$variable.gitVersion=$version")
      flags+=(-X "$variable.gitMajor=1" -X "$variable.gitMinor=$(cut -d. -f2 <<<"$version")")
    done
    out=$BIN/
  fi
  if [ -f "$SCRIPTS/src/$name/main.go" ]; then
    cp "$SCRIPTS/src/$name/main.go" .
    thrice go get "${packages[0]}@$version"
    thrice go mod tidy
    packages=(.)
  else
    thrice go get "${packages[@]/%/@$version}"
  fi
  go build -trimpath -ldflags "${flags[*]}" -o "$out" "${packages[@]}"
}

# replace_staging VERSION: Kubernetes' go.mod replaces some modules by folders of its repository; here by their published modules
replace_staging() {
  local go_mod replacements
  thrice go mod download "k8s.io/kubernetes@$1"
  go_mod=$(go env GOMODCACHE)/cache/download/k8s.io/kubernetes/@v/$1.mod
  mapfile -t replacements < <(awk -v version="v0.${1#v1.}" '
    $2 == "=>" && $3 ~ /^\.\/staging/ { print "-replace=" $1 "=" $1 "@" version }
    $1 == "go" || $1 == "godebug" { print "-" $1 "=" $2 }' "$go_mod")
  go mod edit "${replacements[@]}"
}

image_build() { # image_build NAME
  local name=$1 image=${IMAGE_NAME[$1]}
  mkdir -p "$STORAGE"
  put "$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "overlay"
graphroot = "$STORAGE/layers"
runroot = "$STORAGE/run"
END
  context=$(mktemp -d "$CLUSTER_HOME/context.XXXXXX") # not local: the trap runs after the function has ended
  trap 'rm -rf "$context"' EXIT
  case $name in
    base)
      debian_root "$context/root.tar"
      printf '%s\n' 'FROM scratch' 'ADD root.tar /' 'CMD ["bash"]' >"$context/Dockerfile"
      ;;
    pause)
      gcc -Os -static -s -o "$context/pause" "$SCRIPTS/src/pause.c"
      printf '%s\n' 'FROM scratch' 'COPY pause /pause' 'USER 65535:65535' 'ENTRYPOINT ["/pause"]' >"$context/Dockerfile"
      ;;
    *)
      cp "$BIN/$name" "$context"
      printf '%s\n' 'FROM scratch' "COPY $name /$name" "ENTRYPOINT [\"/$name\"]" >"$context/Dockerfile"
      ;;
  esac
  buildah bud --tag "$image" "$context"
  rm -f "$IMAGES/$name.tar"
  buildah push "$image" "docker-archive:$IMAGES/$name.tar:$image"
}

# debian_root TAR: a minimal Debian from the machine's mirror, with the CA certificates that were added to the machine.
# Like the official image, it is made with /bin as a link to /usr/bin. Otherwise the package usrmerge does it, with Perl: 48 MB.
debian_root() {
  local sources=() file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
    if grep -qsE "^(deb |Suites:).*\b$DEBIAN_SUITE\b" "$file"; then sources+=("$file"); fi
  done
  # shellcheck disable=SC2016 # mmdebstrap sets $1 to the new root
  mmdebstrap --mode=root --variant=minbase --include=ca-certificates,usr-is-merged \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='cp /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/" 2>/dev/null || true' \
    --customize-hook='chroot "$1" update-ca-certificates' \
    "$DEBIAN_SUITE" "$1" "${sources[@]}"
}

make_part() { # make_part PART
  local name=${1#*:} stamp
  if [ "$1" = packages ]; then
    timed 30 packages "$(missing_packages | xargs)" install_packages
    return
  fi
  stamp=$(stamp_of "$1")
  rm -f "$stamp" # until the part is complete, it counts as missing
  case $1 in
    binary:kubernetes)
      say "the longest step comes first: it takes six minutes on two cores"
      timed 90 "$name" "${GO_VERSION[$name]}" go_build "$name"
      ;;
    binary:*) timed 45 "$name" "${GO_VERSION[$name]}" go_build "$name" ;;
    image:*) timed 15 "image-$name" "${IMAGE_NAME[$name]}" image_build "$name" ;;
  esac
  recipe "$1" >"$stamp"
}

if [ $# = 0 ]; then set -- "${CLUSTER[@]}"; fi
todo=$(missing "$@")
if [ -z "$todo" ]; then
  say "nothing to build"
  exit 0
fi
"$SCRIPTS/preflight.sh" "$@"
claim_home
lock
mkdir -p "$BIN" "$MODULES" "$IMAGES" "$LOGS"
for part in $todo; do make_part "$part"; done
