// Package driver is NVIDIA's CUDA driver API, found at run time: one Go function per call that radish uses, and no policy.
//
// Building needs neither a toolkit nor a GPU, because shim.h declares what is used; Load finds libcuda.so.1, which comes
// with the driver, and says where it looked when it is not there. The calls are documented in the CUDA driver API
// reference (docs.nvidia.com/cuda/cuda-driver-api); the names here are theirs without the prefix.
//
// A context belongs to an operating-system thread: lock the goroutine to its thread, call Context.Use once, and talk to
// the GPU from that goroutine only. A step's work is one call: Stream.Exec runs a list of operations in C.
package driver

/*
#cgo LDFLAGS: -ldl
#cgo noescape rd_exec
#cgo nocallback rd_exec
#include <stdlib.h>
#include "shim.h"
#include "calls.h"
*/
import "C"

import (
	"fmt"
	"strings"
	"sync"
	"unsafe"
)

// Ptr is an address in device memory.
type Ptr uint64

// Error is a failed call.
type Error struct {
	Call string
	Code int
	Name string // such as CUDA_ERROR_OUT_OF_MEMORY
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s (%d): %s", e.Call, e.Name, e.Code, e.Text) }

// Codes that callers tell apart (cuda.h).
const (
	CodeOutOfMemory  = 2
	CodeNoDevice     = 100
	CodeNotReady     = 600
	CodeIllegal      = 700 // from here to 719 the context is lost
	CodeLaunchFailed = 719
)

// Sticky reports whether the context is lost with this error: every later call fails too, and only a new process helps.
func (e *Error) Sticky() bool {
	return e.Code >= CodeIllegal && e.Code <= CodeLaunchFailed && e.Code != 701 && e.Code != 704 && e.Code != 705 ||
		e.Code == 999 || e.Broken() // 999: unknown, which a card that hangs answers
}

// Broken reports whether the card itself is the cause: unavailable, uncorrectable errors of its memory or links.
func (e *Error) Broken() bool {
	switch e.Code {
	case 46, 214, 220, 226: // DEVICE_UNAVAILABLE, ECC_UNCORRECTABLE, NVLINK_UNCORRECTABLE, CONTAINED
		return true
	}
	return false
}

// check turns a result into an error.
func check(call string, rc C.rd_result) error {
	if rc == 0 {
		return nil
	}
	e := &Error{Call: call, Code: int(rc), Name: "CUDA_ERROR"}
	if rc < 0 {
		e.Name, e.Text = "CUBLAS_STATUS", fmt.Sprintf("cuBLASLt status %d", -rc)
		return e
	}
	var s *C.char
	if C.rd_cuGetErrorName(rc, &s) == 0 {
		e.Name = C.GoString(s)
	}
	if C.rd_cuGetErrorString(rc, &s) == 0 {
		e.Text = C.GoString(s)
	}
	return e
}

// places are where the driver's library is looked for, in order.
var places = []string{
	"libcuda.so.1", "/usr/lib/x86_64-linux-gnu/libcuda.so.1", "/usr/lib/aarch64-linux-gnu/libcuda.so.1",
	"/usr/lib64/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1", "/run/opengl-driver/lib/libcuda.so.1",
}

var loaded struct {
	sync.Once
	err error
}

// Load finds the library and initialises it, once per process. The error says where it was looked for, or what the
// driver said.
func Load() error {
	loaded.Do(func() { loaded.err = load() })
	return loaded.err
}

func load() error {
	var said []string
	for _, p := range places {
		c := C.CString(p)
		msg := C.rd_load(c)
		C.free(unsafe.Pointer(c))
		if msg == nil {
			return check("cuInit", C.rd_cuInit(0))
		}
		if text := C.GoString(msg); !strings.Contains(text, "No such file") {
			said = append(said, text)
		}
	}
	if len(said) > 0 && strings.HasPrefix(said[0], "symbol ") {
		return fmt.Errorf("load CUDA driver: it is too old: %s; radish needs driver 525 or newer", said[0])
	}
	if len(said) > 0 {
		return fmt.Errorf("load CUDA driver: %s", said[0])
	}
	return fmt.Errorf("load CUDA driver: libcuda.so.1 is not installed (tried the loader's path, %s)", strings.Join(places[1:], ", "))
}

// Version is the CUDA version that the driver implements, such as 12040.
func Version() (int, error) {
	var v C.int
	err := check("cuDriverGetVersion", C.rd_cuDriverGetVersion(&v))
	return int(v), err
}

// Count is the number of GPUs that CUDA_VISIBLE_DEVICES leaves.
func Count() (int, error) {
	var n C.int
	err := check("cuDeviceGetCount", C.rd_cuDeviceGetCount(&n))
	return int(n), err
}

// Device is one GPU.
type Device int

// Get is GPU i of Count.
func Get(i int) (Device, error) {
	var d C.int
	err := check("cuDeviceGet", C.rd_cuDeviceGet(&d, C.int(i)))
	return Device(d), err
}

// Name is the card's name, such as "NVIDIA H200".
func (d Device) Name() (string, error) {
	var buf [256]C.char
	err := check("cuDeviceGetName", C.rd_cuDeviceGetName(&buf[0], 256, C.int(d)))
	return C.GoString(&buf[0]), err
}

// UUID identifies the card, or the MIG instance.
func (d Device) UUID() (string, error) {
	var b [16]C.char
	err := check("cuDeviceGetUuid", C.rd_cuDeviceGetUuid(&b[0], C.int(d)))
	raw := C.GoBytes(unsafe.Pointer(&b[0]), 16)
	return fmt.Sprintf("GPU-%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:]), err
}

// Attributes of a Device (CUdevice_attribute).
const (
	AttrSMs            = 16
	AttrSharedPerBlock = 97 // with opt-in, bytes
	AttrL2Bytes        = 38
	AttrMajor          = 75
	AttrMinor          = 76
)

// Attribute reads one attribute.
func (d Device) Attribute(which int) (int, error) {
	var v C.int
	err := check(fmt.Sprintf("cuDeviceGetAttribute(%d)", which), C.rd_cuDeviceGetAttribute(&v, C.int(which), C.int(d)))
	return int(v), err
}

// Context is a device's primary context.
type Context struct {
	device Device
	handle C.rd_handle
}

// Retain creates the primary context or joins it. Waiting for the GPU blocks the thread instead of spinning.
func (d Device) Retain() (*Context, error) {
	const blockingSync = 4
	C.rd_cuDevicePrimaryCtxSetFlags_v2(C.int(d), blockingSync) // refused when another library made it first: harmless
	c := &Context{device: d}
	if err := check("cuDevicePrimaryCtxRetain", C.rd_cuDevicePrimaryCtxRetain(&c.handle, C.int(d))); err != nil {
		return nil, err
	}
	return c, nil
}

// Use makes the context current on the calling thread.
func (c *Context) Use() error { return check("cuCtxSetCurrent", C.rd_cuCtxSetCurrent(c.handle)) }

// Release gives the context back.
func (c *Context) Release() error {
	return check("cuDevicePrimaryCtxRelease", C.rd_cuDevicePrimaryCtxRelease_v2(C.int(c.device)))
}

// MemInfo is the device's free and total memory, in bytes.
func MemInfo() (free, total int64, err error) {
	var f, t C.size_t
	err = check("cuMemGetInfo", C.rd_cuMemGetInfo_v2(&f, &t))
	return int64(f), int64(t), err
}

// Alloc reserves n bytes of device memory, 256 bytes aligned, with any contents.
func Alloc(n int64) (Ptr, error) {
	var p C.rd_ptr
	err := check(fmt.Sprintf("cuMemAlloc(%d)", n), C.rd_cuMemAlloc_v2(&p, C.size_t(max(n, 1))))
	return Ptr(p), err
}

// Free gives device memory back.
func Free(p Ptr) error { return check("cuMemFree", C.rd_cuMemFree_v2(C.rd_ptr(p))) }

// HostAlloc reserves n bytes of pinned host memory that kernels can reach at the same address.
func HostAlloc(n int) ([]byte, error) {
	const portableMapped = 1 | 2
	var p unsafe.Pointer
	if err := check(fmt.Sprintf("cuMemHostAlloc(%d)", n), C.rd_cuMemHostAlloc(&p, C.size_t(n), portableMapped)); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), n), nil
}

