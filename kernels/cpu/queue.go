package cpu

import (
	"unsafe"

	"radish/kernels"
)

const (
	wideRows = 512     // rows of one Linear pass: bounds the F32 copy of its input
	serial   = 1 << 14 // elements below which an operation is not worth waking the pool for
)

// push queues an operation, its arguments copied into the arena.
func push[T any](b *Backend, kind, chunks int, arg T) {
	p := (*T)(b.mem.scratch(int(unsafe.Sizeof(arg))))
	*p = arg
	b.ops = append(b.ops, op{int32(kind), int32(max(chunks, 1)), unsafe.Pointer(p)})
}

// shares is into how many chunks rows rows of cols elements are divided.
func (b *Backend) shares(rows, cols int) int {
	if b.threads == 1 || rows*cols < serial {
		return 1
	}
	return min(rows, 4*b.threads)
}

// Upload queues a copy of src.
func (b *Backend) Upload(dst kernels.Tensor, src any) {
	var from view
	var n int
	switch s := src.(type) {
	case []float32:
		see("upload", dst, -1, -1, kernels.F32)
		from.p, n = place(&b.mem, s), len(s)
	case []int32:
		see("upload", dst, -1, -1, kernels.I32)
		from.p, n = place(&b.mem, s), len(s)
	default:
		want(false, "upload: cannot upload %T", src)
	}
	to := see("upload", dst, -1, -1, kernels.F32, kernels.I32)
	want(n == dst.Rows*dst.Cols, "upload: %d elements to %dx%d", n, dst.Rows, dst.Cols)
	from.rows, from.cols, from.stride, from.dtype = to.rows, to.cols, int64(to.cols), to.dtype
	if n > 0 {
		push(b, kindCopy, b.shares(dst.Rows, dst.Cols), copyArgs{to, from})
	}
}

// Download runs the queue and copies src out.
func (b *Backend) Download(dst any, src kernels.Tensor) error {
	v := see("download", src, -1, -1, kernels.F32, kernels.BF16, kernels.I32)
	var n int
	switch d := dst.(type) {
	case []float32:
		see("download", src, -1, -1, kernels.F32, kernels.BF16)
		n = len(d)
	case []int32:
		see("download", src, -1, -1, kernels.I32)
		n = len(d)
	default:
		want(false, "download: cannot download to %T", dst)
	}
	want(n == src.Rows*src.Cols, "download: %dx%d to %d elements", src.Rows, src.Cols, n)
	if err := b.Run(); err != nil {
		return err
	}
	for i := range src.Rows {
		switch d := dst.(type) {
		case []float32:
			v.read(d[i*src.Cols:][:src.Cols], i)
		case []int32:
			copy(d[i*src.Cols:], elements[int32](v, i))
		}
	}
	return nil
}

// Resolve queues the replacement of ids that stand for slots.
func (b *Backend) Resolve(ids, last kernels.Tensor) {
	push(b, kindResolve, 1, resolveArgs{see("resolve ids", ids, 1, -1, kernels.I32), see("resolve last", last, 1, -1, kernels.I32)})
}

// Embed queues a gather from a packed table. An id outside the table, which only the device can know, gives zeros.
func (b *Backend) Embed(dst kernels.Tensor, table kernels.Weight, ids kernels.Tensor) {
	w := table.(*weight)
	push(b, kindEmbed, b.shares(ids.Cols, w.in), embedArgs{see("embed dst", dst, ids.Cols, w.in, kernels.F32),
		see("embed ids", ids, 1, -1, kernels.I32), w.mat()})
}

// RMSNorm queues an addition and a norm.
func (b *Backend) RMSNorm(dst, x, add, weight kernels.Tensor, eps float32) {
	push(b, kindNorm, b.shares(x.Rows, x.Cols), normArgs{
		dst: see("rmsnorm dst", dst, x.Rows, x.Cols, kernels.F32, b.act),
		x:   see("rmsnorm x", x, -1, -1, kernels.F32),
		add: seeOr("rmsnorm add", add, x.Rows, x.Cols),
		w:   see("rmsnorm weight", weight, 1, x.Cols, kernels.F32), eps: eps})
}

// Linear queues a matrix product, at most wideRows rows at a time.
func (b *Backend) Linear(dst, x kernels.Tensor, w kernels.Weight, bias kernels.Tensor) {
	m := w.(*weight)
	see("linear dst", dst, x.Rows, m.out, kernels.F32)
	see("linear x", x, -1, m.in, b.act)
	for r := 0; r < x.Rows; r += wideRows {
		n := min(wideRows, x.Rows-r)
		b.linear(dst.RowsFrom(r, n), x.RowsFrom(r, n), m, seeOr("linear bias", bias, 1, m.out))
	}
}

// linear queues the widening of x where the path multiplies in F32, then the product.
func (b *Backend) linear(dst, x kernels.Tensor, m *weight, bias view) {
	from := see("linear x", x, -1, m.in, b.act)
	l := linearArgs{dst: see("linear dst", dst, -1, -1, kernels.F32), bias: bias, w: m.mat(), a: from.p, stride: from.stride, n: from.rows}
	switch {
	case b.path == "avx512bf16" && b.act == kernels.BF16 && m.in%2 == 0:
		l.direct = 1
	case b.act == kernels.BF16:
		l.stride = int64(m.in+15)&^15 + 16
		l.a = b.widened(int(l.stride) * x.Rows)
		push(b, kindWiden, b.shares(x.Rows, m.in), widenArgs{from, l.a, l.stride})
	}
	// A chunk is 4 panels, or more where they hold little work: about 2^19 multiply-adds.
	panels := (m.out + 15) / 16
	l.panels = int32(max(1, (1<<19)/(64*m.in*x.Rows+1))) * 4
	if b.threads == 1 {
		l.panels = int32((panels + 3) &^ 3)
	}
	push(b, kindLinear, (panels+int(l.panels)-1)/int(l.panels), l)
}

// widened is scratch for n floats, shared by every Linear of the queue: they run one after the other.
func (b *Backend) widened(n int) unsafe.Pointer {
	if need := int64(n) * 4; int64(len(b.wide.data)) < need {
		// The old one may be named by queued operations: it is kept, not dropped. Sizes at least double.
		b.wide = must(b.mem.take(max(need, 2*int64(len(b.wide.data))), true))
	}
	return b.wide.ptr()
}

// SwiGLU queues the gated activation.
func (b *Backend) SwiGLU(dst, gateUp kernels.Tensor) {
	push(b, kindSwiGLU, b.shares(dst.Rows, dst.Cols), swigluArgs{see("swiglu dst", dst, gateUp.Rows, -1, b.act),
		see("swiglu gateUp", gateUp, -1, 2*dst.Cols, kernels.F32)})
}

// Gather queues a copy of rows.
func (b *Backend) Gather(dst, src kernels.Tensor, rows []int32) {
	from := see("gather src", src, -1, dst.Cols, kernels.F32, kernels.BF16, kernels.I32)
	for _, r := range rows {
		want(r >= 0 && r < from.rows, "gather: row %d of %d", r, from.rows)
	}
	to := see("gather dst", dst, len(rows), -1, kernels.DType(from.dtype))
	if len(rows) > 0 {
		push(b, kindGather, b.shares(len(rows), dst.Cols), gatherArgs{to, from, place(&b.mem, rows)})
	}
}
