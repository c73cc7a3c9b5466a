#!/usr/bin/env bash
# Runs the official Python client of the Hugging Face hub against the test hub, and against caches that bin/radish wrote
# and the other way round. Needs Go and python3 with venv; the client, pinned in requirements.txt, goes into a private
# environment in scripts/e2e/.venv.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in go python3; do
  command -v "$tool" >/dev/null || { echo "e2e: $tool is not installed (Debian: apt-get install golang python3 python3-venv)" >&2; exit 1; }
done
venv=scripts/e2e/.venv
if ! cmp -s scripts/e2e/requirements.txt "$venv/installed.txt"; then
  rm -rf "$venv"
  python3 -m venv "$venv" || { echo "e2e: python3 cannot make environments (Debian: apt-get install python3-venv)" >&2; exit 1; }
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r scripts/e2e/requirements.txt
  cp scripts/e2e/requirements.txt "$venv/installed.txt"
fi
work=$(mktemp -d)
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
go build -trimpath -o "$work/testhub" ./scripts/testhub
: >"$work/log"
"$work/testhub" -page 4 >"$work/log" &
pid=$!
for _ in $(seq 100); do
  grep -q '^HUB_TOKEN=' "$work/log" && break
  sleep 0.1
done
# Only what is named here reaches the client: no token or cache of whoever runs this.
env -i PATH="$PATH" HOME="$work" $(grep = "$work/log" | head -2) HF_HUB_DISABLE_PROGRESS_BARS=1 HF_HUB_DISABLE_TELEMETRY=1 \
  HF_HUB_DISABLE_UPDATE_CHECK=1 "$venv/bin/python" scripts/e2e/hub.py "$PWD/bin/radish" "$work/log"
