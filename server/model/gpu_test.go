package model

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"radish/kernels"
	"radish/kernels/cuda"
	"radish/server/weights"
)

// without is a GPU that leaves some operations out, so that the time of the rest tells what they cost where they stand.
type without struct {
	*cuda.Backend
	skip string
}

func (w without) has(op string) bool { return strings.Contains(w.skip, op) }

func (w without) Attention(dst, q kernels.Tensor, kv kernels.KV, a kernels.Attn) {
	if !w.has("attention") {
		w.Backend.Attention(dst, q, kv, a)
	}
}

func (w without) RopeAppend(q, qkv kernels.Tensor, kv kernels.KV, r kernels.Rope) {
	if !w.has("rope") {
		w.Backend.RopeAppend(q, qkv, kv, r)
	}
}

func (w without) RMSNorm(dst, x, add, weight kernels.Tensor, eps float32) {
	if !w.has("norm") {
		w.Backend.RMSNorm(dst, x, add, weight, eps)
	}
}

func (w without) Linear(dst, x kernels.Tensor, m kernels.Weight, bias kernels.Tensor) {
	if !w.has("linear") {
		w.Backend.Linear(dst, x, m, bias)
	}
}

func (w without) LinearAdd(dst, x kernels.Tensor, m kernels.Weight, bias kernels.Tensor) bool {
	return w.has("linear") || !w.has("fused") && w.Backend.LinearAdd(dst, x, m, bias)
}

func (w without) LinearSwiGLU(dst, x kernels.Tensor, m kernels.Weight, bias kernels.Tensor) bool {
	return w.has("linear") || !w.has("fused") && w.Backend.LinearSwiGLU(dst, x, m, bias)
}

// BenchmarkStep takes a step of the 8B shape apart on a GPU (RADISH_GPU): milliseconds of 32 layers and the output head,
// whole and with operations left out. It measures 8 layers with random weights; b.N is not used.
func BenchmarkStep(bench *testing.B) {
	if os.Getenv("RADISH_GPU") == "" {
		bench.Skip("needs a GPU: make gputest")
	}
	runtime.LockOSThread()
	gemm := os.Getenv("GEMM")
	b, err := cuda.New(cuda.Options{Act: kernels.BF16, Gemm: gemm})
	must(bench, err)
	defer b.Close()
	const layers = 8
	cfg := &weights.Config{
		Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", HiddenSize: 4096, IntermediateSize: 14336, Layers: layers,
		VocabSize: 128256, Heads: kernels.Heads{Q: 32, KV: 8, Dim: 128}, NormEps: 1e-5, MaxPositions: 16384,
		Windows: make([]int, layers), Rope: weights.Rope{Theta: 5e5, Type: "default", Factor: 1},
	}
	spec, err := New(cfg)
	must(bench, err)
	m, err := Load(b, spec, weights.Dummy(cfg, 1, kernels.BF16))
	must(bench, err)
	for _, s := range []struct{ seqs, past, rows int }{{1, 1030, 1}, {100, 200, 1}, {100, 1030, 1}, {1, 7900, 292}, {1, 0, 8192}} {
		p := profile{b: b, m: m, layers: layers, seqs: s.seqs, past: s.past, rows: s.rows}
		fmt.Printf("%s: %d sequences of %d behind %d\n", b.Name(), s.seqs, s.rows, s.past)
		p.run(bench)
	}
}

type profile struct {
	b                *cuda.Backend
	m                *Model
	layers           int
	seqs, past, rows int
	ws               *Workspace
	kv               kernels.KV
	ragged           kernels.Ragged
	rowsWanted       []int32
}

func (p *profile) run(t testing.TB) {
	const page = 16
	n := p.seqs * p.rows
	var err error
	p.ws, err = p.m.NewWorkspace(Room{Rows: n, Logits: p.seqs})
	must(t, err)
	each := (p.past + p.rows + page - 1) / page
	p.kv, err = p.b.NewKV(p.m.KVShape(p.seqs*each, page))
	must(t, err)
	p.ragged = kernels.Ragged{RowStart: []int32{0}, PageStart: []int32{0}}
	ids := make([]int32, n)
	for i := range p.seqs {
		p.ragged.Start = append(p.ragged.Start, int32(p.past))
		p.ragged.RowStart = append(p.ragged.RowStart, int32((i+1)*p.rows))
		for j := range each {
			p.ragged.Pages = append(p.ragged.Pages, int32(j*p.seqs+i))
		}
		p.ragged.PageStart = append(p.ragged.PageStart, int32(len(p.ragged.Pages)))
		p.rowsWanted = append(p.rowsWanted, int32((i+1)*p.rows-1))
	}
	for i := range ids {
		ids[i] = int32(i * 37 % 128000)
	}
	p.b.Upload(p.ws.IDs(n), ids)
	p.b.Begin(&p.ragged) // once for real: products are tuned with the first of their shape
	p.m.b, p.m.fused = p.b, p.b
	p.m.Forward(p.ws, p.kv, n)
	p.m.Logits(p.ws, p.rowsWanted)
	must(t, p.b.Run())
	whole := time.Duration(0)
	for _, skip := range []string{"", "attention", "rope", "norm", "fused", "linear", "attention rope norm linear"} {
		d := p.time(t, skip)
		if skip == "" {
			whole = d
		}
		what := "whole step"
		if skip != "" {
			what = "without " + skip
		}
		fmt.Printf("  %-40s %8.3f ms (%+.3f)\n", what, d.Seconds()*1e3, (d-whole).Seconds()*1e3)
	}
}

// time is a step's device time with 32 layers.
func (p *profile) time(t testing.TB, skip string) time.Duration {
	n := p.seqs * p.rows
	w := without{p.b, skip}
	p.m.b, p.m.fused = w, w
	forward, err := p.b.Measure(1, func() {
		p.b.Begin(&p.ragged)
		p.m.Forward(p.ws, p.kv, n)
	})
	must(t, err)
	head, err := p.b.Measure(1, func() { p.m.Logits(p.ws, p.rowsWanted) })
	must(t, err)
	return forward*time.Duration(32/p.layers) + head
}
