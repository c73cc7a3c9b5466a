#!/usr/bin/env bash
# Runs OpenAI's Node client against bin/radish serving the builtin model. Needs node 20 or newer and npm.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in node npm; do
  command -v "$tool" >/dev/null || { echo "e2e: $tool is not installed (Debian: apt-get install nodejs npm)" >&2; exit 1; }
done
(cd scripts/e2e && npm install --silent --no-audit --no-fund)
source scripts/builtin-server.sh --api-key e2e-key
(cd scripts/e2e && node openai.mjs "$url" e2e-key)
kill -TERM "$pid"
wait "$pid"
