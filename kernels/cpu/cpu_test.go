package cpu_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"radish/kernels"
	"radish/kernels/cpu"
	"radish/kernels/ref"
)

// eachPath runs f on every path of this machine with both activation types.
func eachPath(t *testing.T, f func(t *testing.T, o cpu.Options)) {
	for _, path := range cpu.Paths() {
		for _, act := range []kernels.DType{kernels.BF16, kernels.F32} {
			t.Run(fmt.Sprintf("%s/%v", path, act), func(t *testing.T) {
				f(t, cpu.Options{Force: path, Act: act, Threads: 2})
			})
		}
	}
}

func open(t testing.TB, o cpu.Options) kernels.Backend {
	b, err := cpu.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// dev is a backend with shorthands that fail the test.
type dev struct {
	testing.TB
	kernels.Backend
}

func (d dev) alloc(dt kernels.DType, rows, cols int) kernels.Tensor {
	buf, err := d.Alloc(dt, rows*cols)
	if err != nil {
		d.Fatal(err)
	}
	return kernels.Whole(buf, rows, cols)
}

func (d dev) floats(rows, cols int, data []float32) kernels.Tensor {
	x := d.alloc(kernels.F32, rows, cols)
	d.Upload(x, data)
	return x
}

func (d dev) get(x kernels.Tensor) []float32 {
	out := make([]float32, x.Rows*x.Cols)
	if err := d.Download(out, x); err != nil {
		d.Fatal(err)
	}
	return out
}

// act is data as activations, by way of RMSNorm with unit weights: the way that a model makes them.
func (d dev) act(rows, cols int, data []float32) kernels.Tensor {
	one := make([]float32, cols)
	for i := range one {
		one[i] = 1
	}
	x := d.alloc(d.Act(), rows, cols)
	d.RMSNorm(x, d.floats(rows, cols, data), kernels.Tensor{}, d.floats(1, cols, one), 0)
	return x
}

func (d dev) pack(dt kernels.DType, rows, cols int, data []float32) kernels.Weight {
	w, err := d.Pack(kernels.Matrix{DType: dt, Rows: rows, Cols: cols, Data: bytes.NewReader(encode(dt, data))})
	if err != nil {
		d.Fatal(err)
	}
	return w
}

func encode(dt kernels.DType, data []float32) []byte {
	var raw []byte
	for _, v := range data {
		switch dt {
		case kernels.BF16:
			raw = binary.LittleEndian.AppendUint16(raw, kernels.F32ToBF16(v))
		case kernels.F16:
			raw = binary.LittleEndian.AppendUint16(raw, kernels.F32ToF16(v))
		default:
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
	}
	return raw
}

func random(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// near compares by error relative to the size of the whole.
func near(t *testing.T, what string, got, want []float32, tol float64) {
	t.Helper()
	size, worst := 0.0, 0.0
	for _, v := range want {
		size = max(size, math.Abs(float64(v)))
	}
	for i := range want {
		e := math.Abs(float64(got[i]) - float64(want[i]))
		if !(e <= tol*size) {
			t.Fatalf("%s: element %d is %v, want %v (size %v)", what, i, got[i], want[i], size)
		}
		worst = max(worst, e)
	}
}

func tolerance(act kernels.DType) float64 {
	if act == kernels.F32 {
		return 1e-5
	}
	return 8e-3
}

func TestLinearAgreesWithOracle(t *testing.T) {
	shapes := []struct{ n, in, out int }{{1, 64, 48}, {1, 2, 1}, {3, 130, 17}, {6, 256, 128}, {7, 31, 33}, {16, 300, 100}, {29, 514, 70}, {1, 7, 5}}
	eachPath(t, func(t *testing.T, o cpu.Options) {
		for _, s := range shapes {
			for _, file := range []kernels.DType{kernels.BF16, kernels.F16, kernels.F32} {
				var res [2][]float32
				for i, b := range []kernels.Backend{ref.New(o.Act), open(t, o)} {
					d, r := dev{t, b}, rand.New(rand.NewPCG(1, uint64(s.n)))
					x, w := d.act(s.n, s.in, random(r, s.n*s.in)), d.pack(file, s.out, s.in, random(r, s.out*s.in))
					dst, bias := d.alloc(kernels.F32, s.n, s.out), d.floats(1, s.out, random(r, s.out))
					d.Linear(dst, x, w, bias)
					res[i] = d.get(dst)
				}
				near(t, fmt.Sprintf("%+v %v", s, file), res[1], res[0], tolerance(o.Act))
			}
		}
	})
}

// model is one layer's worth of operations over a step, returning what the last rows see.
type model struct {
	dev
	h        kernels.Heads
	kv       kernels.KV
	qkv, out kernels.Weight
	norm     kernels.Tensor
	freq     kernels.Tensor
	window   int
	dim      int
	table    kernels.Weight
}

func newModel(t testing.TB, b kernels.Backend, h kernels.Heads, pageSize, window int) *model {
	r := rand.New(rand.NewPCG(7, 7))
	m := &model{dev: dev{t, b}, h: h, window: window, dim: 96}
	var err error
	if m.kv, err = b.NewKV(kernels.KVShape{Layers: 2, Pages: 200, PageSize: pageSize, KVHeads: h.KV, HeadDim: h.Dim, DType: b.Act()}); err != nil {
		t.Fatal(err)
	}
	width := (h.Q + 2*h.KV) * h.Dim
	m.qkv = m.pack(kernels.BF16, width, m.dim, scaled(random(r, width*m.dim), 0.1))
	m.out = m.pack(kernels.BF16, 64, h.Q*h.Dim, random(r, 64*h.Q*h.Dim))
	m.table = m.pack(kernels.BF16, 100, m.dim, random(r, 100*m.dim))
	m.norm = m.floats(1, h.Dim, random(r, h.Dim))
	f := make([]float32, h.Dim/2)
	for i := range f {
		f[i] = float32(math.Pow(10000, -float64(2*i)/float64(h.Dim)))
	}
	m.freq = m.floats(1, h.Dim/2, f)
	return m
}

func scaled(x []float32, by float32) []float32 {
	for i := range x {
		x[i] *= by
	}
	return x
}

// forward runs the rows of a step, ids flattened in the step's order, and returns one row of 64 numbers for each.
func (m *model) forward(r *kernels.Ragged, ids []int32) []float32 {
	n, h := r.NumRows(), m.h
	m.Begin(r)
	id := m.alloc(kernels.I32, 1, n)
	m.Upload(id, ids)
	x, norm := m.alloc(kernels.F32, n, m.dim), m.alloc(m.Act(), n, m.dim)
	m.Embed(x, m.table, id)
	one := make([]float32, m.dim)
	for i := range one {
		one[i] = 1
	}
	m.RMSNorm(norm, x, kernels.Tensor{}, m.floats(1, m.dim, one), 1e-5)
	cos, sin := m.alloc(kernels.F32, n, h.Dim/2), m.alloc(kernels.F32, n, h.Dim/2)
	m.Rotary(cos, sin, m.freq, 1)
	qkv, q := m.alloc(kernels.F32, n, (h.Q+2*h.KV)*h.Dim), m.alloc(kernels.F32, n, h.Q*h.Dim)
	attn, out := m.alloc(m.Act(), n, h.Q*h.Dim), m.alloc(kernels.F32, n, 64)
	m.Linear(qkv, norm, m.qkv, kernels.Tensor{})
	m.RopeAppend(q, qkv, m.kv, kernels.Rope{Heads: h, QNorm: m.norm, KNorm: m.norm, Eps: 1e-6, Cos: cos, Sin: sin, Layer: 1})
	m.Attention(attn, q, m.kv, kernels.Attn{Heads: h, Scale: 0.2, Window: m.window, Layer: 1})
	m.Linear(out, attn, m.out, kernels.Tensor{})
	return m.get(out)
}

func tokens(n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(i * 37 % 100)
	}
	return ids
}

// pagesFor names enough pages from first on, stride apart.
func pagesFor(positions, pageSize, first, stride int) []int32 {
	var p []int32
	for i := 0; i*pageSize < positions; i++ {
		p = append(p, int32((first+i*stride)%200))
	}
	return p
}

func one(start, rows int, pages []int32) *kernels.Ragged {
	return &kernels.Ragged{RowStart: []int32{0, int32(rows)}, Start: []int32{int32(start)}, PageStart: []int32{0, int32(len(pages))}, Pages: pages}
}

func TestLayerAgreesWithOracle(t *testing.T) {
	eachPath(t, func(t *testing.T, o cpu.Options) {
		for _, c := range []struct {
			h                kernels.Heads
			page, window, ln int
		}{{kernels.Heads{Q: 4, KV: 2, Dim: 16}, 16, 0, 90}, {kernels.Heads{Q: 3, KV: 3, Dim: 8}, 4, 0, 70}, {kernels.Heads{Q: 8, KV: 1, Dim: 40}, 16, 33, 150}} {
			pages := pagesFor(c.ln, c.page, 3, 7)
			want := newModel(t, ref.New(o.Act), c.h, c.page, c.window).forward(one(0, c.ln, pages), tokens(c.ln))
			got := newModel(t, open(t, o), c.h, c.page, c.window).forward(one(0, c.ln, pages), tokens(c.ln))
			near(t, fmt.Sprintf("%+v", c), got, want, 2*tolerance(o.Act))
		}
	})
}

// TestRowsDependOnThemselvesAlone: one pass, chunks, other pages, other company and other threads give the same bits.
func TestRowsDependOnThemselvesAlone(t *testing.T) {
	h := kernels.Heads{Q: 8, KV: 2, Dim: 32}
	const n = 700 // more than one range of positions and one pass of Linear
	eachPath(t, func(t *testing.T, o cpu.Options) {
		if o.Force == "generic" {
			return // slow, no ranges to merge, and the suite's invariants cover it
		}
		for _, window := range []int{0, 100} {
			whole := newModel(t, open(t, o), h, 16, window).forward(one(0, n, pagesFor(n, 16, 0, 1)), tokens(n))
			last := whole[(n-9)*64:]
			o.Threads = 1
			m := newModel(t, open(t, o), h, 16, window)
			pages := pagesFor(n, 16, 5, 3)
			for at, chunk := 0, 1; at < n-9; chunk = chunk*3 + 1 {
				rows := min(chunk, n-9-at)
				got := m.forward(one(at, rows, pages), tokens(n)[at:at+rows])
				same(t, "chunk", got, whole[at*64:][:rows*64])
				at += rows
			}
			// The last nine, one by one, each beside a stranger of its own pages.
			for i := range 9 {
				at := n - 9 + i
				r := &kernels.Ragged{RowStart: []int32{0, 30, 31}, Start: []int32{0, int32(at)}, PageStart: []int32{0, 2, int32(2 + len(pages))},
					Pages: append([]int32{198, 199}, pages...)}
				got := m.forward(r, append(tokens(30), tokens(n)[at]))
				same(t, "decode", got[30*64:], last[i*64:][:64])
			}
		}
	})
}

func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d of %d is %v, want %v", what, i, len(want), got[i], want[i])
		}
	}
}

