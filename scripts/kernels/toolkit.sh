#!/usr/bin/env bash
# Unpacks NVIDIA's run-time compiler (NVRTC 12.4, from its Python package) into a private prefix and prints the library's
# path. Nothing is installed outside the prefix; only those who change kernels/cuda/src need it.
set -euo pipefail
version=12.4.127
prefix=${NVRTC_PREFIX:-${XDG_CACHE_HOME:-$HOME/.cache}/radish/nvrtc-$version}
lib=$prefix/nvidia/cuda_nvrtc/lib/libnvrtc.so.12
if [ ! -e "$lib" ]; then
  command -v python3 >/dev/null || { echo "toolkit: python3 with pip is needed to fetch NVRTC $version" >&2; exit 1; }
  mkdir -p "$prefix"
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$prefix" "nvidia-cuda-nvrtc-cu12==$version" >&2
fi
echo "$lib"
