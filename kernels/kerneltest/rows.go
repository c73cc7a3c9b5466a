package kerneltest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"radish/kernels"
)

// rowCounts are one row, a few, and numbers around the tiles that kernels like.
var rowCounts = []int{1, 2, 5, 16, 17, 64, 100}

// colCounts are widths, all multiples of 8, few of 16 or 32.
var colCounts = []int{8, 24, 40, 64, 136, 576, 1000}

// types are the types that a destination "act or F32" may have.
func (r *rig) types() []kernels.DType {
	if r.got.Act() == kernels.F32 {
		return []kernels.DType{kernels.F32}
	}
	return []kernels.DType{kernels.F32, r.got.Act()}
}

// checkUpload: what goes up comes down, through views, taken at the call.
func checkUpload(r *rig) error {
	for _, rows := range rowCounts {
		cols := 1 + r.rng.IntN(70)
		m := r.dst("dst", kernels.F32, rows, cols, exact)
		v := make([]float32, rows*cols)
		for i := range v {
			v[i] = float32(r.rng.NormFloat64())
		}
		ids := r.ids("ids", make([]int32, rows))
		r.do(fmt.Sprintf("upload %dx%d", rows, cols), func(b kernels.Backend, t side) {
			src, nums := append([]float32(nil), v...), []int32{}
			for i := range rows {
				nums = append(nums, int32(i*i-7))
			}
			b.Upload(t(m), src)
			b.Upload(t(ids), nums)
			clear(src) // the copy was taken at the call
			clear(nums)
		})
	}
	for _, d := range r.types() {
		m := r.in("src", d, 7, 33, 1)
		r.mems = r.mems[:0]
		got, want := make([]float32, 7*33), make([]float32, 7*33)
		no(r.got.Download(got, left(m)))
		no(r.want.Download(want, right(m)))
		if err := compareRow(got, want, exact); err != nil {
			return fmt.Errorf("download of a %v view: %w", d, err)
		}
	}
	return nil
}

// checkPanics: wrong shapes are programming errors and panic at the call.
func checkPanics(r *rig) error {
	b := r.got
	buf, err := b.Alloc(kernels.F32, 64)
	no(err)
	act, err := b.Alloc(b.Act(), 64)
	no(err)
	w, err := b.Pack(matrix(8, 8, kernels.F32, make([]float32, 64)))
	no(err)
	f := func(rows, cols int) kernels.Tensor { return kernels.Whole(buf, rows, cols) }
	a := func(rows, cols int) kernels.Tensor { return kernels.Whole(act, rows, cols) }
	none := kernels.Tensor{}
	for name, call := range map[string]func(){
		"linear, wrong width":       func() { b.Linear(f(1, 8), a(1, 16), w, none) },
		"linear, wrong height":      func() { b.Linear(f(2, 8), a(1, 8), w, none) },
		"linear, wrong bias":        func() { b.Linear(f(1, 8), a(1, 8), w, f(1, 7)) },
		"rmsnorm, wrong weight":     func() { b.RMSNorm(a(1, 8), f(1, 8), none, f(1, 16), 1e-5) },
		"rmsnorm, outside a buffer": func() { b.RMSNorm(a(1, 8), f(9, 8).RowsFrom(8, 1), none, f(1, 8), 1e-5) },
		"swiglu, wrong width":       func() { b.SwiGLU(a(1, 8), f(1, 8)) },
		"upload, wrong length":      func() { b.Upload(f(1, 8), make([]float32, 9)) },
		"upload, wrong type":        func() { b.Upload(f(1, 8), make([]int32, 8)) },
		"gather, no such row":       func() { b.Gather(f(1, 8), f(2, 8), []int32{2}) },
		"gather, negative offset":   func() { b.Gather(f(1, 8), kernels.Tensor{Buf: buf, Off: -8, Rows: 2, Cols: 8, Stride: 8}, []int32{0}) },
	} {
		if !panics(call) {
			return fmt.Errorf("%s: does not panic", name)
		}
	}
	return b.Run()
}

// panics reports whether f does.
func panics(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return false
}

