//go:build amd64 && cgo && linux

// The kernels for avx2.
#pragma GCC target("avx2,fma,f16c")
#include <stdint.h>
#include "vec256.h"
#define TABLE path_avx2
#define SCANS scans_avx2
#include "path.h"
