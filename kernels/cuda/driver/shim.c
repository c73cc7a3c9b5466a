#include "shim.h"
#include "lt.h"
#include <dlfcn.h>
#include <string.h>

// The table of entry points: R(type of result is rd_result).
#define ENTRIES(X) \
	X(cuInit, (unsigned)) \
	X(cuDriverGetVersion, (int *)) \
	X(cuDeviceGetCount, (int *)) \
	X(cuDeviceGet, (int *, int)) \
	X(cuDeviceGetName, (char *, int, int)) \
	X(cuDeviceGetUuid, (char *, int)) \
	X(cuDeviceGetAttribute, (int *, int, int)) \
	X(cuDevicePrimaryCtxRetain, (rd_handle *, int)) \
	X(cuDevicePrimaryCtxRelease_v2, (int)) \
	X(cuDevicePrimaryCtxSetFlags_v2, (int, unsigned)) \
	X(cuCtxSetCurrent, (rd_handle)) \
	X(cuMemGetInfo_v2, (size_t *, size_t *)) \
	X(cuMemAlloc_v2, (rd_ptr *, size_t)) \
	X(cuMemFree_v2, (rd_ptr)) \
	X(cuMemHostAlloc, (void **, size_t, unsigned)) \
	X(cuMemFreeHost, (void *)) \
	X(cuMemcpyHtoDAsync_v2, (rd_ptr, const void *, size_t, rd_handle)) \
	X(cuMemcpyDtoHAsync_v2, (void *, rd_ptr, size_t, rd_handle)) \
	X(cuMemcpyDtoDAsync_v2, (rd_ptr, rd_ptr, size_t, rd_handle)) \
	X(cuMemsetD8Async, (rd_ptr, unsigned char, size_t, rd_handle)) \
	X(cuStreamCreate, (rd_handle *, unsigned)) \
	X(cuStreamDestroy_v2, (rd_handle)) \
	X(cuStreamSynchronize, (rd_handle)) \
	X(cuStreamQuery, (rd_handle)) \
	X(cuStreamBeginCapture_v2, (rd_handle, int)) \
	X(cuStreamEndCapture, (rd_handle, rd_handle *)) \
	X(cuGraphInstantiateWithFlags, (rd_handle *, rd_handle, unsigned long long)) \
	X(cuGraphLaunch, (rd_handle, rd_handle)) \
	X(cuGraphExecDestroy, (rd_handle)) \
	X(cuGraphDestroy, (rd_handle)) \
	X(cuEventCreate, (rd_handle *, unsigned)) \
	X(cuEventDestroy_v2, (rd_handle)) \
	X(cuEventRecord, (rd_handle, rd_handle)) \
	X(cuEventSynchronize, (rd_handle)) \
	X(cuEventElapsedTime, (float *, rd_handle, rd_handle)) \
	X(cuModuleLoadDataEx, (rd_handle *, const void *, unsigned, int *, void **)) \
	X(cuModuleUnload, (rd_handle)) \
	X(cuModuleGetFunction, (rd_handle *, rd_handle, const char *)) \
	X(cuFuncSetAttribute, (rd_handle, int, int)) \
	X(cuLaunchKernelEx, (const void *, rd_handle, void **, void **)) \
	X(cuGetErrorName, (rd_result, const char **)) \
	X(cuGetErrorString, (rd_result, const char **))

// Present on drivers from 12.0 on only; absent is no error.
#define OPTIONAL(X) \
	X(cuTensorMapEncodeTiled, (void *, int, unsigned, void *, const uint64_t *, const uint64_t *, const uint32_t *, const uint32_t *, int, int, int, int))

#define DECLARE(name, args) static rd_result (*p_##name) args;
ENTRIES(DECLARE)
OPTIONAL(DECLARE)

const char *rd_load(const char *path) {
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib) return dlerror();
#define FIND(name, args) if (!(*(void **)&p_##name = dlsym(lib, #name))) return "symbol " #name " is missing";
	ENTRIES(FIND)
#define TRY(name, args) *(void **)&p_##name = dlsym(lib, #name);
	OPTIONAL(TRY)
	return NULL;
}

// CUlaunchAttribute and CUlaunchConfig of cuda.h.
typedef struct { unsigned id; char pad[4]; union { char bytes[64]; unsigned dim[3]; int on; } value; } launch_attribute;
typedef struct {
	unsigned grid[3], block[3], shared;
	rd_handle stream;
	launch_attribute *attrs;
	unsigned n;
} launch_config;
enum { ATTR_CLUSTER = 4, ATTR_PROGRAMMATIC = 6 };

static rd_result launch(const rd_op *op, const unsigned char *params, rd_handle stream) {
	launch_attribute attrs[2];
	launch_config c = {{op->grid[0], op->grid[1], op->grid[2]}, {op->threads, 1, 1}, op->shared, stream, attrs, 0};
	if (op->flags & RD_OVERLAP) {
		memset(&attrs[c.n], 0, sizeof attrs[0]);
		attrs[c.n].id = ATTR_PROGRAMMATIC;
		attrs[c.n++].value.on = 1;
	}
	if (op->cluster > 1) {
		memset(&attrs[c.n], 0, sizeof attrs[0]);
		attrs[c.n].id = ATTR_CLUSTER;
		attrs[c.n].value.dim[0] = op->cluster;
		attrs[c.n].value.dim[1] = attrs[c.n].value.dim[2] = 1;
		c.n++;
	}
	void *arg = (void *)(params + op->param);
	return p_cuLaunchKernelEx(&c, (rd_handle)op->func, &arg, NULL);
}

