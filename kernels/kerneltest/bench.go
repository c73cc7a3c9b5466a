package kerneltest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"radish/kernels"
	"radish/kernels/ref"
)

// Bench measures every operation at the shapes of a 1B model (hidden 2,048, 32 query and 8 key-value heads of 64, inner
// 8,192) for one row, a small batch and a prefill chunk. It reports ns/op, GB/s of memory that the operation must touch
// and, where it multiplies, GFLOP/s. Run it on an idle machine.
func Bench(b *testing.B, make func(b *testing.B) kernels.Backend) {
	k := make(b)
	defer k.Close()
	w := &bench{rig: &rig{got: k, want: ref.New(k.Act()), rng: rand.New(rand.NewPCG(1, 1))}, k: k}
	for _, rows := range []int{1, 16, 256} {
		for _, s := range [][2]int{{3072, 2048}, {2048, 8192}} {
			w.linear(b, rows, s[0], s[1])
		}
		w.rowwise(b, rows)
		w.sample(b, min(rows, 16))
	}
	for _, s := range [][3]int{{1, 1, 512}, {1, 1, 4096}, {16, 1, 1024}, {1, 256, 0}, {1, 256, 2048}} {
		w.attention(b, s[0], s[1], s[2])
	}
}

type bench struct {
	*rig
	k kernels.Backend
}

// time runs op b.N times and reports rates; bytes and flops are those of one op.
func (w *bench) time(b *testing.B, name string, bytes, flops int64, op func()) {
	b.Run(name, func(b *testing.B) {
		op()
		no(w.k.Run())
		b.ResetTimer()
		for range b.N {
			op()
			no(w.k.Run())
		}
		per := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
		b.ReportMetric(float64(bytes)/per, "GB/s")
		if flops > 0 {
			b.ReportMetric(float64(flops)/per, "GFLOP/s")
		}
	})
}

// tensor is memory of the backend alone, filled with normal numbers.
func (w *bench) tensor(d kernels.DType, rows, cols int) kernels.Tensor {
	buf, err := w.k.Alloc(d, rows*cols)
	no(err)
	v := make([]float32, rows*cols)
	for i := range v {
		v[i] = float32(w.rng.NormFloat64())
	}
	no(pour(w.k, buf, v))
	return kernels.Whole(buf, rows, cols)
}

func (w *bench) linear(b *testing.B, rows, out, in int) {
	v := make([]float32, out*in)
	for i := range v {
		v[i] = w.rng.Float32() - 0.5
	}
	weight, err := w.k.Pack(matrix(out, in, kernels.F32, v))
	no(err)
	x, dst := w.tensor(w.k.Act(), rows, in), w.tensor(kernels.F32, rows, out)
	w.time(b, fmt.Sprintf("Linear/rows=%d/out=%d/in=%d", rows, out, in), weight.Bytes(), 2*int64(rows)*int64(out)*int64(in),
		func() { w.k.Linear(dst, x, weight, kernels.Tensor{}) })
}

func (w *bench) rowwise(b *testing.B, rows int) {
	const hidden, inner = 2048, 8192
	size := int64(w.k.Act().Size())
	x, add, scale := w.tensor(kernels.F32, rows, hidden), w.tensor(kernels.F32, rows, hidden), w.tensor(kernels.F32, 1, hidden)
	dst := w.tensor(w.k.Act(), rows, hidden)
	w.time(b, fmt.Sprintf("RMSNorm/rows=%d", rows), int64(rows)*hidden*(12+size), 0, func() { w.k.RMSNorm(dst, x, add, scale, 1e-5) })
	gateUp, mid := w.tensor(kernels.F32, rows, 2*inner), w.tensor(w.k.Act(), rows, inner)
	w.time(b, fmt.Sprintf("SwiGLU/rows=%d", rows), int64(rows)*inner*(8+size), 0, func() { w.k.SwiGLU(mid, gateUp) })
	l := &kernels.Ragged{RowStart: []int32{0, int32(rows)}, Start: []int32{1000}, PageStart: []int32{0, 79}, Pages: make([]int32, 79)}
	cos, sin, inv := w.tensor(kernels.F32, rows, 32), w.tensor(kernels.F32, rows, 32), w.tensor(kernels.F32, 1, 32)
	w.time(b, fmt.Sprintf("Rotary/rows=%d", rows), int64(rows)*32*8, 0, func() {
		w.k.Begin(l)
		w.k.Rotary(cos, sin, inv, 1)
	})
}

