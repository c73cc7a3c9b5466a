package ref

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"radish/kernels"
)

// weight is a matrix [out x in], row-major, rounded to the activation type.
type weight struct {
	out, in int
	dtype   kernels.DType
	data    []float32
}

func (w *weight) Out() int            { return w.out }
func (w *weight) In() int             { return w.in }
func (w *weight) Bytes() int64        { return int64(w.out) * int64(w.in) * int64(w.dtype.Size()) }
func (w *weight) row(i int) []float32 { return w.data[i*w.in : (i+1)*w.in] }

// Pack reads the parts row by row and stacks them.
func (b *Backend) Pack(parts ...kernels.Matrix) (kernels.Weight, error) {
	must(len(parts) > 0, "pack: no parts")
	w := &weight{in: parts[0].Cols, dtype: b.act}
	for _, p := range parts {
		must(p.Cols == w.in && p.Rows >= 0, "pack: part is %dx%d, want %d columns", p.Rows, p.Cols, w.in)
		raw := make([]byte, p.Cols*p.DType.Size())
		for i := range p.Rows {
			if n, err := p.Data.ReadAt(raw, p.Off+int64(i)*int64(len(raw))); n < len(raw) {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return nil, fmt.Errorf("read row %d of %d: %w", i, p.Rows, err)
			}
			for j := range p.Cols {
				w.data = append(w.data, round(b.act, float64(element(p.DType, raw, j))))
			}
		}
		w.out += p.Rows
	}
	return w, nil
}

// element is number j of raw.
func element(d kernels.DType, raw []byte, j int) float32 {
	switch d {
	case kernels.F32:
		return math.Float32frombits(binary.LittleEndian.Uint32(raw[4*j:]))
	case kernels.BF16:
		return kernels.BF16ToF32(binary.LittleEndian.Uint16(raw[2*j:]))
	case kernels.F16:
		return kernels.F16ToF32(binary.LittleEndian.Uint16(raw[2*j:]))
	}
	panic(fmt.Sprintf("ref: pack: cannot read %v", d))
}

// Embed gathers rows of table.
func (b *Backend) Embed(dst kernels.Tensor, table kernels.Weight, ids kernels.Tensor) {
	w := table.(*weight)
	view("embed dst", dst, ids.Cols, w.in, kernels.F32)
	view("embed ids", ids, 1, -1, kernels.I32)
	for i, id := range introw(ids, 0) {
		must(id >= 0 && int(id) < w.out, "embed: id %d of %d", id, w.out)
		copy(row(dst, i), w.row(int(id)))
	}
}

// Linear multiplies every row of x by every row of w.
func (b *Backend) Linear(dst, x kernels.Tensor, w kernels.Weight, bias kernels.Tensor) {
	m := w.(*weight)
	view("linear dst", dst, x.Rows, m.out, kernels.F32)
	view("linear x", x, -1, m.in, b.act)
	add := make([]float32, m.out)
	if !bias.Absent() {
		view("linear bias", bias, 1, m.out, kernels.F32)
		copy(add, row(bias, 0))
	}
	for i := range x.Rows {
		to, from := row(dst, i), row(x, i)
		for j := range to {
			to[j] = float32(dot(from, m.row(j)) + float64(add[j]))
		}
	}
}

// RMSNorm adds, then normalises.
func (b *Backend) RMSNorm(dst, x, add, scale kernels.Tensor, eps float32) {
	to := view("rmsnorm dst", dst, x.Rows, x.Cols, kernels.F32, b.act)
	view("rmsnorm x", x, -1, -1, kernels.F32)
	view("rmsnorm weight", scale, 1, x.Cols, kernels.F32)
	if !add.Absent() {
		view("rmsnorm add", add, x.Rows, x.Cols, kernels.F32)
	}
	for i := range x.Rows {
		in := row(x, i)
		if !add.Absent() {
			for j, v := range row(add, i) {
				in[j] += v
			}
		}
		size := rms(in, eps)
		out, by := row(dst, i), row(scale, 0)
		for j := range out {
			out[j] = round(to.dtype, float64(in[j])/size*float64(by[j]))
		}
	}
}

// SwiGLU is silu of the left half times the right half.
func (b *Backend) SwiGLU(dst, gateUp kernels.Tensor) {
	to := view("swiglu dst", dst, gateUp.Rows, -1, b.act)
	view("swiglu gateUp", gateUp, -1, 2*dst.Cols, kernels.F32)
	for i := range dst.Rows {
		gate, up := row(gateUp, i)[:dst.Cols], row(gateUp, i)[dst.Cols:]
		out := row(dst, i)
		for j := range out {
			g := float64(gate[j])
			out[j] = round(to.dtype, g/(1+math.Exp(-g))*float64(up[j]))
		}
	}
}