func checkResolve(r *rig) error {
	for _, n := range []int{1, 5, 17, 100} {
		slots := make([]int32, 64)
		for i := range slots {
			slots[i] = r.rng.Int32N(50000)
		}
		v := make([]int32, n)
		for i := range v {
			if v[i] = r.rng.Int32N(50000); r.rng.IntN(2) == 0 {
				v[i] = -1 - r.rng.Int32N(64)
			}
		}
		ids, last := r.ids("ids", v), r.ids("last", slots)
		r.do(fmt.Sprintf("resolve %d", n), func(b kernels.Backend, t side) { b.Resolve(t(ids), t(last)) })
	}
	return nil
}

func checkGather(r *rig) error {
	for _, d := range r.types() {
		for _, n := range rowCounts {
			cols := 1 + r.rng.IntN(200)
			src, dst := r.in("src", d, 50, cols, 1), r.dst("dst", d, n, cols, exact)
			rows := make([]int32, n)
			for i := range rows {
				rows[i] = r.rng.Int32N(50)
			}
			r.do(fmt.Sprintf("gather %d rows of %d %v", n, cols, d), func(b kernels.Backend, t side) { b.Gather(t(dst), t(src), rows) })
		}
	}
	return nil
}

func checkRMSNorm(r *rig) error {
	for _, d := range r.types() {
		for _, rows := range rowCounts {
			for i, cols := range colCounts {
				eps := []float32{1e-6, 1e-5, 1e-1}[i%3]
				scale := []float64{1, 1e-3, 30}[r.rng.IntN(3)]
				x, w := r.in("x", kernels.F32, rows, cols, scale), r.in("weight", kernels.F32, 1, cols, 1)
				dst := r.dst("dst", d, rows, cols, stored(d, oneOp))
				var add *mem
				if r.rng.IntN(2) == 0 {
					add = r.in("add", kernels.F32, rows, cols, scale)
					x.out, x.tol = true, exact // the sum of two floats has one right rounding
				}
				r.do(fmt.Sprintf("rmsnorm %dx%d to %v, add %v, eps %g", rows, cols, d, add != nil, eps),
					func(b kernels.Backend, t side) { b.RMSNorm(t(dst), t(x), t(add), t(w), eps) })
			}
		}
	}
	return nil
}

func checkSwiGLU(r *rig) error {
	for _, rows := range rowCounts {
		for _, cols := range colCounts {
			src, dst := r.in("gateUp", kernels.F32, rows, 2*cols, 6), r.dst("dst", r.got.Act(), rows, cols, stored(r.got.Act(), oneOp))
			r.do(fmt.Sprintf("swiglu %dx%d", rows, cols), func(b kernels.Backend, t side) { b.SwiGLU(t(dst), t(src)) })
		}
	}
	// Far from zero silu(x) is x or 0; exp must neither overflow into NaN nor lose the tail.
	v := []float32{0, 88, 89, 200, 1e30, -80, -88, -103, -200, -1e30, 1e-30, -1e-30, 20, -20, 1, -1}
	for range v {
		v = append(v, 1)
	}
	src, dst := r.put("gateUp", kernels.F32, 1, 32, v[:32]), r.dst("dst", r.got.Act(), 1, 16, stored(r.got.Act(), oneOp))
	r.do("swiglu far from zero", func(b kernels.Backend, t side) { b.SwiGLU(t(dst), t(src)) })
	return nil
}

// matrix is values as a source of weights.
func matrix(rows, cols int, d kernels.DType, v []float32) kernels.Matrix {
	raw := []byte("prefix")
	for _, x := range v {
		switch d {
		case kernels.F32:
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		case kernels.BF16:
			raw = binary.LittleEndian.AppendUint16(raw, kernels.F32ToBF16(x))
		case kernels.F16:
			raw = binary.LittleEndian.AppendUint16(raw, kernels.F32ToF16(x))
		}
	}
	return kernels.Matrix{DType: d, Rows: rows, Cols: cols, Data: bytes.NewReader(raw), Off: 6}
}

// weightSize is the standard deviation of random weights.
const weightSize = 0.05