// HostFree gives pinned memory back.
func HostFree(b []byte) error {
	return check("cuMemFreeHost", C.rd_cuMemFreeHost(unsafe.Pointer(unsafe.SliceData(b))))
}

// Module is a loaded image.
type Module struct{ handle C.rd_handle }

// LoadModule loads a cubin, or compiles PTX for the current context's device.
func LoadModule(image []byte) (*Module, error) {
	text := append(append([]byte{}, image...), 0) // PTX is a C string; a cubin knows its length
	buf := C.CBytes(text)
	defer C.free(buf)
	log := (*C.char)(C.calloc(1, 4096))
	defer C.free(unsafe.Pointer(log))
	m := &Module{}
	if err := check("cuModuleLoadData", C.rd_module(&m.handle, buf, log, 4096)); err != nil {
		if s := C.GoString(log); s != "" {
			err.(*Error).Text += ": " + s
		}
		return nil, err
	}
	return m, nil
}

// Unload frees the image.
func (m *Module) Unload() error { return check("cuModuleUnload", C.rd_cuModuleUnload(m.handle)) }

// Function is a kernel.
type Function uint64

func (f Function) handle() C.rd_handle { return *(*C.rd_handle)(unsafe.Pointer(&f)) }

// Function finds a kernel by name.
func (m *Module) Function(name string) (Function, error) {
	var f C.rd_handle
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	err := check("cuModuleGetFunction("+name+")", C.rd_cuModuleGetFunction(&f, m.handle, c))
	return Function(uintptr(f)), err
}

