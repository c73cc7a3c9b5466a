package host

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

// The few calls of the driver's interface that decide whether anything can compute here. Their types are those of cuda.h:
// every result is an int, a device an int, a context an opaque pointer, a device address 64 bits wide.
typedef int (*call_u)(unsigned);
typedef int (*call_pi)(int *);
typedef int (*call_pii)(int *, int);
typedef int (*call_pci)(char *, int, int);
typedef int (*call_pai)(int *, int, int);
typedef int (*call_ctx)(void **, int);
typedef int (*call_p)(void *);
typedef int (*call_i)(int);
typedef int (*call_alloc)(unsigned long long *, size_t);
typedef int (*call_free)(unsigned long long);
typedef int (*call_name)(int, const char **);

static struct {
	call_u init;
	call_pi version, count;
	call_pii device;
	call_pci name;
	call_pai attribute;
	call_ctx retain;
	call_p current;
	call_i release;
	call_alloc alloc;
	call_free free;
	call_name error;
} cu;

// load opens the library and finds the calls; it returns 0, or writes what is missing.
static int load(const char *file, char *why, size_t room) {
	void *lib = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		snprintf(why, room, "%s", dlerror());
		return 1;
	}
	struct { const char *name; void **to; } want[] = {
		{"cuInit", (void **)&cu.init}, {"cuDriverGetVersion", (void **)&cu.version}, {"cuDeviceGetCount", (void **)&cu.count},
		{"cuDeviceGet", (void **)&cu.device}, {"cuDeviceGetName", (void **)&cu.name},
		{"cuDeviceGetAttribute", (void **)&cu.attribute}, {"cuDevicePrimaryCtxRetain", (void **)&cu.retain},
		{"cuCtxSetCurrent", (void **)&cu.current}, {"cuDevicePrimaryCtxRelease", (void **)&cu.release},
		{"cuMemAlloc_v2", (void **)&cu.alloc}, {"cuMemFree_v2", (void **)&cu.free}, {"cuGetErrorName", (void **)&cu.error},
	};
	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		*want[i].to = dlsym(lib, want[i].name);
		if (!*want[i].to) {
			snprintf(why, room, "%s has no %s", file, want[i].name);
			return 2;
		}
	}
	return 0;
}

static int start(int *driver, int *count, const char **step) {
	int rc;
	*step = "cuInit";
	if ((rc = cu.init(0))) return rc;
	*step = "cuDriverGetVersion";
	if ((rc = cu.version(driver))) return rc;
	*step = "cuDeviceGetCount";
	return cu.count(count);
}

// use makes the device's context, takes 1 MiB, and gives both back; step is the call that rc belongs to.
static int use(int i, char *name, int room, int *major, int *minor, const char **step) {
	int rc, dev, last;
	void *ctx;
	unsigned long long at = 0;
	*step = "cuDeviceGet";
	if ((rc = cu.device(&dev, i))) return rc;
	*step = "cuDeviceGetName";
	if ((rc = cu.name(name, room, dev))) return rc;
	*step = "cuDeviceGetAttribute";
	if ((rc = cu.attribute(major, 75, dev)) || (rc = cu.attribute(minor, 76, dev))) return rc;
	*step = "cuDevicePrimaryCtxRetain";
	if ((rc = cu.retain(&ctx, dev))) return rc;
	*step = "cuCtxSetCurrent";
	if (!(rc = cu.current(ctx))) {
		*step = "cuMemAlloc";
		if (!(rc = cu.alloc(&at, 1 << 20))) {
			*step = "cuMemFree";
			rc = cu.free(at);
		}
		cu.current(0);
	}
	last = cu.release(dev);
	if (!rc && last) {
		*step = "cuDevicePrimaryCtxRelease";
		rc = last;
	}
	return rc;
}

static const char *error_name(int rc) {
	const char *text = 0;
	return cu.error(rc, &text) || !text ? "" : text;
}
*/
import "C"

import (
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// CUDA is what came of starting CUDA for real: cuInit, and on every device a context and 1 MiB of memory.
type CUDA struct {
	Err     string // why nothing is known: the child died, or did not answer
	Absent  string // why libcuda.so.1 cannot be used at all
	Failed  Call   // the first call that did not succeed; zero: none
	Driver  int    // cuDriverGetVersion, 12040 is 12.4
	Devices []CUDADevice
	Took    time.Duration
}

// CUDADevice is one device in CUDA's own order, which CUDA_VISIBLE_DEVICES changes.
type CUDADevice struct {
	Index        int
	Name         string
	Major, Minor int
	Failed       Call
}

// Call is a driver call and the CUresult it ended with.
type Call struct {
	Step string
	Code int
	Name string // as the driver calls it, "CUDA_ERROR_NO_DEVICE"
}

const maxCards = 64

// probeCUDA opens the library and uses every device. The process that calls it may hang or die: it belongs into a child.
func probeCUDA(library string) CUDA {
	begin := time.Now()
	file := C.CString(library)
	defer C.free(unsafe.Pointer(file))
	var why [512]C.char
	if C.load(file, &why[0], C.size_t(len(why))) != 0 {
		return CUDA{Absent: C.GoString(&why[0])}
	}
	var c CUDA
	var driver, count C.int
	var step *C.char
	if rc := C.start(&driver, &count, &step); rc != 0 {
		c.Failed = failed(step, rc)
	}
	c.Driver = int(driver)
	c.Devices = make([]CUDADevice, max(0, min(int(count), maxCards)))
	var all sync.WaitGroup
	for i := range c.Devices {
		all.Go(func() { c.Devices[i] = useDevice(i) })
	}
	all.Wait()
	c.Took = time.Since(begin)
	return c
}

func useDevice(i int) CUDADevice {
	runtime.LockOSThread() // the current context belongs to a thread
	defer runtime.UnlockOSThread()
	d := CUDADevice{Index: i}
	var name [256]C.char
	var major, minor C.int
	var step *C.char
	if rc := C.use(C.int(i), &name[0], C.int(len(name)), &major, &minor, &step); rc != 0 {
		d.Failed = failed(step, rc)
	}
	d.Name, d.Major, d.Minor = C.GoString(&name[0]), int(major), int(minor)
	return d
}

func failed(step *C.char, rc C.int) Call {
	return Call{Step: C.GoString(step), Code: int(rc), Name: C.GoString(C.error_name(rc))}
}