func TestRowwiseAgreesWithOracle(t *testing.T) {
	eachPath(t, func(t *testing.T, o cpu.Options) {
		for _, s := range []struct{ n, m int }{{1, 5}, {4, 64}, {33, 777}} {
			var res [2][]float32
			for i, b := range []kernels.Backend{ref.New(o.Act), open(t, o)} {
				d, r := dev{t, b}, rand.New(rand.NewPCG(3, uint64(s.n)))
				gate := d.floats(s.n, 2*s.m, scaled(random(r, s.n*2*s.m), 10))
				glu, x := d.alloc(d.Act(), s.n, s.m), d.floats(s.n, s.m, random(r, s.n*s.m))
				d.SwiGLU(glu, gate)
				norm, pick := d.alloc(kernels.F32, s.n, s.m), d.alloc(d.Act(), 1, s.m)
				d.RMSNorm(norm, x, gate.ColsFrom(s.m, s.m), d.floats(1, s.m, random(r, s.m)), 1e-5)
				d.Gather(pick, glu, []int32{int32(s.n - 1)})
				res[i] = append(append(append(d.get(glu), d.get(norm)...), d.get(pick)...), d.get(x)...)
			}
			near(t, fmt.Sprint(s), res[1], res[0], tolerance(o.Act))
		}
	})
}

