// What radish declares of the CUDA driver API, so that building needs no toolkit: the types and constants of cuda.h that
// are used here, by value (they are part of NVIDIA's stable binary interface), and the entry points as resolved at run
// time. Source: the CUDA driver API reference, docs.nvidia.com/cuda/cuda-driver-api.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef int rd_result;
typedef void *rd_handle;   // context, stream, event, module, function, graph
typedef uint64_t rd_ptr;   // device memory

// rd_op is one entry of a command list; see Op in driver.go, which has the same layout.
typedef struct {
	uint32_t kind, flags;
	uint64_t func;                 // kernel: function; event: event; matmul: plan
	uint32_t grid[3];
	uint32_t threads, shared, cluster;
	uint32_t param, param_bytes;   // kernel: where its one argument lies in the list's parameters
	uint64_t dst, src, bytes;      // copies: addresses, host or device
} rd_op;

enum { RD_KERNEL = 0, RD_TO_DEVICE = 1, RD_TO_HOST = 2, RD_ON_DEVICE = 3, RD_ZERO = 4, RD_EVENT = 5, RD_MATMUL = 6 };
enum { RD_OVERLAP = 1, RD_ADD = 2 }; // of a kernel; of a product

const char *rd_load(const char *path);
rd_result rd_exec(const rd_op *ops, int n, const unsigned char *params, rd_handle stream, int *failed);
