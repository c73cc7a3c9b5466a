package cpu

import "unsafe"

// The structs of this file stand in ops.h field for field. Their pointers go to mapped memory, never to Go's heap.

// Kinds of operation, as in ops.h; kindSample is Go's alone.
const (
	kindCopy = iota + 1
	kindResolve
	kindEmbed
	kindNorm
	kindWiden
	kindLinear
	kindRotary
	kindRope
	kindAttn
	kindSwiGLU
	kindGather
	kindPages
	kindSample
)

type view struct {
	p          unsafe.Pointer
	stride     int64
	rows, cols int32
	dtype, _   int32
}

type mat struct {
	p              unsafe.Pointer
	out, in        int32
	dtype, padding int32
}

type layout struct{ pos, table, pages unsafe.Pointer }

type kvmem struct {
	p                          unsafe.Pointer
	layers, pages, size, heads int32
	dim, dimp, dtype, _        int32
}

type item struct{ row, rows, head, heads, kv, _ int32 }

type copyArgs struct{ dst, src view }

type resolveArgs struct{ ids, last view }

type embedArgs struct {
	dst, ids view
	w        mat
}

type normArgs struct {
	dst, x, add, w view
	eps            float32
	_              int32
}

type widenArgs struct {
	src    view
	dst    unsafe.Pointer
	stride int64
}

type linearArgs struct {
	dst, bias  view
	w          mat
	a          unsafe.Pointer
	stride     int64
	n, direct  int32
	panels, _p int32
}

type rotaryArgs struct {
	cos, sin, freq view
	at             layout
	scale          float32
	_              int32
}

type ropeArgs struct {
	q, qkv, qnorm, knorm, cos, sin view
	at                             layout
	kv                             kvmem
	heads, layer                   int32
	eps                            float32
	_                              int32
}

type attnArgs struct {
	dst, q view
	at     layout
	kv     kvmem
	items  unsafe.Pointer
	heads  int32
	layer  int32
	window int32
	scale  float32
}

type swigluArgs struct{ dst, in view }

type gatherArgs struct {
	dst, src view
	rows     unsafe.Pointer
}

type pagesArgs struct {
	kv     kvmem
	copies unsafe.Pointer
	n      int64
}

// op is one queued operation: its arguments and into how many chunks it may be divided.
type op struct {
	kind, chunks int32
	arg          unsafe.Pointer
}