func TestRotaryIsExactAtLargePositions(t *testing.T) {
	for _, path := range cpu.Paths() {
		var res [2][]float32
		for i, b := range []kernels.Backend{ref.New(kernels.F32), open(t, cpu.Options{Force: path})} {
			d := dev{t, b}
			d.Begin(one(131060, 12, make([]int32, 9000)))
			cos, sin := d.alloc(kernels.F32, 12, 3), d.alloc(kernels.F32, 12, 3)
			d.Rotary(cos, sin, d.floats(1, 3, []float32{1, 0.37, 0.0123}), 1.5)
			res[i] = append(d.get(cos), d.get(sin)...)
		}
		near(t, path, res[1], res[0], 1e-7)
	}
}

func TestCopiedPagesHoldTheSame(t *testing.T) {
	h := kernels.Heads{Q: 4, KV: 2, Dim: 16}
	eachPath(t, func(t *testing.T, o cpu.Options) {
		m := newModel(t, open(t, o), h, 16, 0)
		m.forward(one(0, 40, []int32{1, 2, 3}), tokens(40))
		want := m.forward(one(40, 1, []int32{1, 2, 3}), []int32{5})
		m.CopyPages(m.kv, []kernels.PageCopy{{Src: 3, Dst: 9, Tokens: 8}})
		same(t, "copied", m.forward(one(40, 1, []int32{1, 2, 9}), []int32{5}), want)
		if got := m.forward(one(40, 1, []int32{1, 2, 8}), []int32{5}); math.Float32bits(got[0]) == math.Float32bits(want[0]) {
			t.Error("an empty page answers like a full one")
		}
	})
}

