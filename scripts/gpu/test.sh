#!/usr/bin/env bash
# Everything that only a machine with an NVIDIA GPU can judge: kernels against the reference, model families against
# transformers' goldens, cache hits to the bit, and the same through the portable PTX. With compute-sanitizer installed it
# also looks for bad memory accesses and races in the kernels' tests. TESTS may hold prebuilt test binaries (see
# scripts/gpu/build.sh), for a machine without Go.
set -euo pipefail
cd "$(dirname "$0")/../.."
export RADISH_GPU=1
run() { # package pattern
  local bin=${TESTS:-}/$(basename "$1").test
  if [ -n "${TESTS:-}" ]; then ( cd "$1" && "$bin" -test.run "$2" -test.v ) | grep -E '^(---|FAIL|PASS|panic)|^ +.*_test.go' ; else go test -count=1 -run "$2" "./$1"; fi
}
for image in "" compute_80; do
  export RADISH_GPU_ARCH=$image
  echo "== kernels, ${image:-best image}"; run kernels/cuda .
  echo "== model families, ${image:-best image}"; run server/model 'Golden|Plan'
  echo "== runner, ${image:-best image}"; run server/runner .
  echo "== server, ${image:-best image}"; run server .
done
if command -v compute-sanitizer >/dev/null; then
  unset RADISH_GPU_ARCH; export RADISH_SANITIZE=1
  bin=${TESTS:+$TESTS/cuda.test}
  [ -n "$bin" ] || { bin=$(mktemp -d)/cuda.test; go test -c -o "$bin" ./kernels/cuda; }
  for tool in memcheck racecheck; do
    echo "== compute-sanitizer $tool"; ( cd kernels/cuda && compute-sanitizer --tool $tool --error-exitcode 9 "$bin" -test.run 'TestSanitize' -test.v | tail -40 )
  done
else
  echo "compute-sanitizer is not installed: memory and race checks did not run" >&2; exit 1
fi
