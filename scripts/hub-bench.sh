#!/usr/bin/env bash
# How fast radish pull is beside one curl for each file in parallel, and beside curl with sha256sum after it, which does
# as much: against the test hub on loopback, alternating runs, medians, and radish's largest resident size. Prints; judges
# nothing. BYTES, SHARDS, RUNS and DIR can be set, and BINARY and TESTHUB where there is no Go; DIR on tmpfs leaves the disk out of it and shows what the processors
# do (a hash costs half a second for each GiB, which matters where there are two of them); on a disk all are synced.
set -euo pipefail
cd "$(dirname "$0")/.."
BYTES=${BYTES:-1073741824} SHARDS=${SHARDS:-4} RUNS=${RUNS:-5} DIR=${DIR:-/dev/shm}
command -v curl >/dev/null || { echo "hub-bench: curl is not installed" >&2; exit 1; }
work=$(mktemp -d -p "$DIR")
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
radish=${BINARY:-bin/radish}
if [ -n "${TESTHUB:-}" ]; then cp "$TESTHUB" "$work/testhub"; else go build -trimpath -o "$work/testhub" ./scripts/testhub; fi
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
with_sums() { with_curl; (cd "$work/curl" && printf '%s\n' * | xargs -P "$SHARDS" -n 1 sha256sum >/dev/null); }
with_radish() { HF_TOKEN='' HF_HUB_CACHE="$work/cache" "$radish" pull org/big >/dev/null 2>&1; }
timed() { local t=$EPOCHREALTIME; "$@"; echo "$(( ${EPOCHREALTIME/./} - ${t/./} ))"; }
median() { sort -n | awk '{v[NR]=$1} END {print (NR%2) ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2}'; }

curls=() sums=() radishes=()
for _ in $(seq "$RUNS"); do
  curls+=("$(timed with_curl)"); rm -rf "$work/curl"
  sums+=("$(timed with_sums)"); rm -rf "$work/curl"
  radishes+=("$(timed with_radish)"); rm -rf "$work/cache"
done
c=$(printf '%s\n' "${curls[@]}" | median) s=$(printf '%s\n' "${sums[@]}" | median) r=$(printf '%s\n' "${radishes[@]}" | median)
HF_TOKEN='' HF_HUB_CACHE="$work/cache" "$radish" pull org/big >/dev/null 2>&1 & job=$!
peak=0
while [ -r "/proc/$job/status" ]; do
  now=$(awk '/^VmHWM/ {print $2}' "/proc/$job/status" 2>/dev/null || true)
  [ "${now:-0}" -gt "$peak" ] && peak=$now
  sleep 0.01
done
wait "$job"
awk -v b="$BYTES" -v n="$SHARDS" -v k="$RUNS" -v c="$c" -v r="$r" -v s="$s" -v p="$peak" -v d="$DIR" 'BEGIN {
  printf "%d files, %.0f MiB in all, in %s, median of %d runs each, alternating\n", n, b/1048576, d, k
  printf "curl, one per file   %7.0f MiB/s\n", b/1048576/(c/1e6)
  printf "curl, then sha256sum %7.0f MiB/s\n", b/1048576/(s/1e6)
  printf "radish pull          %7.0f MiB/s   %.2f of curl, %.2f of curl with sums\n", b/1048576/(r/1e6), c/r, s/r
  printf "radish, largest resident size %.0f MiB\n", p/1024 }'
