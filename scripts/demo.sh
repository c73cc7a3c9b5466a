#!/usr/bin/env bash
# The demo: serve the builtin model, ask it one streamed chat question, ask again, show what the prefix cache saved, stop.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=bin/radish
log=$(mktemp)
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -f "$log"' EXIT
"$bin" serve --model-path builtin --port 0 >"$log" 2>&1 &
pid=$!
url=
for _ in $(seq 100); do
  url=$(sed -n 's/^ready: \(http:[^ ]*\).*/\1/p' "$log")
  [ -n "$url" ] && break
  kill -0 "$pid" 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.1
done
[ -n "$url" ] || { echo "demo: the server did not get ready:" >&2; cat "$log" >&2; exit 1; }
echo "serving the builtin model at $url"
for question in "What is a prefix cache?" "What is a prefix cache?"; do
  echo "> $question"
  "$bin" generate --url "$url" "$question"
done
kill -TERM "$pid"
wait "$pid"
echo "stopped; the second answer's cached tokens came from the radix tree"
