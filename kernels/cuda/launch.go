package cuda

import (
	"fmt"
	"unsafe"

	"radish/kernels/cuda/driver"
)

// kernel is one function of an image.
type kernel struct {
	name   string
	f      driver.Function
	shared int // dynamic shared memory granted so far, bytes
}

// grid is the shape of a launch: blocks along x, y, z; threads of a block; dynamic shared memory in bytes.
type grid struct {
	x, y, z         int
	threads, shared int
	cluster         int // blocks of a cluster along x; 0: none
}

// kernel finds a kernel; a name that no loaded image has is a programming error.
func (b *Backend) kernel(name string) *kernel {
	k := b.kernels[name]
	if k == nil {
		panic(fmt.Sprintf("cuda: no kernel %s for %s", name, b.arch))
	}
	return k
}

// launch queues a kernel. args is its one parameter: a struct laid out as the kernel's (Go and C agree as long as every
// field is aligned to its size; a driver.TensorMap comes first, or after a multiple of 64 bytes).
func launch[T any](b *Backend, name string, g grid, args T) {
	if g.x == 0 {
		return
	}
	k := b.kernel(name)
	if g.shared > 48<<10 && g.shared > k.shared {
		if err := k.f.SetShared(g.shared); err != nil {
			panic(fmt.Sprintf("cuda: %s: %d bytes of shared memory: %v", name, g.shared, err))
		}
		k.shared = g.shared
	}
	size := int(unsafe.Sizeof(args))
	op := driver.Op{Kind: driver.Kernel, Func: uint64(k.f), Threads: uint32(g.threads), Shared: uint32(g.shared), Cluster: uint32(g.cluster),
		Grid: [3]uint32{uint32(g.x), uint32(max(g.y, 1)), uint32(max(g.z, 1))}, Param: b.list.room(size), ParamBytes: uint32(size)}
	if b.hopper() {
		op.Flags = driver.Overlap
	}
	*(*T)(unsafe.Pointer(&b.list.params[op.Param])) = args
	b.list.body = append(b.list.body, op)
}

// over is the number of blocks of size n that cover total.
func over(total, n int) int { return (total + n - 1) / n }
