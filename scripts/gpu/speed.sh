#!/usr/bin/env bash
# The figures of kernels/SPEED.md that need a GPU, on Llama-3-8B's shape with dummy weights:
#
#   scripts/gpu/speed.sh MODEL_DIR [PART ...]     # MODEL_DIR from scripts/gpu/model.py
#
# Parts: offline (decode and prefill without HTTP), http (100 users), ttft (8k prompt, 7.9k cached), radix, load (needs
# MODEL_DIR with weights). GEMM=own measures without cuBLASLt. RADISH names the binary.
set -euo pipefail
cd "$(dirname "$0")/../.."
model=$(realpath "$1"); shift
parts=${*:-offline http ttft radix}
radish=${BINARY:-bin/radish}
gemm=${GEMM:-auto}
port=${PORT:-31999}
common=(--model-path "$model" --device cuda --gemm "$gemm")
dummy=(--load-format dummy)
work=$(mktemp -d)
trap 'kill $(cat "$work/pid" 2>/dev/null) 2>/dev/null || true; rm -rf "$work"' EXIT

serve() { # extra flags: starts a server and waits until it is ready
  "$radish" serve "${common[@]}" --port "$port" --log-level warning "$@" >"$work/log" 2>&1 &
  echo $! >"$work/pid"
  for _ in $(seq 600); do curl -sf "http://127.0.0.1:$port/health" >/dev/null && return; kill -0 "$(cat "$work/pid")" || { cat "$work/log"; exit 1; }; sleep 0.05; done
}
stop() { kill "$(cat "$work/pid")"; wait "$(cat "$work/pid")" || true; rm -f "$work/pid"; }
offline() { # input output batch
  "$radish" bench offline "${common[@]}" "${dummy[@]}" --input-len "$1" --output-len "$2" --batch-size "$3" --repeats 3 --json 2>/dev/null |
    python3 -c 'import json,sys; a=json.load(sys.stdin); print("offline %4d x %5d + %4d: prefill %8.0f tok/s, decode %8.1f tok/s, first token %7.1f ms, idle %.2f %%, load %.2f s, %.0f MiB host | %s" % (a["batch_size"], a["input_len"], a["output_len"], a["prefill_tokens_per_second"], a["decode_tokens_per_second"], a["ttft_seconds"]*1e3, a["device_idle_share"]*100, a["load_seconds"], a["rss_bytes"]/2**20, a["backend"]))'
}

for part in $parts; do
  case $part in
  offline) offline 960 128 1; offline 920 256 100; offline 8192 4 1 ;;
  http)
    serve "${dummy[@]}"
    "$radish" bench serve --url "http://127.0.0.1:$port" --users 100 --input-words "${WORDS:-48}" --output-len 128 --requests 600 --no-telemetry 2>/dev/null || true
    stop ;;
  ttft)
    serve "${dummy[@]}"
    python3 scripts/gpu/ttft.py "http://127.0.0.1:$port"
    stop ;;
  radix)
    serve "${dummy[@]}"
    "$radish" bench radix --url "http://127.0.0.1:$port" --users 100 --input-words "${RADIX_WORDS:-700}" --output-len 16 --pairs 3 2>/dev/null || true
    stop ;;
  load)
    cat "$model"/*.safetensors >/dev/null # into the page cache
    for _ in 1 2 3; do
      began=$(date +%s%N); serve; ended=$(date +%s%N)
      echo "load: $(( (ended - began) / 1000000 )) ms from exec to ready, $(awk '/VmHWM/{print int($2/1024)}' "/proc/$(cat "$work/pid")/status") MiB host"
      stop
    done ;;
  *) echo "speed: no part $part" >&2; exit 2 ;;
  esac
done