// weights packs the same random parts in both backends.
func (r *rig) weights(in int, d kernels.DType, outs ...int) (got, want kernels.Weight) {
	var parts []kernels.Matrix
	for _, out := range outs {
		v := make([]float32, out*in)
		for i := range v {
			v[i] = float32(r.rng.NormFloat64() * weightSize)
		}
		parts = append(parts, matrix(out, in, d, v))
	}
	var err error
	got, err = r.got.Pack(parts...)
	no(err)
	want, err = r.want.Pack(parts...)
	no(err)
	if got.Out() != want.Out() || got.In() != in || got.Bytes() <= 0 {
		no(fmt.Errorf("pack: weight says %dx%d, %d bytes", got.Out(), got.In(), got.Bytes()))
	}
	return got, want
}

// pick is the weight of the backend at hand.
func (r *rig) pick(b kernels.Backend, got, want kernels.Weight) kernels.Weight {
	if b == r.want {
		return want
	}
	return got
}

func checkEmbed(r *rig) error {
	for _, d := range []kernels.DType{kernels.BF16, kernels.F16, kernels.F32} {
		for _, n := range rowCounts {
			in, vocab := colCounts[r.rng.IntN(len(colCounts))], 1+r.rng.IntN(200)
			got, want := r.weights(in, d, vocab)
			v := make([]int32, n)
			for i := range v {
				v[i] = r.rng.Int32N(int32(vocab))
			}
			v[0] = int32(vocab - 1)
			ids, dst := r.ids("ids", v), r.dst("dst", kernels.F32, n, in, exact)
			r.do(fmt.Sprintf("embed %d of %dx%d %v", n, vocab, in, d), func(b kernels.Backend, t side) {
				b.Embed(t(dst), r.pick(b, got, want), t(ids))
			})
		}
	}
	return nil
}

func checkLinear(r *rig) error {
	for _, in := range []int{8, 24, 64, 72, 136, 576, 1096} {
		for _, out := range []int{1, 8, 15, 33, 100, 257} {
			d := []kernels.DType{kernels.BF16, kernels.F16, kernels.F32}[r.rng.IntN(3)]
			got, want := r.weights(in, d, out)
			for _, i := range r.rng.Perm(len(rowCounts))[:4] { // each count meets some 25 of the 42 shapes
				rows := rowCounts[i]
				x, dst := r.in("x", r.got.Act(), rows, in, 1), r.dst("dst", kernels.F32, rows, out, sumsOf(in))
				var bias *mem
				if r.rng.IntN(2) == 0 {
					bias = r.in("bias", kernels.F32, 1, out, 1)
				}
				r.do(fmt.Sprintf("linear %dx%d by %dx%d %v, bias %v", rows, in, out, in, d, bias != nil),
					func(b kernels.Backend, t side) { b.Linear(t(dst), t(x), r.pick(b, got, want), t(bias)) })
			}
		}
	}
	return nil
}

// checkPack: parts are stacked in order, and a source that ends early is an error.
func checkPack(r *rig) error {
	for _, outs := range [][]int{{1, 1}, {8, 24}, {40, 8, 8}, {17, 3, 64}} {
		got, want := r.weights(40, kernels.F16, outs...)
		x, dst := r.in("x", r.got.Act(), 5, 40, 1), r.dst("dst", kernels.F32, 5, got.Out(), sumsOf(40))
		r.do(fmt.Sprintf("linear by parts %v", outs), func(b kernels.Backend, t side) {
			b.Linear(t(dst), t(x), r.pick(b, got, want), kernels.Tensor{})
		})
	}
	short := matrix(8, 8, kernels.F32, make([]float32, 64))
	short.Data = io.NewSectionReader(short.Data, 0, 100)
	if _, err := r.got.Pack(short); err == nil {
		return errors.New("pack of a source that ends early gives no error")
	}
	broken := errors.New("disk on fire")
	short.Data = readerAt(func([]byte, int64) (int, error) { return 0, broken })
	if _, err := r.got.Pack(short); !errors.Is(err, broken) {
		return fmt.Errorf("pack does not return the read error: %v", err)
	}
	return nil
}

type readerAt func([]byte, int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }
