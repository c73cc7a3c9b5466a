#!/usr/bin/env bash
# Builds what scripts/gpu/test.sh and speed.sh run, for a GPU machine without Go: build.sh DIR, then carry DIR there and
# set TESTS=DIR and BINARY=DIR/radish.
set -euo pipefail
to=$(realpath -m "$1"); mkdir -p "$to"
cd "$(dirname "$0")/../.."
flags='-s -w -extldflags=-Wl,-z,lazy'
export CGO_CFLAGS=${CGO_CFLAGS:--O2 -g -Wno-deprecated-declarations}
go build -trimpath -ldflags "$flags" -o "$to/radish" ./cmd/radish
for p in kernels/cuda server/model server/runner server; do go test -c -trimpath -ldflags "$flags" -o "$to/$(basename $p).test" "./$p"; done
