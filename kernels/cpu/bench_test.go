package cpu_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"radish/kernels"
	"radish/kernels/cpu"
)

// forced is the path that benchmarks run: RADISH_CPU, or the default.
func forced() cpu.Options { return cpu.Options{Force: os.Getenv("RADISH_CPU")} }

// noise packs a random matrix without holding it as float32.
func (d dev) noise(out, in int) kernels.Weight {
	raw := make([]byte, 2*out*in)
	state := uint32(1)
	for i := 0; i < len(raw); i += 2 {
		state = state*1664525 + 1013904223
		h := kernels.F32ToBF16(float32(int32(state)) / (1 << 37))
		raw[i], raw[i+1] = byte(h), byte(h>>8)
	}
	w, err := d.Pack(kernels.Matrix{DType: kernels.BF16, Rows: out, Cols: in, Data: bytes.NewReader(raw)})
	if err != nil {
		d.Fatal(err)
	}
	return w
}

// BenchmarkLinear prints GFLOP/s and the GB/s at which weights are read, over eight matrices in turn so that one row
// meets memory and not a cache.
func BenchmarkLinear(b *testing.B) {
	for _, s := range []struct{ in, out int }{{2048, 3072}, {2048, 16384}, {8192, 2048}} {
		d := dev{b, open(b, forced())}
		var ws [8]kernels.Weight
		for i := range ws {
			ws[i] = d.noise(s.out, s.in)
		}
		for _, n := range []int{1, 4, 16, 64, 512} {
			b.Run(fmt.Sprintf("%dx%d/rows%d", s.in, s.out, n), func(b *testing.B) {
				x, dst := d.act(n, s.in, random(rand.New(rand.NewPCG(1, 1)), n*s.in)), d.alloc(kernels.F32, n, s.out)
				for i := range b.N {
					d.Linear(dst, x, ws[i%8], kernels.Tensor{})
					d.Run()
				}
				sec := b.Elapsed().Seconds() / float64(b.N)
				b.ReportMetric(2*float64(n)*float64(s.in)*float64(s.out)/sec/1e9, "GFLOP/s")
				b.ReportMetric(float64(ws[0].Bytes())/sec/1e9, "GB/s")
			})
		}
	}
}

