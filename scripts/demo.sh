#!/usr/bin/env bash
# The demo: serve the builtin model, ask it one streamed chat question, ask again, show what the prefix cache saved, stop.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/builtin-server.sh --log-level info
echo "serving the builtin model at $url"
for question in "What is a prefix cache?" "What is a prefix cache?"; do
  echo "> $question"
  bin/radish generate --url "$url" "$question"
done
kill -TERM "$pid"
wait "$pid"
echo "stopped; the second answer's cached tokens came from the radix tree"
