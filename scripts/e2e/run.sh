#!/usr/bin/env bash
# Runs OpenAI's Node client against bin/radish serving the builtin model. Needs node 20 or newer and npm.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in node npm; do
  command -v "$tool" >/dev/null || { echo "e2e: $tool is not installed (Debian: apt-get install nodejs npm)" >&2; exit 1; }
done
log=$(mktemp)
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -f "$log"' EXIT
bin/radish serve --model-path builtin --port 0 --api-key e2e-key >"$log" 2>&1 &
pid=$!
url=
for _ in $(seq 100); do
  url=$(sed -n 's/^ready: \(http:[^ ]*\).*/\1/p' "$log")
  [ -n "$url" ] && break
  kill -0 "$pid" 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.1
done
[ -n "$url" ] || { echo "e2e: the server did not get ready:" >&2; cat "$log" >&2; exit 1; }
(cd scripts/e2e && npm install --silent --no-audit --no-fund)
(cd scripts/e2e && node openai.mjs "$url" e2e-key)
kill -TERM "$pid"
wait "$pid"
