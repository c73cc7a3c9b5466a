package cpu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"unsafe"

	"radish/kernels"
)

// weight is a matrix [out x in] in panels of 16 outputs: BF16 [panel][in/2][16][2] with in rounded up to even, F32
// [panel][in][16]. Outputs and inputs beyond the matrix are zero.
type weight struct {
	region
	out, in int
	dtype   kernels.DType
}

func (w *weight) Out() int     { return w.out }
func (w *weight) In() int      { return w.in }
func (w *weight) Bytes() int64 { return int64(len(w.data)) }

func (w *weight) mat() mat {
	return mat{p: w.ptr(), out: int32(w.out), in: int32(w.in), dtype: int32(w.dtype)}
}

// depth is in, rounded up to whole pairs for BF16.
func (w *weight) depth() int {
	if w.dtype == kernels.BF16 {
		return (w.in + 1) &^ 1
	}
	return w.in
}

// Pack reads the parts 16 rows at a time, two readers side by side, straight into panels.
func (b *Backend) Pack(parts ...kernels.Matrix) (kernels.Weight, error) {
	want(len(parts) > 0, "pack: no parts")
	w := &weight{in: parts[0].Cols, dtype: b.act}
	for _, p := range parts {
		want(p.Cols == w.in && p.Cols > 0 && p.Rows >= 0 && p.DType.Size() > 0 && p.DType != kernels.I32,
			"pack: part is %dx%d %v, want %d columns", p.Rows, p.Cols, p.DType, w.in)
		w.out += p.Rows
	}
	want(w.in < 1<<24 && w.out < 1<<30, "pack: %dx%d is too large", w.out, w.in)
	var err error
	if w.region, err = b.mem.take(int64((w.out+15)/16)*16*int64(w.depth())*int64(b.act.Size()), true); err != nil {
		return nil, fmt.Errorf("pack %dx%d: %w", w.out, w.in, err)
	}
	first := 0
	for _, p := range parts {
		if err := w.fill(p, first, min(b.threads, 4)); err != nil {
			b.mem.drop(w.region)
			return nil, fmt.Errorf("pack %dx%d: %w", w.out, w.in, err)
		}
		first += p.Rows
	}
	return w, nil
}

// fill reads one part into outputs first, first+1, ...; readers goroutines take every readers-th group of rows.
func (w *weight) fill(p kernels.Matrix, first, readers int) error {
	errs := make([]error, readers)
	var wg sync.WaitGroup
	for g := range readers {
		wg.Go(func() {
			raw := make([]byte, 16*p.Cols*p.DType.Size())
			for r := g * 16; r < p.Rows && errs[g] == nil; r += readers * 16 {
				errs[g] = w.rows(p, r, min(16, p.Rows-r), first+r, raw)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// rows reads n rows of p from row r on into outputs out, out+1, ...
func (w *weight) rows(p kernels.Matrix, r, n, out int, raw []byte) error {
	size := p.Cols * p.DType.Size()
	raw = raw[:n*size]
	if got, err := p.Data.ReadAt(raw, p.Off+int64(r)*int64(size)); got < len(raw) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read rows %d to %d of %d: %w", r, r+n, p.Rows, err)
	}
	for i := range n {
		w.put(out+i, p.DType, raw[i*size:][:size])
	}
	return nil
}

// put stores one output's row.
func (w *weight) put(out int, d kernels.DType, raw []byte) {
	panel := out / 16 * w.depth() * 16
	if w.dtype == kernels.F32 {
		to := unsafe.Slice((*float32)(w.ptr()), len(w.data)/4)[panel+out%16:]
		for k := range w.in {
			to[k*16] = element(d, raw, k)
		}
		return
	}
	to := unsafe.Slice((*uint16)(w.ptr()), len(w.data)/2)[panel+out%16*2:]
	for k := range w.in {
		if d == kernels.BF16 {
			to[k/2*32+k%2] = binary.LittleEndian.Uint16(raw[2*k:])
		} else {
			to[k/2*32+k%2] = kernels.F32ToBF16(element(d, raw, k))
		}
	}
}

// at is element k of an output's row.
func (w *mat) at(out, k int) float32 {
	in := int(w.in)
	if w.dtype == int32(kernels.F32) {
		return *(*float32)(unsafe.Add(w.p, 4*((out/16*in+k)*16+out%16)))
	}
	return kernels.BF16ToF32(*(*uint16)(unsafe.Add(w.p, 2*(out/16*((in+1)&^1)*16+k/2*32+out%16*2+k%2))))
}

// element is number k of raw.
func element(d kernels.DType, raw []byte, k int) float32 {
	switch d {
	case kernels.F32:
		return math.Float32frombits(binary.LittleEndian.Uint32(raw[4*k:]))
	case kernels.BF16:
		return kernels.BF16ToF32(binary.LittleEndian.Uint16(raw[2*k:]))
	}
	return kernels.F16ToF32(binary.LittleEndian.Uint16(raw[2*k:]))
}
