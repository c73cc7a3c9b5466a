//go:build amd64 && cgo && linux

package cpu

// #cgo CFLAGS: -O3 -Wall -Wno-unused-function -Wno-unknown-pragmas
// #cgo LDFLAGS: -lm -lpthread
// #include "ops.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// The structs of ops.go and ops.h have the same sizes, or this does not compile.
var (
	_ = [1]int{}[unsafe.Sizeof(linearArgs{})-C.sizeof_linear_args]
	_ = [1]int{}[unsafe.Sizeof(ropeArgs{})-C.sizeof_rope_args]
	_ = [1]int{}[unsafe.Sizeof(attnArgs{})-C.sizeof_attn_args]
	_ = [1]int{}[unsafe.Sizeof(rotaryArgs{})-C.sizeof_rotary_args]
	_ = [1]int{}[unsafe.Sizeof(normArgs{})-C.sizeof_norm_args]
	_ = [1]int{}[unsafe.Sizeof(embedArgs{})-C.sizeof_embed_args]
	_ = [1]int{}[unsafe.Sizeof(widenArgs{})-C.sizeof_widen_args]
	_ = [1]int{}[unsafe.Sizeof(pagesArgs{})-C.sizeof_pages_args]
	_ = [1]int{}[unsafe.Sizeof(item{})-C.sizeof_item]
	_ = [1]int{}[unsafe.Sizeof(op{})-C.sizeof_op]
)

var simdNames = [...]string{"avx512bf16", "avx512", "avx2"}

// simdPaths are the usable C paths, the best first.
func simdPaths() []string {
	set := int(C.cpu_paths())
	var list []string
	for i, name := range simdNames {
		if set>>i&1 == 1 {
			list = append(list, name)
		}
	}
	if len(list) > 1 && set&3 == 3 && C.cpu_vendor_amd() == 0 {
		list[0], list[1] = list[1], list[0]
	}
	return list
}

// pool is an engine of C threads.
type pool struct {
	p *C.pool
	s *C.scans
}

func newEngine(path string, threads int, cpus []int32) (engine, error) {
	for i, name := range simdNames {
		if name != path {
			continue
		}
		pin := make([]int32, threads)
		for j := range pin {
			pin[j] = -1 // more workers than cores: let the scheduler place them
			if threads <= len(cpus) {
				pin[j] = cpus[j]
			}
		}
		p := C.pool_new(C.int(threads), (*C.int32_t)(unsafe.Pointer(&pin[0])), C.int(i))
		if p == nil {
			return nil, fmt.Errorf("start %d workers: out of memory or threads", threads)
		}
		return pool{p, C.scans_of(C.int(i))}, nil
	}
	return goEngine{threads}, nil
}

func (p pool) run(ops []op) {
	if len(ops) > 0 {
		C.pool_run(p.p, (*C.op)(unsafe.Pointer(&ops[0])), C.int(len(ops)))
	}
}

func (p pool) close() { C.pool_free(p.p) }
