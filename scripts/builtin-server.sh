# Sourced by demo.sh and e2e/run.sh, from the repository's root: serves the builtin model on a free port with the flags
# given, sets url and pid, and stops the server when the script ends.
log=$(mktemp)
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -f "$log"' EXIT
bin/radish serve --model-path builtin --port 0 "$@" >"$log" 2>&1 &
pid=$!
url=
for _ in $(seq 100); do
  url=$(sed -n 's/^ready: \(http:[^ ]*\).*/\1/p' "$log")
  [ -n "$url" ] && break
  kill -0 "$pid" 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.1
done
[ -n "$url" ] || { echo "the server did not get ready:" >&2; cat "$log" >&2; exit 1; }
