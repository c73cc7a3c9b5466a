package cpu

import (
	"fmt"
	"unsafe"

	"radish/kernels"
)

// want panics when a shape is wrong: that is a programming error, and C must never see it.
func want(ok bool, format string, args ...any) {
	if !ok {
		panic("cpu: " + fmt.Sprintf(format, args...))
	}
}

// see checks that t lies inside its buffer and has the wanted shape (-1: any) and one of the types.
func see(what string, t kernels.Tensor, rows, cols int, types ...kernels.DType) view {
	b, ok := t.Buf.(*buffer)
	want(ok, "%s: not a buffer of this backend: %T", what, t.Buf)
	want(rows < 0 || t.Rows == rows, "%s: %d rows, want %d", what, t.Rows, rows)
	want(cols < 0 || t.Cols == cols, "%s: %d columns, want %d", what, t.Cols, cols)
	const most = 1 << 31
	want(t.Off >= 0 && t.Rows >= 0 && t.Rows < most && t.Cols >= 0 && t.Cols < most && t.Stride < most &&
		(t.Stride >= t.Cols || t.Rows <= 1), "%s: bad view %d+%dx%d/%d", what, t.Off, t.Rows, t.Cols, t.Stride)
	if t.Rows > 0 {
		end := t.Off + (t.Rows-1)*t.Stride + t.Cols
		want(end <= b.n, "%s: view ends at %d of %d", what, end, b.n)
	}
	for _, d := range types {
		if d == b.dtype {
			return view{p: unsafe.Add(b.ptr(), t.Off*d.Size()), stride: int64(t.Stride), rows: int32(t.Rows),
				cols: int32(t.Cols), dtype: int32(d)}
		}
	}
	panic(fmt.Sprintf("cpu: %s: type %v, want one of %v", what, b.dtype, types))
}

// seeOr is see, or an absent view when t is absent.
func seeOr(what string, t kernels.Tensor, rows, cols int) view {
	if t.Absent() {
		return view{}
	}
	return see(what, t, rows, cols, kernels.F32)
}
