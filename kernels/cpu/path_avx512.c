//go:build amd64 && cgo && linux

// The kernels for avx512.
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")
#include <stdint.h>
#include "vec512.h"
#define TABLE path_avx512
#define SCANS scans_avx512
#include "path.h"
