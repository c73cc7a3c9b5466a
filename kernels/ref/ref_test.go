package ref

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"radish/kernels"
)

// The oracle is judged by what it did not come from: results worked out by hand, identities, and other formulas.

func tensor(t *testing.T, b kernels.Backend, d kernels.DType, rows, cols int, v ...float32) kernels.Tensor {
	t.Helper()
	buf, err := b.Alloc(d, rows*cols)
	if err != nil {
		t.Fatal(err)
	}
	copy(buf.(*buffer).floats, v)
	return kernels.Whole(buf, rows, cols)
}

func ints(b kernels.Backend, v ...int32) kernels.Tensor {
	buf, _ := b.Alloc(kernels.I32, len(v))
	x := kernels.Whole(buf, 1, len(v))
	b.Upload(x, v)
	return x
}

// near compares a tensor with values.
func near(t *testing.T, what string, b kernels.Backend, x kernels.Tensor, tol float64, want ...float32) {
	t.Helper()
	got := make([]float32, x.Rows*x.Cols)
	if err := b.Download(got, x); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if !(math.Abs(float64(got[i])-float64(want[i])) <= tol*max(1, math.Abs(float64(want[i])))) {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
	}
}

func source(d kernels.DType, rows, cols int, v ...float32) kernels.Matrix {
	var raw []byte
	for _, f := range v {
		if d == kernels.F32 {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
		} else {
			raw = binary.LittleEndian.AppendUint16(raw, kernels.F32ToF16(f))
		}
	}
	return kernels.Matrix{DType: d, Rows: rows, Cols: cols, Data: bytes.NewReader(raw)}
}

func TestLinearAndEmbedByHand(t *testing.T) {
	b := New(kernels.F32)
	w, err := b.Pack(source(kernels.F32, 2, 3, 1, 2, 3, 4, 5, 6), source(kernels.F16, 1, 3, -1, 0.5, 0))
	if err != nil || w.Out() != 3 || w.In() != 3 {
		t.Fatal(w, err)
	}
	dst := tensor(t, b, kernels.F32, 2, 3)
	b.Linear(dst, tensor(t, b, kernels.F32, 2, 3, 1, 0, -1, 2, 2, 2), w, tensor(t, b, kernels.F32, 1, 3, 10, 20, 30))
	near(t, "linear", b, dst, 0, 8, 18, 29, 22, 50, 29)
	b.Embed(dst, w, ints(b, 2, 0))
	near(t, "embed", b, dst, 0, -1, 0.5, 0, 1, 2, 3)
	short := source(kernels.F32, 2, 3, 1, 2, 3, 4, 5)
	if _, err := b.Pack(short); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("pack of a short source: %v", err)
	}
}

func TestBF16IsRounded(t *testing.T) {
	b := New(kernels.BF16)
	w, _ := b.Pack(source(kernels.F32, 1, 2, 1.00390625, 1.01171875)) // ties: to 1 and to 1.015625
	dst := tensor(t, b, kernels.F32, 1, 1)
	b.Linear(dst, tensor(t, b, kernels.BF16, 1, 2, 1, 1), w, kernels.Tensor{})
	near(t, "weights", b, dst, 0, 2.015625)
	act := tensor(t, b, kernels.BF16, 1, 1)
	b.SwiGLU(act, tensor(t, b, kernels.F32, 1, 2, 100, 0.010039))
	near(t, "activation", b, act, 0, kernels.RoundBF16(1.0039))
}

func TestRMSNormByHand(t *testing.T) {
	b := New(kernels.F32)
	x, dst := tensor(t, b, kernels.F32, 1, 2, 1, 3), tensor(t, b, kernels.F32, 1, 2)
	b.RMSNorm(dst, x, tensor(t, b, kernels.F32, 1, 2, 2, 1), tensor(t, b, kernels.F32, 1, 2, 10, 100), 0)
	near(t, "x", b, x, 0, 3, 4)
	near(t, "dst", b, dst, 1e-6, 30/float32(math.Sqrt(12.5)), 400/float32(math.Sqrt(12.5)))
	b.RMSNorm(dst, x, kernels.Tensor{}, tensor(t, b, kernels.F32, 1, 2, 1, 1), 12.5)
	near(t, "with eps", b, dst, 1e-6, 0.6, 0.8)
}

func TestSwiGLUIdentity(t *testing.T) {
	// silu(x) - silu(-x) = x, and silu(x) = x/2 (1 + tanh(x/2)).
	b := New(kernels.F32)
	for _, x := range []float32{0, 0.1, 1, 7, 30} {
		dst := tensor(t, b, kernels.F32, 2, 1)
		b.SwiGLU(dst, tensor(t, b, kernels.F32, 2, 2, x, 2, -x, 2))
		s := float64(x) * (1 + math.Tanh(float64(x)/2))
		near(t, "swiglu", b, dst, 1e-6, float32(s), float32(s)-2*x)
	}
}