// SetShared raises the dynamic shared memory that a launch may ask for, in bytes.
func (f Function) SetShared(bytes int) error {
	const maxDynamicShared = 8
	return check("cuFuncSetAttribute", C.rd_cuFuncSetAttribute(f.handle(), maxDynamicShared, C.int(bytes)))
}

// TensorMap describes a bfloat16 matrix in device memory to the copy engine of sm_90; 64 bytes aligned where it is used.
type TensorMap [128]byte

// Swizzles of a TensorMap's boxes in shared memory (CUtensorMapSwizzle).
const (
	SwizzleNone = 0
	Swizzle128  = 3
)

// NewTensorMap encodes a row-major matrix [rows x cols], rows stride elements apart, read in boxes [boxRows x boxCols].
// Elements outside the matrix read as zero.
func NewTensorMap(base Ptr, rows, cols, stride, boxRows, boxCols, swizzle int) (TensorMap, error) {
	return encode(base, []C.uint64_t{C.uint64_t(cols), C.uint64_t(rows)}, []C.uint64_t{C.uint64_t(2 * stride)},
		[]C.uint32_t{C.uint32_t(boxCols), C.uint32_t(boxRows)}, swizzle)
}

// NewPairMap encodes two dense matrices [rows x cols], the second right behind the first, read in boxes that take 8 rows
// of the first, the same 8 of the second, the next 8 of the first and so on, boxRows of each. rows is a multiple of 8.
func NewPairMap(base Ptr, rows, cols, boxRows, boxCols, swizzle int) (TensorMap, error) {
	row := C.uint64_t(2 * cols)
	return encode(base, []C.uint64_t{C.uint64_t(cols), 8, 2, C.uint64_t(rows / 8)}, []C.uint64_t{row, row * C.uint64_t(rows), row * 8},
		[]C.uint32_t{C.uint32_t(boxCols), 8, 2, C.uint32_t(boxRows / 8)}, swizzle)
}

func encode(base Ptr, dims, strides []C.uint64_t, box []C.uint32_t, swizzle int) (TensorMap, error) {
	var m TensorMap
	aligned := C.aligned_alloc(64, 128)
	defer C.free(aligned)
	const promote256 = 3
	err := check("cuTensorMapEncodeTiled", C.rd_tensor_map(aligned, C.rd_ptr(base), C.int(len(dims)), &dims[0], &strides[0], &box[0],
		C.int(swizzle), promote256))
	copy(m[:], unsafe.Slice((*byte)(aligned), 128))
	return m, err
}
