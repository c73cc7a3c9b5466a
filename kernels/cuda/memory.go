package cuda

import (
	"errors"
	"fmt"

	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// memory owns what was allocated on the device, and scratch that kernels of one step share.
type memory struct {
	owned    []driver.Ptr
	block    driver.Ptr // where the next small piece comes from
	left     int64      // bytes of it
	separate bool       // no blocks: a memory checker sees where each piece ends
	ring     *ring      // made with the first weight
	raw      driver.Ptr // copies of logits; see rawLogits
	rawSize  int64
	scratch  driver.Ptr // split sums of one operation: written and read within it, in stream order
}

const (
	scratchBytes = 64 << 20 // bounds what one operation may keep beside its operands
	blockBytes   = 8 << 20  // small pieces are cut from blocks: an allocation of its own costs a page of 2 MiB and a system call
	smallBytes   = 1 << 20
)

func (m *memory) open() (err error) {
	m.scratch, err = m.take(scratchBytes)
	return err
}

// take reserves n bytes that live until close, 256 bytes aligned.
func (m *memory) take(n int64) (driver.Ptr, error) {
	if n > smallBytes || m.separate {
		return m.whole(n)
	}
	n = (max(n, 1) + 255) &^ 255
	if n > m.left {
		p, err := m.whole(blockBytes)
		if err != nil {
			return 0, err
		}
		m.block, m.left = p, blockBytes
	}
	p := m.block
	m.block, m.left = m.block+driver.Ptr(n), m.left-n
	return p, nil
}

// whole is an allocation of its own.
func (m *memory) whole(n int64) (driver.Ptr, error) {
	p, err := driver.Alloc(n)
	if err == nil {
		m.owned = append(m.owned, p)
	}
	return p, named(err)
}

// rawLogits is n bytes for copies of logits, shared by the operations of a stream.
func (m *memory) rawLogits(n int64) driver.Ptr {
	if n > m.rawSize {
		p, err := m.take(n)
		if err != nil {
			panic(fmt.Sprintf("cuda: copy logits: %v", err))
		}
		m.raw, m.rawSize = p, n
	}
	return m.raw
}

func (m *memory) close() error {
	errs := []error{m.land()}
	for _, p := range m.owned {
		errs = append(errs, driver.Free(p))
	}
	m.owned = nil
	return errors.Join(errs...)
}

// zero queues clearing n bytes.
func (l *list) zero(p driver.Ptr, n int64) {
	l.body, l.plain = append(l.body, driver.Op{Kind: driver.Zero, Dst: uint64(p), Bytes: uint64(n)}), true
}

// buffer is a kernels.Buffer.
type buffer struct {
	at    driver.Ptr
	dtype kernels.DType
	n     int
}

func (b *buffer) DType() kernels.DType { return b.dtype }
func (b *buffer) Len() int             { return b.n }

// Alloc returns zeroed memory for n elements.
func (b *Backend) Alloc(d kernels.DType, n int) (kernels.Buffer, error) {
	if n < 0 || d.Size() == 0 || int64(n) > 1<<40 {
		return nil, fmt.Errorf("allocate %d x %v: no such buffer", n, d)
	}
	p, err := b.mem.take(int64(n) * int64(d.Size()))
	if err != nil {
		return nil, fmt.Errorf("allocate %d x %v: %w", n, d, err)
	}
	if n > 0 {
		b.list.zero(p, int64(n)*int64(d.Size()))
	}
	return &buffer{p, d, n}, nil
}

// view is a tensor as kernels see it: View in common.cuh.
type view struct {
	p          driver.Ptr
	stride     int64
	rows, cols int32
}

// must panics when a shape is wrong.
func must(ok bool, format string, args ...any) {
	if !ok {
		panic("cuda: " + fmt.Sprintf(format, args...))
	}
}

// see checks that t lies inside its buffer and has the wanted shape (-1: any) and one of the types.
func see(what string, t kernels.Tensor, rows, cols int, types ...kernels.DType) view {
	b, ok := t.Buf.(*buffer)
	must(ok, "%s: not a buffer of this backend: %T", what, t.Buf)
	must(rows < 0 || t.Rows == rows, "%s: %d rows, want %d", what, t.Rows, rows)
	must(cols < 0 || t.Cols == cols, "%s: %d columns, want %d", what, t.Cols, cols)
	must(t.Off >= 0 && t.Rows >= 0 && t.Cols >= 0 && (t.Stride >= t.Cols || t.Rows <= 1),
		"%s: bad view %d+%dx%d/%d", what, t.Off, t.Rows, t.Cols, t.Stride)
	if t.Rows > 0 {
		end := t.Off + (t.Rows-1)*t.Stride + t.Cols
		must(end <= b.n, "%s: view ends at %d of %d", what, end, b.n)
	}
	for _, d := range types {
		if d == b.dtype {
			return view{b.at + driver.Ptr(t.Off*d.Size()), int64(t.Stride), int32(t.Rows), int32(t.Cols)}
		}
	}
	panic(fmt.Sprintf("cuda: %s: type %v, want one of %v", what, b.dtype, types))
}

// seeOr is see for a [1 x cols] F32 tensor that may be absent: the zero view.
func seeOr(what string, t kernels.Tensor, cols int) view {
	if t.Absent() {
		return view{}
	}
	return see(what, t, 1, cols, kernels.F32)
}

// typeOf is a tensor's element type.
func typeOf(t kernels.Tensor) kernels.DType { return t.Buf.DType() }

// aligned reports whether every row of v begins on a multiple of n bytes; size is that of an element.
func (v view) aligned(n, size int) bool {
	return uint64(v.p)%uint64(n) == 0 && (v.rows <= 1 || v.stride*int64(size)%int64(n) == 0)
}
