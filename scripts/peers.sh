#!/usr/bin/env bash
# Runs radish and other engines on the same weights, alternating, and prints every round and the medians.
#
#   scripts/peers.sh MODEL_DIR MODEL.gguf NAME=path/to/llama-batched-bench [NAME=... ...]
#
# Paths are absolute. MODEL_DIR is the Hugging Face directory, MODEL.gguf the same weights in bf16. Three shapes: prefill of 512 tokens and
# decode at batch 1; decode at batch 16. ROUNDS (default 5) and THREADS (default: all) may be set. The figures are
# tokens/s. Anything else that runs on the machine meanwhile makes them worthless.
set -euo pipefail
dir=$1 gguf=$2
shift 2
rounds=${ROUNDS:-5} threads=${THREADS:-$(nproc)}
out=$(mktemp -d)
mkdir "$out/logs" # some peers leave a log where they run
trap 'rm -rf "$out"' EXIT
radish="$(cd "$(dirname "$0")/.." && pwd)/bin/radish"

ours() { # input output batch
  "$radish" bench offline --model-path "$dir" --threads "$threads" --repeats 1 --json \
    --input-len "$1" --output-len "$2" --batch-size "$3" 2>/dev/null |
    awk -F'[:,]' '/prefill_tokens/ {p = $2} /decode_tokens/ {d = $2} END {print p, d}'
}

theirs() { # binary input output batch
  (cd "$out/logs" && "$1" -m "$gguf" -npp "$2" -ntg "$3" -npl "$4" -t "$threads" -c 2048 2>&1) |
    awk -F'|' '/^\| *[0-9]/ {print $7, $9}'
}

note() { # name shape "prefill decode"
  printf '%-10s %-18s prefill %8.1f  decode %8.1f\n' "$1" "$2" $3
  echo "$3" >>"$out/$1.$2"
}

for round in $(seq "$rounds"); do
  for shape in "512 24 1" "32 24 16"; do
    name="${shape// /x}"
    note radish "$name" "$(ours $shape)"
    for peer in "$@"; do
      note "${peer%%=*}" "$name" "$(theirs "${peer#*=}" $shape)"
    done
  done
done

echo "medians of $rounds rounds, $threads threads:"
for f in "$out"/*.*; do
  for column in 1 2; do
    awk -v c=$column '{print $c}' "$f" | sort -n | awk -v n="$(basename "$f")" -v c=$column \
      '{v[NR] = $1} END {printf "%-30s %-8s %8.1f\n", n, c == 1 ? "prefill" : "decode", v[int((NR + 1) / 2)]}'
  done
done
