# Functions for messages, files, processes and waiting. Sourced by every script in this folder.
# shellcheck shell=bash source-path=SCRIPTDIR
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/settings.sh"

export BEGUN=${BEGUN:-$EPOCHREALTIME} # scripts that call each other show the time since the same start

since() { # since TIME: the seconds since then, with one decimal
  local tenths=$(((${EPOCHREALTIME//[.,]/} - ${1//[.,]/}) / 100000))
  echo "$((tenths / 10)).$((tenths % 10))"
}

say() { printf '%6s s  %s\n' "$(since "$BEGUN")" "$*"; }

die() {
  echo "error: $*" >&2
  exit 1
}

fail_with_log() { # fail_with_log MESSAGE FILE: print the message and the end of the log, exit
  {
    echo "error: $1"
    echo "the last lines of $2:"
    tail -n 15 "$2" | cut -c1-300 | sed 's/^/  | /' || true
  } >&2
  exit 1
}

# --- The folder ---------------------------------------------------------------------------------------------------------

MARK=$CLUSTER_HOME/.data-collection-cluster # marks the folder as ours; nothing is deleted in a folder without it

claim_home() {
  if [ -e "$MARK" ]; then return; fi
  mkdir -p "$CLUSTER_HOME"
  if [ -n "$(ls -A "$CLUSTER_HOME")" ]; then die "$CLUSTER_HOME holds other files"; fi # preflight.sh has printed what to do
  touch "$MARK"
}

lock() { # only one script runs at a time; the scripts that it calls share its lock
  if [ "${CLUSTER_LOCKED:-}" = "$CLUSTER_HOME" ]; then return; fi
  exec 9>>"$MARK"
  flock -n 9 || die "another script is running in $CLUSTER_HOME: wait until it has ended"
  export CLUSTER_LOCKED=$CLUSTER_HOME
}

put() { # put FILE: write standard input to the file, unless the file already has this content
  local new
  new=$(mktemp "$1.XXXXXX")
  cat >"$new"
  if cmp -s "$new" "$1"; then rm "$new"; else mv "$new" "$1"; fi
}

# --- Processes ----------------------------------------------------------------------------------------------------------

STARTED=() # processes that this script needs: await fails when one of them ends

started_at() { # started_at PID: when the process was started, in ticks since the boot; fails when it does not run
  local fields
  fields=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  read -ra fields <<<"${fields##*) }"
  if [ "${fields[0]}" = Z ]; then return 1; fi
  echo "${fields[19]}"
}

running() { # running NAME: does the process that ensure started still run? The start time shows whether the pid was reused.
  local pid start
  read -r pid start 2>/dev/null <"$RUN/$1.pid" && [ "$(started_at "$pid")" = "$start" ]
}

fingerprint() { # fingerprint PROGRAM ARGUMENT...: a checksum of the program's size and time, the arguments and the files in them
  local argument
  {
    stat -L -c '%s %Y' "$1"
    for argument in "${@:2}"; do
      echo "$argument"
      if [ -f "${argument#*=}" ]; then cat "${argument#*=}"; fi
    done
  } | cksum
}

ensure() { # ensure NAME PROGRAM ARGUMENT...: run it in the background; restart it when its fingerprint has changed
  local name=$1 print pid
  shift
  print=$(fingerprint "$@")
  STARTED+=("$name")
  if running "$name"; then
    if [ "$print" = "$(cat "$RUN/$name.print" 2>/dev/null)" ]; then return; fi
    say "$name has changed (its program, options or files)"
    halt 10 "$name"
  fi
  say "starting $name"
  (cd / && exec setsid "$@") >>"$LOGS/$name.log" 2>&1 </dev/null 9>&- &
  pid=$!
  echo "$pid $(started_at "$pid")" >"$RUN/$name.pid"
  echo "$print" >"$RUN/$name.print"
}

signal() { # signal SIGNAL NAME
  if running "$2"; then kill -s "$1" "$(cut -d' ' -f1 "$RUN/$2.pid")" || true; fi
}

halt() { # halt SECONDS NAME...: send SIGTERM to all of them, and SIGKILL to those that still run after SECONDS
  local name deadline=$((SECONDS + $1))
  shift
  for name; do signal TERM "$name"; done
  for name; do
    while running "$name"; do
      if ((SECONDS >= deadline + 10)); then die "$name does not end, not even after SIGKILL"; fi
      if ((SECONDS >= deadline)); then signal KILL "$name"; fi
      sleep 0.05
    done
    rm -f "$RUN/$name".{pid,print}
  done
}

await() { # await SECONDS NAME WHAT COMMAND...: wait until the command succeeds; errors show the end of the log of process NAME
  local limit=$1 log=$LOGS/$2.log what=$3 deadline=$((SECONDS + $1)) reported='' name
  shift 3
  until "$@" >/dev/null 2>&1; do
    for name in "${STARTED[@]}"; do
      running "$name" || fail_with_log "$name has ended" "$LOGS/$name.log"
    done
    if ((SECONDS >= deadline)); then fail_with_log "gave up waiting for $what after $limit s" "$log"; fi
    if [ -z "$reported" ]; then say "waiting for $what (at most $limit s; log: $log)"; fi
    reported=yes
    sleep 0.1
  done
}
