#!/bin/sh
# usage: MODEL=ORG/NAME scripts/pod-setup.sh [FLAGS OF radish serve]     the start command of a pod template
# Takes the pod to an endpoint that has answered, with radish setup, and can be run again whenever the pod starts. As
# process 1, or with FOREGROUND=1 (under docker --init), it then is the supervisor: radish start --foreground. From the
# environment:
#   MODEL       what radish setup takes: ORG/NAME[@REV], a directory, builtin
#   PORT        port to listen on (30000)
#   API_KEY     key that clients must send; with one it listens on all addresses unless HOST says otherwise
#   HOST        address to listen on (127.0.0.1)
#   HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, and RADISH_* for every other flag
# The program is looked for in PATH and in bin/ beside scripts/, else built with go.
# Exit status: that of radish setup, or of radish start --foreground; 2 without MODEL; 127 without a program.
set -eu
[ -n "${MODEL:-}" ] || { echo "pod-setup: MODEL is not set; for example MODEL=Qwen/Qwen3-0.6B" >&2; exit 2; }
if [ -n "${PORT:-}" ]; then export RADISH_PORT="$PORT"; fi
if [ -n "${API_KEY:-}" ]; then export RADISH_API_KEY="$API_KEY"; fi
if [ -n "${HOST:-}" ]; then
  export RADISH_HOST="$HOST"
elif [ -n "${RADISH_API_KEY:-}" ] && [ -z "${RADISH_HOST:-}" ]; then
  export RADISH_HOST=0.0.0.0
fi

top=$(cd "$(dirname "$0")/.." && pwd)
if command -v radish >/dev/null; then
  radish=radish
else
  radish=$top/bin/radish
  if [ ! -x "$radish" ]; then
    command -v go >/dev/null || { echo "pod-setup: no radish in PATH or $top/bin, and no go to build it with" >&2; exit 127; }
    make -C "$top" build >&2
  fi
fi

if [ "$$" -ne 1 ] && [ -z "${FOREGROUND:-}" ]; then
  exec "$radish" setup "$@" "$MODEL"
fi
"$radish" setup --no-start "$@" "$MODEL"
# Once the supervisor is there, the rest of the set-up joins it: wait until it is ready, ask for a completion, say so.
(
  tries=0
  until "$radish" status --quiet || [ $? -ne 3 ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || exit 0
    sleep 1
  done
  exec "$radish" setup --skip-doctor "$@" "$MODEL" >&2
) &
exec "$radish" start --foreground --skip-doctor --model-path "$MODEL" "$@"
