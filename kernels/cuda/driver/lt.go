package driver

/*
#include <stdlib.h>
#include "shim.h"
#include "lt.h"
size_t rd_lt_version(void);
*/
import "C"

import (
	"fmt"
	"path/filepath"
	"unsafe"
)

// Lt says where cuBLASLt was found.
type Lt struct {
	Path    string
	Version int // such as 130100
}

// OpenLt finds NVIDIA's cuBLASLt, newest first: on the loader's path, in toolkits' folders, and inside the Python
// packages below roots. It is an accelerator, never a need: half a gigabyte that radish does not ship.
func OpenLt(roots []string) (*Lt, error) {
	names := []string{"libcublasLt.so.13", "libcublasLt.so.12"}
	var tries []string
	for _, n := range names {
		tries = append(tries, n)
		for _, pattern := range []string{"/usr/local/cuda*/lib64/", "/usr/lib/x86_64-linux-gnu/", "/usr/lib/aarch64-linux-gnu/"} {
			found, _ := filepath.Glob(pattern + n)
			tries = append(tries, found...)
		}
		for _, root := range roots {
			for _, pattern := range []string{"/nvidia/cu*/lib/", "/nvidia/cublas/lib/"} {
				found, _ := filepath.Glob(root + pattern + n)
				tries = append(tries, found...)
			}
		}
	}
	var last string
	for _, p := range tries {
		c := C.CString(p)
		msg := C.rd_lt_load(c)
		C.free(unsafe.Pointer(c))
		if msg != nil {
			last = C.GoString(msg)
			continue
		}
		if rc := C.rd_lt_open(); rc != 0 {
			return nil, fmt.Errorf("open cuBLASLt %s: status %d", p, int(rc))
		}
		return &Lt{Path: p, Version: int(C.rd_lt_version())}, nil
	}
	return nil, fmt.Errorf("load cuBLASLt: %s", last)
}

// Plan is one matrix product of fixed shape: dst [n x out] F32 = x [n x in] times w [out x in] transposed, x and w
// bfloat16.
type Plan struct {
	p     *C.rd_lt_plan
	Found int // candidates, best guess first
}

// NewPlan asks the library for candidates within the workspace, in bytes.
func (l *Lt) NewPlan(out, n, in, strideX, strideDst int, workspace int64) (*Plan, error) {
	p := &Plan{}
	var found C.int
	if rc := C.rd_lt_plan_new(&p.p, C.int(out), C.int(n), C.int(in), C.int(strideX), C.int(strideDst), C.size_t(workspace), 32, &found); rc != 0 {
		return nil, fmt.Errorf("plan product %dx%dx%d: cuBLASLt status %d", n, out, in, int(rc))
	}
	p.Found = int(found)
	return p, nil
}

// Pick chooses a candidate.
func (p *Plan) Pick(candidate int, workspace Ptr, bytes int64) {
	C.rd_lt_plan_pick(p.p, C.int(candidate), C.rd_ptr(workspace), C.size_t(bytes))
}

// Follow makes p run as the plan as does, where that suits p's shape, and reports whether it does.
func (p *Plan) Follow(as *Plan) bool { return C.rd_lt_plan_follow(p.p, as.p) != 0 }

// Op runs the plan as part of a command list: dst = the product, or dst += it.
func (p *Plan) Op(dst, x, w Ptr, add bool) Op {
	var flags uint32
	if add {
		flags = 2 // RD_ADD
	}
	return Op{Kind: Matmul, Flags: flags, Func: uint64(uintptr(unsafe.Pointer(p.p))), Dst: uint64(dst), Src: uint64(x), Bytes: uint64(w)}
}

// Close frees the plan.
func (p *Plan) Close() { C.rd_lt_plan_free(p.p) }