// one is a step of n rows of one sequence at position start, on the given pages.
func one(n, start int32, pages ...int32) *kernels.Ragged {
	return &kernels.Ragged{RowStart: []int32{0, n}, Start: []int32{start}, PageStart: []int32{0, int32(len(pages))}, Pages: pages}
}

func TestRotaryRoundsTheAngle(t *testing.T) {
	b := New(kernels.F32)
	b.Begin(one(1, 100003, 0))
	cos, sin := tensor(t, b, kernels.F32, 1, 1), tensor(t, b, kernels.F32, 1, 1)
	b.Rotary(cos, sin, tensor(t, b, kernels.F32, 1, 1, 0.1), 2)
	// float32(100003)*float32(0.1) = 10000.30014... in real numbers; float32 neighbours are 2^-10 apart: 10000.2998046875.
	near(t, "cos", b, cos, 1e-6, float32(2*math.Cos(10000.2998046875)))
	near(t, "sin", b, sin, 1e-6, float32(2*math.Sin(10000.2998046875)))
}

// TestRopeIsComplexMultiplication: element j and j+Dim/2 are a complex number that is turned by the angle.
func TestRopeIsComplexMultiplication(t *testing.T) {
	b := New(kernels.F32)
	kv, _ := b.NewKV(kernels.KVShape{Layers: 1, Pages: 3, PageSize: 2, KVHeads: 1, HeadDim: 4, DType: kernels.F32})
	b.Begin(one(1, 3, 2, 1))
	cos := tensor(t, b, kernels.F32, 1, 2, float32(math.Cos(0.3)), float32(math.Cos(2)))
	sin := tensor(t, b, kernels.F32, 1, 2, float32(math.Sin(0.3)), float32(math.Sin(2)))
	q := tensor(t, b, kernels.F32, 1, 4)
	b.RopeAppend(q, tensor(t, b, kernels.F32, 1, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), kv,
		kernels.Rope{Heads: kernels.Heads{Q: 1, KV: 1, Dim: 4}, Cos: cos, Sin: sin})
	turned := func(re, im, angle float64) complex128 { return complex(re, im) * cmplx.Exp(complex(0, angle)) }
	a, c := turned(1, 3, 0.3), turned(2, 4, 2)
	near(t, "q", b, q, 1e-6, float32(real(a)), float32(real(c)), float32(imag(a)), float32(imag(c)))
	key, value := kv.(interface {
		at(layer, pos int, table []int32) (k, v []float32)
	}).at(0, 1, []int32{1}) // position 3 of the sequence is the second of page 1
	a, c = turned(5, 7, 0.3), turned(6, 8, 2)
	for i, want := range []float64{real(a), real(c), imag(a), imag(c)} {
		if math.Abs(float64(key[i])-want) > 1e-5 || value[i] != float32(9+i) {
			t.Fatalf("stored %v %v", key, value)
		}
	}
}

// TestAttentionMeans: equal keys give the mean of the values seen, and one key far ahead gives its value.
func TestAttentionMeans(t *testing.T) {
	b := New(kernels.F32)
	h := kernels.Heads{Q: 2, KV: 1, Dim: 2}
	kv, _ := b.NewKV(kernels.KVShape{Layers: 1, Pages: 4, PageSize: 2, KVHeads: 1, HeadDim: 2, DType: kernels.F32})
	b.Begin(one(4, 0, 3, 0))
	cos, sin := tensor(t, b, kernels.F32, 4, 1, 1, 1, 1, 1), tensor(t, b, kernels.F32, 4, 1)
	q := tensor(t, b, kernels.F32, 4, 4)
	qkv := tensor(t, b, kernels.F32, 4, 8,
		0, 0, 0, 9, 0, 0, 2, 10,
		0, 0, 0, 9, 0, 0, 4, 20,
		0, 0, 0, 9, 0, 9, 6, 30,
		0, 0, 0, 9, 0, 0, 8, 40)
	b.RopeAppend(q, qkv, kv, kernels.Rope{Heads: h, Cos: cos, Sin: sin})
	dst := tensor(t, b, kernels.F32, 4, 4)
	b.Attention(dst, q, kv, kernels.Attn{Heads: h, Scale: 1})
	near(t, "causal", b, dst, 1e-6, 2, 10, 2, 10, 3, 15, 3, 15, 4, 20, 6, 30, 5, 25, 6, 30)
	b.Attention(dst, q, kv, kernels.Attn{Heads: h, Scale: 1, Window: 2})
	near(t, "window", b, dst, 1e-6, 2, 10, 2, 10, 3, 15, 3, 15, 5, 25, 6, 30, 7, 35, 6, 30)
}

