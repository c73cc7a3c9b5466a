#!/bin/sh
# usage: scripts/health.sh [URL]      (RADISH_API_KEY: key to send; RADISH_HEALTH_TIMEOUT: seconds for each step)
# The health check of a server in a shell, with nothing but curl, for containers and cron: alive, a real token made, and
# the counter of generated tokens advancing. It is what "radish health" does, without radish on the machine.
# Exit status: 0 healthy, 1 not healthy, 2 curl is missing.
set -eu
url=${1:-http://127.0.0.1:30000}
limit=${RADISH_HEALTH_TIMEOUT:-30}
command -v curl >/dev/null || { echo "health: curl is not installed" >&2; exit 2; }

# The key goes through standard input: an argument could be read by everybody in the list of processes.
ask() {
  if [ -n "${RADISH_API_KEY:-}" ]; then
    printf 'header = "Authorization: Bearer %s"\n' "${RADISH_API_KEY%%,*}" | curl -sS --fail --max-time "$limit" --config - "$@"
  else
    curl -sS --fail --max-time "$limit" "$@"
  fi
}
fail() { echo "FAIL $1"; exit 1; }
tokens() {
  ask "$url/metrics" | awk '/^(radish_|sglang:|vllm:)generation_tokens_total[{ ]/ {
    name = $1; sub(/[{].*/, "", name); sub(/^.*} */, ""); sub(/^[a-z_:]+ /, ""); sum[name] += $1; seen = name }
    END { if (seen == "") exit 1; printf "%d\n", sum[seen] }'
}

ask -o /dev/null "$url/health" || fail "alive: $url/health does not answer 200"
echo "ok   alive"
model=$(ask "$url/v1/models" | sed -n 's/.*"data":\[{[^}]*"id":"\([^"]*\)".*/\1/p') || true
[ -n "$model" ] || fail "model: $url/v1/models lists none"
echo "ok   model $model"
before=$(tokens) || fail "telemetry: no counter of generated tokens at $url/metrics"
made=$(ask -H 'Content-Type: application/json' -d "{\"model\":\"$model\",\"prompt\":\"Hello\",\"max_tokens\":5,\"temperature\":0}" \
  "$url/v1/completions" | sed -n 's/.*"completion_tokens":\([0-9]*\).*/\1/p') || true
after=$(tokens) || after=$before
if [ -z "$made" ] && [ "$after" -gt "$before" ]; then
  echo "ok   token: none within $limit s, but $((after - before)) for others meanwhile: busy"
elif [ -z "$made" ] || [ "$made" -lt 1 ]; then
  fail "token: none was made"
else
  echo "ok   token: $made made"
fi
tries=0
until [ $((after - before)) -ge "${made:-1}" ]; do
  tries=$((tries + 1))
  [ "$tries" -le 50 ] || fail "telemetry: the counter stands at $after and $made tokens were made"
  sleep 0.1
  after=$(tokens) || after=$before
done
echo "ok   telemetry: $before tokens generated, then $after"
