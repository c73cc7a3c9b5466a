// Package ref runs the operations of kernels.Backend in slow and obvious Go. It is the oracle that kernels/kerneltest
// judges every other backend by, and good enough to run a tiny model.
//
// How it works: every operation is executed at once, one row at a time, with loops that follow the definition. Sums
// inside dot products, norms and softmax are float64 and rounded once at the end; nothing is blocked, reordered or
// skipped, so a row's result depends on that row alone. Run has nothing left to do.
//
// Memory is float32 whatever the element type: a BF16 buffer holds float32 values that were rounded to bfloat16 (to
// nearest, ties to even) when they were stored. Wrong shapes panic.
package ref

import (
	"fmt"
	"math"

	"radish/kernels"
)

// Backend is the oracle. The zero value is not usable; see New.
type Backend struct {
	act    kernels.DType
	ragged kernels.Ragged
}

// New returns an oracle whose activations, and the weights that meet them, are of type act: F32 or BF16.
func New(act kernels.DType) kernels.Backend {
	if act != kernels.F32 && act != kernels.BF16 {
		panic(fmt.Sprintf("ref: activations cannot be %v", act))
	}
	return &Backend{act: act}
}

// Name is "ref" and the activation type.
func (b *Backend) Name() string { return "ref " + b.act.String() }

// Act is the activation type.
func (b *Backend) Act() kernels.DType { return b.act }

// Run has nothing to do: every operation ran when it was called.
func (b *Backend) Run() error { return nil }

// Close has nothing to free.
func (b *Backend) Close() error { return nil }

// buffer is memory: floats for F32 and BF16, ints for I32.
type buffer struct {
	dtype  kernels.DType
	floats []float32
	ints   []int32
}

func (b *buffer) DType() kernels.DType { return b.dtype }
func (b *buffer) Len() int             { return len(b.floats) + len(b.ints) }

// Alloc returns zeroed memory for n elements of F32, BF16 or I32.
func (b *Backend) Alloc(d kernels.DType, n int) (kernels.Buffer, error) {
	must(n >= 0, "alloc %d elements", n)
	switch d {
	case kernels.F32, kernels.BF16:
		return &buffer{dtype: d, floats: make([]float32, n)}, nil
	case kernels.I32:
		return &buffer{dtype: d, ints: make([]int32, n)}, nil
	}
	return nil, fmt.Errorf("allocate %v: no such activation type", d)
}

// round is v as memory of type d would hold it.
func round(d kernels.DType, v float64) float32 {
	if d == kernels.BF16 {
		return kernels.RoundBF16(float32(v))
	}
	return float32(v)
}

// must panics when a shape is wrong.
func must(ok bool, format string, args ...any) {
	if !ok {
		panic("ref: " + fmt.Sprintf(format, args...))
	}
}

// view checks that t lies inside its buffer and has the wanted shape (-1: any) and one of the types.
func view(what string, t kernels.Tensor, rows, cols int, types ...kernels.DType) *buffer {
	b, ok := t.Buf.(*buffer)
	must(ok, "%s: not a buffer of this backend: %T", what, t.Buf)
	must(rows < 0 || t.Rows == rows, "%s: %d rows, want %d", what, t.Rows, rows)
	must(cols < 0 || t.Cols == cols, "%s: %d columns, want %d", what, t.Cols, cols)
	must(t.Off >= 0 && t.Rows >= 0 && t.Cols >= 0 && (t.Stride >= t.Cols || t.Rows <= 1),
		"%s: bad view %d+%dx%d/%d", what, t.Off, t.Rows, t.Cols, t.Stride)
	if t.Rows > 0 {
		end := t.Off + (t.Rows-1)*t.Stride + t.Cols
		must(end <= b.Len(), "%s: view ends at %d of %d", what, end, b.Len())
	}
	for _, d := range types {
		if d == b.dtype {
			return b
		}
	}
	panic(fmt.Sprintf("ref: %s: type %v, want one of %v", what, b.dtype, types))
}

// row is row i of a float view.
func row(t kernels.Tensor, i int) []float32 {
	at := t.Off + i*t.Stride
	return t.Buf.(*buffer).floats[at : at+t.Cols : at+t.Cols]
}

// introw is row i of an I32 view.
func introw(t kernels.Tensor, i int) []int32 {
	at := t.Off + i*t.Stride
	return t.Buf.(*buffer).ints[at : at+t.Cols : at+t.Cols]
}

// Upload copies src to dst.
func (b *Backend) Upload(dst kernels.Tensor, src any) {
	switch s := src.(type) {
	case []float32:
		view("upload", dst, -1, -1, kernels.F32)
		must(len(s) == dst.Rows*dst.Cols, "upload: %d elements to %dx%d", len(s), dst.Rows, dst.Cols)
		for i := range dst.Rows {
			copy(row(dst, i), s[i*dst.Cols:])
		}
	case []int32:
		view("upload", dst, -1, -1, kernels.I32)
		must(len(s) == dst.Rows*dst.Cols, "upload: %d elements to %dx%d", len(s), dst.Rows, dst.Cols)
		for i := range dst.Rows {
			copy(introw(dst, i), s[i*dst.Cols:])
		}
	default:
		must(false, "upload: cannot upload %T", src)
	}
}

// Download copies src to dst.
func (b *Backend) Download(dst any, src kernels.Tensor) error {
	switch d := dst.(type) {
	case []float32:
		view("download", src, -1, -1, kernels.F32, kernels.BF16)
		must(len(d) == src.Rows*src.Cols, "download: %dx%d to %d elements", src.Rows, src.Cols, len(d))
		for i := range src.Rows {
			copy(d[i*src.Cols:], row(src, i))
		}
	case []int32:
		view("download", src, -1, -1, kernels.I32)
		must(len(d) == src.Rows*src.Cols, "download: %dx%d to %d elements", src.Rows, src.Cols, len(d))
		for i := range src.Rows {
			copy(d[i*src.Cols:], introw(src, i))
		}
	default:
		must(false, "download: cannot download to %T", dst)
	}
	return nil
}

// Resolve replaces ids -1-s by last[s].
func (b *Backend) Resolve(ids, last kernels.Tensor) {
	view("resolve ids", ids, 1, -1, kernels.I32)
	view("resolve last", last, 1, -1, kernels.I32)
	to, from := introw(ids, 0), introw(last, 0)
	for i, id := range to {
		if id < 0 {
			to[i] = from[-1-id]
		}
	}
}

// Gather copies rows.
func (b *Backend) Gather(dst, src kernels.Tensor, rows []int32) {
	from := view("gather src", src, -1, dst.Cols, kernels.F32, kernels.BF16, kernels.I32)
	view("gather dst", dst, len(rows), -1, from.dtype)
	for i, r := range rows {
		must(r >= 0 && int(r) < src.Rows, "gather: row %d of %d", r, src.Rows)
		if from.dtype == kernels.I32 {
			copy(introw(dst, i), introw(src, int(r)))
		} else {
			copy(row(dst, i), row(src, int(r)))
		}
	}
}

// dot is the sum of products in float64.
func dot(a, b []float32) float64 {
	sum := 0.0
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}

// rms is the root of the mean square plus eps.
func rms(x []float32, eps float32) float64 {
	return math.Sqrt(dot(x, x)/float64(len(x)) + float64(eps))
}
