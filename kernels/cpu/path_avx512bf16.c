//go:build amd64 && cgo && linux

// The kernels for avx512bf16.
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma,f16c")
#include <stdint.h>
#include "vec512.h"
#define VDP 1
#define TABLE path_avx512bf16
#define SCANS scans_avx512bf16
#include "path.h"