func TestSampleByHand(t *testing.T) {
	ln := func(p float64) float32 { return float32(math.Log(p)) }
	logits := []float32{ln(0.1), ln(0.4), ln(0.2), ln(0.3)}
	base := kernels.SampleRow{Forced: -1, Temperature: 1, TopP: 1, Logprobs: -1}
	for _, c := range []struct {
		name string
		set  func(r *kernels.SampleRow)
		want int32
	}{
		{"greedy", func(r *kernels.SampleRow) { r.Temperature = 0 }, 1},
		{"u low", func(r *kernels.SampleRow) { r.U = 0.09 }, 0},
		{"u middle", func(r *kernels.SampleRow) { r.U = 0.55 }, 2},
		{"u high", func(r *kernels.SampleRow) { r.U = 0.71 }, 3},
		{"top-k 2 leaves 1 and 3 at 4:3", func(r *kernels.SampleRow) { r.TopK, r.U = 2, 0.56 }, 1},
		{"top-k 2, above 4/7", func(r *kernels.SampleRow) { r.TopK, r.U = 2, 0.58 }, 3},
		{"top-p 0.65 needs two", func(r *kernels.SampleRow) { r.TopP, r.U = 0.65, 0.58 }, 3},
		{"top-p 0.75 needs three", func(r *kernels.SampleRow) { r.TopP, r.U = 0.75, 0.5 }, 2},
		{"min-p 0.6 keeps two", func(r *kernels.SampleRow) { r.MinP, r.U = 0.6, 0.58 }, 3},
		{"top-k then top-p: 3/7 reaches 0.5 not", func(r *kernels.SampleRow) { r.TopK, r.TopP, r.U = 2, 0.55, 0.99 }, 1},
		{"mask", func(r *kernels.SampleRow) { r.Temperature, r.Masked = 0, []int32{1, 3} }, 2},
		{"bias", func(r *kernels.SampleRow) {
			r.Temperature, r.BiasToken, r.BiasValue = 0, []int32{0}, []float32{2}
		}, 0},
		{"repetition on negative logits multiplies", func(r *kernels.SampleRow) {
			r.Temperature, r.Repetition, r.Counts = 0, 2, []kernels.Count{{Token: 1, Prompt: 1}}
		}, 3},
		{"presence ignores the prompt", func(r *kernels.SampleRow) {
			r.Temperature, r.Presence, r.Counts = 0, 9, []kernels.Count{{Token: 1, Prompt: 3}}
		}, 1},
		{"frequency counts", func(r *kernels.SampleRow) {
			r.Temperature, r.Frequency, r.Counts = 0, 0.2, []kernels.Count{{Token: 1, Output: 2}}
		}, 3},
		{"forced", func(r *kernels.SampleRow) { r.Forced = 2 }, 2},
	} {
		r := base
		c.set(&r)
		if got := choose(logits, &r).Token; got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	r := base
	r.Forced, r.Logprobs = 2, 2
	got := choose(logits, &r)
	if math.Abs(float64(got.Logprob)-math.Log(0.2)) > 1e-6 || got.Rank != 3 || len(got.TopID) != 2 || got.TopID[0] != 1 || got.TopID[1] != 3 ||
		math.Abs(float64(got.TopLog[1])-math.Log(0.3)) > 1e-6 {
		t.Errorf("scores: %+v", got)
	}
}

// TestDrawIsInverseOfTheDistribution: over an even grid of u, each token is drawn in proportion to its probability.
func TestDrawIsInverseOfTheDistribution(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	logits := make([]float32, 30)
	for i := range logits {
		logits[i] = float32(rng.NormFloat64())
	}
	c := Candidates(logits, &kernels.SampleRow{Forced: -1, Temperature: 1.3, TopP: 1})
	const n = 20000
	count := map[int32]int{}
	for i := range n {
		count[Draw(c, (float64(i)+0.5)/n)]++
	}
	sum := 0.0
	for _, l := range logits {
		sum += math.Exp(float64(l) / 1.3)
	}
	for i, l := range logits {
		if want := n * math.Exp(float64(l)/1.3) / sum; math.Abs(float64(count[int32(i)])-want) > 1.5 {
			t.Errorf("token %d: %d of %d, want %.1f", i, count[int32(i)], n, want)
		}
	}
}
