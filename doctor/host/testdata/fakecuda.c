/* A driver library that answers as the macros say: the probe is judged by it. DEVICES, INIT, ALLOC, RETAIN are results. */
#include <string.h>
#ifndef DEVICES
#define DEVICES 2
#endif
#ifndef INIT
#define INIT 0
#endif
#ifndef ALLOC
#define ALLOC 0
#endif
#ifndef RETAIN
#define RETAIN 0
#endif
static _Thread_local void *current;
static int contexts[64];
int cuInit(unsigned flags) {
	return flags ? 1 : INIT;
}
int cuDriverGetVersion(int *v) { *v = 12040; return 0; }
int cuDeviceGetCount(int *n) { *n = DEVICES; return 0; }
int cuDeviceGet(int *d, int i) { *d = i; return i < DEVICES ? 0 : 101; }
int cuDeviceGetName(char *name, int room, int d) { strncpy(name, "Fake GPU", room); return 0; }
int cuDeviceGetAttribute(int *v, int what, int d) { *v = what == 75 ? 8 : 6; return what == 75 || what == 76 ? 0 : 1; }
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = &contexts[d]; contexts[d]++; return RETAIN; }
int cuCtxSetCurrent(void *c) { current = c; return 0; }
int cuDevicePrimaryCtxRelease(int d) { contexts[d]--; return contexts[d] == 0 && !current ? 0 : 201; }
#ifndef OLD
int cuMemAlloc_v2(unsigned long long *p, unsigned long n) { *p = 4096; return current && n == 1 << 20 ? ALLOC : 201; }
#endif
int cuMemFree_v2(unsigned long long p) { return p == 4096 && current ? 0 : 1; }
int cuGetErrorName(int rc, const char **name) { *name = rc == 802 ? "CUDA_ERROR_SYSTEM_NOT_READY" : "CUDA_ERROR_OTHER"; return 0; }