// BenchmarkAttention prints tokens/s of one layer's attention: a prompt at once, and 16 sequences one row each.
func BenchmarkAttention(b *testing.B) {
	h := kernels.Heads{Q: 32, KV: 8, Dim: 64}
	d := dev{b, open(b, forced())}
	kv, err := d.NewKV(kernels.KVShape{Layers: 1, Pages: 1024, PageSize: 16, KVHeads: 8, HeadDim: 64, DType: kernels.BF16})
	if err != nil {
		b.Fatal(err)
	}
	pages := make([]int32, 512)
	for i := range pages {
		pages[i] = int32(i)
	}
	for _, c := range []struct{ start, rows int }{{0, 512}, {0, 4096}, {1023, 1}, {8191, 1}} {
		b.Run(fmt.Sprintf("at%d/rows%d", c.start, c.rows), func(b *testing.B) {
			d.Begin(one(c.start, c.rows, pages))
			q, dst := d.alloc(kernels.F32, c.rows, 2048), d.alloc(d.Act(), c.rows, 2048)
			for range b.N {
				d.Attention(dst, q, kv, kernels.Attn{Heads: h, Scale: 0.125})
				d.Run()
			}
			b.ReportMetric(float64(c.rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkSample prints the time of 16 rows of 128,256 logits.
func BenchmarkSample(b *testing.B) {
	d := dev{b, open(b, forced())}
	logits := d.floats(16, 128256, random(rand.New(rand.NewPCG(1, 1)), 16*128256))
	for name, row := range map[string]kernels.SampleRow{
		"greedy": {Forced: -1, Logprobs: -1}, "plain": {Forced: -1, Logprobs: -1, Temperature: 0.7, U: 0.5},
		"min_p": {Forced: -1, Logprobs: -1, Temperature: 0.7, MinP: 0.05, U: 0.5}, "top_p": {Forced: -1, Logprobs: -1, Temperature: 0.7, TopP: 0.9, U: 0.5},
		"top_k": {Forced: -1, Logprobs: -1, Temperature: 0.7, TopK: 40, U: 0.5}, "logprobs": {Forced: -1, Logprobs: 5},
	} {
		rows := make([]kernels.SampleRow, 16)
		for i := range rows {
			rows[i] = row
		}
		b.Run(name, func(b *testing.B) {
			for range b.N {
				d.Sample(make([]kernels.SampleOut, 16), logits, rows, kernels.Tensor{}, nil)
				d.Run()
			}
		})
	}
}

// layers is the stack of a 1B model (Llama 3.2's shape): 16 layers and the tied output matrix.
type layers struct {
	dev
	kv                 kernels.KV
	qkv, o, gate, down []kernels.Weight
	head               kernels.Weight
	norm, freq         kernels.Tensor
}

func newLayers(d dev) *layers {
	l := &layers{dev: d, head: d.noise(128256, 2048)}
	for range 16 {
		l.qkv, l.o = append(l.qkv, d.noise(3072, 2048)), append(l.o, d.noise(2048, 2048))
		l.gate, l.down = append(l.gate, d.noise(16384, 2048)), append(l.down, d.noise(2048, 8192))
	}
	var err error
	if l.kv, err = d.NewKV(kernels.KVShape{Layers: 16, Pages: 1024, PageSize: 16, KVHeads: 8, HeadDim: 64, DType: d.Act()}); err != nil {
		d.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	l.norm, l.freq = d.floats(1, 2048, random(r, 2048)), d.floats(1, 32, random(r, 32))
	return l
}

// workspace is what a step of n rows writes to.
type workspace struct{ x, res, act, cos, sin, qkv, q, gate, glu, last, logits, ids kernels.Tensor }

func (l *layers) workspace(n, seqs int) workspace {
	f, act := kernels.F32, l.Act()
	return workspace{l.alloc(f, n, 2048), l.alloc(f, n, 2048), l.alloc(act, n, 2048), l.alloc(f, n, 32), l.alloc(f, n, 32), l.alloc(f, n, 3072),
		l.alloc(f, n, 2048), l.alloc(f, n, 16384), l.alloc(act, n, 8192), l.alloc(act, seqs, 2048), l.alloc(f, seqs, 128256), l.alloc(kernels.I32, 1, n)}
}

func (l *layers) step(r *kernels.Ragged, w workspace) {
	h, none := kernels.Heads{Q: 32, KV: 8, Dim: 64}, kernels.Tensor{}
	l.Begin(r)
	l.Embed(w.x, l.head, w.ids)
	l.Rotary(w.cos, w.sin, l.freq, 1)
	add := none
	for i := range l.qkv {
		l.RMSNorm(w.act, w.x, add, l.norm, 1e-5)
		l.Linear(w.qkv, w.act, l.qkv[i], none)
		l.RopeAppend(w.q, w.qkv, l.kv, kernels.Rope{Heads: h, Cos: w.cos, Sin: w.sin, Layer: i})
		l.Attention(w.act, w.q, l.kv, kernels.Attn{Heads: h, Scale: 0.125, Layer: i})
		l.Linear(w.res, w.act, l.o[i], none)
		l.RMSNorm(w.act, w.x, w.res, l.norm, 1e-5)
		l.Linear(w.gate, w.act, l.gate[i], none)
		l.SwiGLU(w.glu, w.gate)
		l.Linear(w.res, w.glu, l.down[i], none)
		add = w.res
	}
	l.RMSNorm(w.act, w.x, add, l.norm, 1e-5)
	var last []int32
	for i := range r.Seqs() {
		last = append(last, r.RowStart[i+1]-1)
	}
	l.Gather(w.last, w.act, last)
	l.Linear(w.logits, w.last, l.head, none)
	l.Run()
}

// BenchmarkModel prints tokens/s of the whole stack: a prompt of 512, and decoding at batch 1 and 16 near position 32.
func BenchmarkModel(b *testing.B) {
	l := newLayers(dev{b, open(b, forced())})
	prompt := make([]int32, 32)
	batch := kernels.Ragged{RowStart: []int32{0}, PageStart: []int32{0}}
	for i := range int32(16) {
		prompt[2*i], prompt[2*i+1] = 2*i, 2*i+1
		batch.RowStart, batch.Start = append(batch.RowStart, i+1), append(batch.Start, 32)
		batch.Pages, batch.PageStart = append(batch.Pages, 40+3*i, 41+3*i, 42+3*i), append(batch.PageStart, 3*i+3)
	}
	for _, c := range []struct {
		name string
		r    *kernels.Ragged
	}{{"prefill512", one(0, 512, prompt)}, {"decode1", one(32, 1, prompt[:3])}, {"decode16", &batch}} {
		w := l.workspace(c.r.NumRows(), c.r.Seqs())
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				l.step(c.r, w)
			}
			b.ReportMetric(float64(c.r.NumRows())*float64(b.N)/b.Elapsed().Seconds(), "tok/s")
		})
	}
}