rd_result rd_exec(const rd_op *ops, int n, const unsigned char *params, rd_handle stream, int *failed) {
	for (int i = 0; i < n; i++) {
		const rd_op *op = &ops[i];
		rd_result rc = 0;
		switch (op->kind) {
		case RD_KERNEL: rc = launch(op, params, stream); break;
		case RD_TO_DEVICE: rc = p_cuMemcpyHtoDAsync_v2(op->dst, (void *)op->src, op->bytes, stream); break;
		case RD_TO_HOST: rc = p_cuMemcpyDtoHAsync_v2((void *)op->dst, op->src, op->bytes, stream); break;
		case RD_ON_DEVICE: rc = p_cuMemcpyDtoDAsync_v2(op->dst, op->src, op->bytes, stream); break;
		case RD_ZERO: rc = p_cuMemsetD8Async(op->dst, 0, op->bytes, stream); break;
		case RD_EVENT: rc = p_cuEventRecord((rd_handle)op->func, stream); break;
		case RD_MATMUL: rc = rd_lt_run(op, stream); break;
		}
		if (rc) {
			*failed = i;
			return rc;
		}
	}
	return 0;
}

#define WRAP(name, params, args) rd_result rd_##name params { return p_##name args; }
WRAP(cuInit, (unsigned f), (f))
WRAP(cuDriverGetVersion, (int *v), (v))
WRAP(cuDeviceGetCount, (int *n), (n))
WRAP(cuDeviceGet, (int *d, int i), (d, i))
WRAP(cuDeviceGetName, (char *s, int n, int d), (s, n, d))
WRAP(cuDeviceGetUuid, (char *s, int d), (s, d))
WRAP(cuDeviceGetAttribute, (int *v, int a, int d), (v, a, d))
WRAP(cuDevicePrimaryCtxRetain, (rd_handle *c, int d), (c, d))
WRAP(cuDevicePrimaryCtxRelease_v2, (int d), (d))
WRAP(cuDevicePrimaryCtxSetFlags_v2, (int d, unsigned f), (d, f))
WRAP(cuCtxSetCurrent, (rd_handle c), (c))
WRAP(cuMemGetInfo_v2, (size_t *f, size_t *t), (f, t))
WRAP(cuMemAlloc_v2, (rd_ptr *p, size_t n), (p, n))
WRAP(cuMemFree_v2, (rd_ptr p), (p))
WRAP(cuMemHostAlloc, (void **p, size_t n, unsigned f), (p, n, f))
WRAP(cuMemFreeHost, (void *p), (p))
WRAP(cuStreamCreate, (rd_handle *s, unsigned f), (s, f))
WRAP(cuStreamDestroy_v2, (rd_handle s), (s))
WRAP(cuStreamSynchronize, (rd_handle s), (s))
WRAP(cuStreamQuery, (rd_handle s), (s))
WRAP(cuStreamBeginCapture_v2, (rd_handle s, int m), (s, m))
WRAP(cuStreamEndCapture, (rd_handle s, rd_handle *g), (s, g))
WRAP(cuGraphInstantiateWithFlags, (rd_handle *e, rd_handle g), (e, g, 0))
WRAP(cuGraphLaunch, (rd_handle e, rd_handle s), (e, s))
WRAP(cuGraphExecDestroy, (rd_handle e), (e))
WRAP(cuGraphDestroy, (rd_handle g), (g))
WRAP(cuEventCreate, (rd_handle *e, unsigned f), (e, f))
WRAP(cuEventDestroy_v2, (rd_handle e), (e))
WRAP(cuEventRecord, (rd_handle e, rd_handle s), (e, s))
WRAP(cuEventSynchronize, (rd_handle e), (e))
WRAP(cuEventElapsedTime, (float *ms, rd_handle a, rd_handle b), (ms, a, b))
WRAP(cuModuleUnload, (rd_handle m), (m))
WRAP(cuModuleGetFunction, (rd_handle *f, rd_handle m, const char *s), (f, m, s))
WRAP(cuFuncSetAttribute, (rd_handle f, int a, int v), (f, a, v))
WRAP(cuGetErrorName, (rd_result r, const char **s), (r, s))
WRAP(cuGetErrorString, (rd_result r, const char **s), (r, s))

// rd_module loads an image and keeps the driver's complaint.
rd_result rd_module(rd_handle *m, const void *image, char *log, int bytes) {
	enum { ERROR_LOG = 5, ERROR_LOG_BYTES = 6 };
	int keys[2] = {ERROR_LOG, ERROR_LOG_BYTES};
	void *values[2] = {log, (void *)(intptr_t)bytes};
	return p_cuModuleLoadDataEx(m, image, 2, keys, values);
}

// rd_tensor_map encodes a map of 2-byte elements (bfloat16); dims, strides and box go from the innermost outwards.
rd_result rd_tensor_map(void *map, rd_ptr base, int rank, const uint64_t *dims, const uint64_t *stride_bytes,
                        const uint32_t *box, int swizzle, int promotion) {
	enum { BF16 = 9, INTERLEAVE_NONE = 0, FILL_ZERO = 0 };
	uint32_t step[4] = {1, 1, 1, 1};
	if (!p_cuTensorMapEncodeTiled) return 801; // CUDA_ERROR_NOT_SUPPORTED
	return p_cuTensorMapEncodeTiled(map, BF16, rank, (void *)base, dims, stride_bytes, box, step, INTERLEAVE_NONE, swizzle, promotion, FILL_ZERO);
}
