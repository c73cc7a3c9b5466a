#!/usr/bin/env bash
# How fast radish pull is beside one curl for each file in parallel, against the test hub on loopback: alternating runs,
# medians, and radish's largest resident size. Prints; judges nothing. BYTES, SHARDS, RUNS and DIR can be set; DIR on
# tmpfs leaves the disk out of it, and `sync` is part of both on a disk.
set -euo pipefail
cd "$(dirname "$0")/.."
BYTES=${BYTES:-1073741824} SHARDS=${SHARDS:-4} RUNS=${RUNS:-5} DIR=${DIR:-/dev/shm}
command -v curl >/dev/null || { echo "hub-bench: curl is not installed" >&2; exit 1; }
work=$(mktemp -d -p "$DIR")
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
go build -trimpath -o "$work/testhub" ./scripts/testhub
: >"$work/log"
"$work/testhub" -big "$BYTES" -of "$SHARDS" -dir "$work" >"$work/log" &
pid=$!
for _ in $(seq 600); do grep -q '^HUB_TOKEN=' "$work/log" && break; sleep 0.1; done
eval "export $(grep '^HF_ENDPOINT=' "$work/log")"
names=$(for i in $(seq "$SHARDS"); do printf 'model-%05d-of-%05d.safetensors ' "$i" "$SHARDS"; done)

with_curl() {
  mkdir "$work/curl"
  local jobs=()
  for n in $names; do
    curl -sSfL -o "$work/curl/$n" "$HF_ENDPOINT/org/big/resolve/main/$n" & jobs+=($!)
  done
  wait "${jobs[@]}"
  sync -f "$work/curl"
}
with_radish() { HF_TOKEN='' HF_HUB_CACHE="$work/cache" bin/radish pull org/big >/dev/null 2>&1; }
timed() { local t=$EPOCHREALTIME; "$@"; echo "$(( ${EPOCHREALTIME/./} - ${t/./} ))"; }
median() { sort -n | awk '{v[NR]=$1} END {print (NR%2) ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2}'; }

curls=() radishes=()
for _ in $(seq "$RUNS"); do
  curls+=("$(timed with_curl)"); rm -rf "$work/curl"
  radishes+=("$(timed with_radish)"); rm -rf "$work/cache"
done
c=$(printf '%s\n' "${curls[@]}" | median) r=$(printf '%s\n' "${radishes[@]}" | median)
HF_TOKEN='' HF_HUB_CACHE="$work/cache" bin/radish pull org/big >/dev/null 2>&1 & job=$!
peak=0
while [ -r "/proc/$job/status" ]; do
  now=$(awk '/^VmHWM/ {print $2}' "/proc/$job/status" 2>/dev/null || true)
  [ "${now:-0}" -gt "$peak" ] && peak=$now
  sleep 0.01
done
wait "$job"
awk -v b="$BYTES" -v n="$SHARDS" -v k="$RUNS" -v c="$c" -v r="$r" -v p="$peak" -v d="$DIR" 'BEGIN {
  printf "%d files, %.0f MiB in all, in %s, median of %d runs each, alternating\n", n, b/1048576, d, k
  printf "curl, one per file   %7.0f MiB/s\n", b/1048576/(c/1e6)
  printf "radish pull          %7.0f MiB/s   %.2f of curl\n", b/1048576/(r/1e6), c/r
  printf "radish, largest resident size %.0f MiB\n", p/1024 }'