func TestSamplingAgreesWithOracle(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	r := rand.New(rand.NewPCG(9, 9))
	for i := range 400 {
		v := 1 + r.IntN(300)
		logits := scaled(random(r, v), 3)
		for range r.IntN(4) {
			logits[r.IntN(v)] = []float32{inf, -inf, nan, 1, 1}[r.IntN(5)]
		}
		row := kernels.SampleRow{Forced: -1, Temperature: float32(r.IntN(3)) * 0.7, TopK: r.IntN(2) * r.IntN(v+9), TopP: float32(r.IntN(3)) * 0.45,
			MinP: float32(r.IntN(2)) * 0.1, Repetition: 1.3, Presence: 0.2, Frequency: 0.1, U: r.Float64(), Logprobs: r.IntN(6) - 1}
		for range r.IntN(5) {
			row.Counts = append(row.Counts, kernels.Count{Token: int32(len(row.Counts) * v / 5), Prompt: 1, Output: int32(r.IntN(3))})
			row.Masked = append(row.Masked, int32(r.IntN(v)))
		}
		if r.IntN(5) == 0 {
			row.Forced = int32(r.IntN(v))
		}
		var out [2][]kernels.SampleOut
		for j, b := range []kernels.Backend{ref.New(kernels.F32), open(t, cpu.Options{})} {
			d := dev{t, b}
			out[j] = make([]kernels.SampleOut, 1)
			last := d.alloc(kernels.I32, 1, 3)
			d.Sample(out[j], d.floats(1, v, logits), []kernels.SampleRow{row}, last, []int32{2})
			got := make([]int32, 3)
			d.Download(got, last)
			if got[2] != out[j][0].Token {
				t.Fatalf("slot holds %d, token %d", got[2], out[j][0].Token)
			}
			b.Close()
		}
		if a, b := fmt.Sprintf("%.4v", out[0]), fmt.Sprintf("%.4v", out[1]); a != b {
			t.Fatalf("case %d, %d tokens, %+v:\noracle %s\ncpu    %s", i, v, row, a, b)
		}
	}
}

func TestUnknownPathIsRefused(t *testing.T) {
	if _, err := cpu.New(cpu.Options{Force: "sse2"}); !errors.Is(err, cpu.ErrPath) {
		t.Errorf("got %v", err)
	}
}

func TestResolveAndEmbed(t *testing.T) {
	eachPath(t, func(t *testing.T, o cpu.Options) {
		d := dev{t, open(t, o)}
		table := d.pack(kernels.F16, 3, 5, []float32{0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24})
		ids, last, dst := d.alloc(kernels.I32, 1, 3), d.alloc(kernels.I32, 1, 2), d.alloc(kernels.F32, 3, 5)
		d.Upload(ids, []int32{2, -2, 77})
		d.Upload(last, []int32{0, 1})
		d.Resolve(ids, last)
		d.Embed(dst, table, ids)
		same(t, "rows", d.get(dst), []float32{20, 21, 22, 23, 24, 10, 11, 12, 13, 14, 0, 0, 0, 0, 0})
	})
}