func (w *bench) sample(b *testing.B, rows int) {
	const vocab = 128256
	logits := w.tensor(kernels.F32, rows, vocab)
	for name, row := range map[string]kernels.SampleRow{
		"greedy":  {Forced: -1, TopP: 1, Logprobs: -1},
		"plain":   {Forced: -1, TopP: 1, Logprobs: -1, Temperature: 1, U: 0.5},
		"nucleus": {Forced: -1, TopP: 0.9, TopK: 50, Logprobs: -1, Temperature: 0.8, U: 0.5},
		"topp":    {Forced: -1, TopP: 0.95, Logprobs: -1, Temperature: 1, U: 0.5},
		"scored":  {Forced: -1, TopP: 1, Logprobs: 20},
	} {
		all, out := make([]kernels.SampleRow, rows), make([]kernels.SampleOut, rows)
		for i := range all {
			all[i] = row
		}
		w.time(b, fmt.Sprintf("Sample/%s/rows=%d", name, rows), int64(rows)*vocab*4, 0, func() {
			w.k.Sample(out, logits, all, kernels.Tensor{}, nil)
		})
	}
}

// attention measures seqs sequences of rows new rows each behind past stored positions.
func (w *bench) attention(b *testing.B, seqs, rows, past int) {
	const size = 16
	h := kernels.Heads{Q: 32, KV: 8, Dim: 64}
	each := (past + rows + size - 1) / size
	kv, err := w.k.NewKV(kernels.KVShape{Layers: 1, Pages: seqs * each, PageSize: size, KVHeads: h.KV, HeadDim: h.Dim, DType: w.k.Act()})
	no(err)
	l := &kernels.Ragged{RowStart: []int32{0}, PageStart: []int32{0}}
	for i, p := range w.rng.Perm(seqs * each) {
		l.Pages = append(l.Pages, int32(p))
		if (i+1)%each == 0 {
			l.Start = append(l.Start, int32(past))
			l.RowStart = append(l.RowStart, int32(len(l.Start)*rows))
			l.PageStart = append(l.PageStart, int32(i+1))
		}
	}
	n := seqs * rows
	q, dst := w.tensor(kernels.F32, n, h.Q*h.Dim), w.tensor(w.k.Act(), n, h.Q*h.Dim)
	qkv, cos, sin := w.tensor(kernels.F32, n, (h.Q+2*h.KV)*h.Dim), w.tensor(kernels.F32, n, 32), w.tensor(kernels.F32, n, 32)
	name := fmt.Sprintf("seqs=%d/rows=%d/past=%d", seqs, rows, past)
	w.time(b, "RopeAppend/"+name, int64(n)*int64(h.Q+h.KV)*int64(h.Dim)*8, 0, func() {
		w.k.Begin(l)
		w.k.RopeAppend(q, qkv, kv, kernels.Rope{Heads: h, Cos: cos, Sin: sin})
	})
	seen := int64(rows)*int64(past) + int64(rows)*int64(rows+1)/2
	w.time(b, "Attention/"+name, int64(seqs)*int64(past+rows)*int64(2*h.KV*h.Dim*w.k.Act().Size()), 4*int64(seqs)*seen*int64(h.Q*h.Dim), func() {
		w.k.Begin(l)
		w.k.Attention(dst, q, kv, kernels.Attn{Heads: h, Scale: 0.125})
	})
}
