package kerneltest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"radish/kernels"
)

// Invariant requires bit-identity: through a two-layer forward pass built from the operations, a sequence computed
// alone in one chunk has the same logits, to the last bit, as in odd chunks, row by row, among other sequences, on
// other pages, and continued from a copied page. This is the contract of package kernels that makes a prefix-cache hit
// answer exactly like a miss. It judges a backend by itself; Run says whether the numbers are right.
func Invariant(t *testing.T, make func(t *testing.T) kernels.Backend) {
	seed := pickSeed()
	for i, g := range miniatures {
		t.Run(g.name, func(t *testing.T) {
			b := make(t)
			if err := invariant(b, g, seed+uint64(i)); err != nil {
				t.Errorf("%s: %v (RADISH_SEED=%d)", b.Name(), err, seed)
			}
			if err := b.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// miniature is the shape of a two-layer model.
type miniature struct {
	name                   string
	heads                  kernels.Heads
	hidden, inner, vocab   int
	pageSize, window, rows int // rows: length of the sequence that is watched
}

var miniatures = []miniature{
	{"small", kernels.Heads{Q: 4, KV: 2, Dim: 16}, 40, 56, 33, 4, 0, 37},
	{"window", kernels.Heads{Q: 4, KV: 1, Dim: 32}, 72, 104, 101, 16, 19, 75},
	{"wide", kernels.Heads{Q: 8, KV: 2, Dim: 64}, 264, 520, 515, 16, 0, 150},
	{"long", kernels.Heads{Q: 2, KV: 2, Dim: 80}, 64, 64, 17, 64, 0, 400},
}

// forward is the miniature on one backend.
type forward struct {
	miniature
	b                    kernels.Backend
	kv                   kernels.KV
	table, head          kernels.Weight
	qkv, o, gateUp, down [2]kernels.Weight
	norm, inv            kernels.Tensor
	free                 []int32
}

// newForward packs random weights.
func newForward(b kernels.Backend, g miniature, rng *rand.Rand) *forward {
	f := &forward{miniature: g, b: b}
	pack := func(out, in int) kernels.Weight {
		v := make([]float32, out*in)
		for i := range v {
			v[i] = float32(rng.NormFloat64() / math.Sqrt(float64(in)))
		}
		w, err := b.Pack(matrix(out, in, kernels.F32, v))
		no(err)
		return w
	}
	h := g.heads
	f.table, f.head = pack(g.vocab, g.hidden), pack(g.vocab, g.hidden)
	for l := range 2 {
		f.qkv[l], f.o[l] = pack((h.Q+2*h.KV)*h.Dim, g.hidden), pack(g.hidden, h.Q*h.Dim)
		f.gateUp[l], f.down[l] = pack(2*g.inner, g.hidden), pack(g.hidden, g.inner)
	}
	f.norm, f.inv = f.tensor(kernels.F32, 1, g.hidden), f.tensor(kernels.F32, 1, h.Dim/2)
	ones, freq := make([]float32, g.hidden), make([]float32, h.Dim/2)
	for i := range ones {
		ones[i] = 0.5 + rng.Float32()
	}
	for j := range freq {
		freq[j] = float32(math.Pow(10000, -float64(2*j)/float64(h.Dim)))
	}
	b.Upload(f.norm, ones)
	b.Upload(f.inv, freq)
	pages := 8*(g.rows/g.pageSize+2) + 64
	var err error
	f.kv, err = b.NewKV(kernels.KVShape{Layers: 2, Pages: pages, PageSize: g.pageSize, KVHeads: h.KV, HeadDim: h.Dim, DType: b.Act()})
	no(err)
	for _, p := range rng.Perm(pages) {
		f.free = append(f.free, int32(p))
	}
	return f
}

func (f *forward) tensor(d kernels.DType, rows, cols int) kernels.Tensor {
	buf, err := f.b.Alloc(d, rows*cols)
	no(err)
	return kernels.Whole(buf, rows, cols)
}

// run computes one step and returns the logits of all rows.
func (f *forward) run(l *kernels.Ragged, tokens []int32) []float32 {
	b, h, n, act := f.b, f.heads, len(tokens), f.b.Act()
	f32 := func(cols int) kernels.Tensor { return f.tensor(kernels.F32, n, cols) }
	none := kernels.Tensor{}
	ids := f.tensor(kernels.I32, 1, n)
	x, delta, in := f32(f.hidden), f32(f.hidden), f.tensor(act, n, f.hidden)
	cos, sin := f32(h.Dim/2), f32(h.Dim/2)
	qkv, q, att := f32((h.Q+2*h.KV)*h.Dim), f32(h.Q*h.Dim), f.tensor(act, n, h.Q*h.Dim)
	gateUp, mid, logits := f32(2*f.inner), f.tensor(act, n, f.inner), f32(f.vocab)
	b.Upload(ids, tokens)
	b.Begin(l)
	b.Rotary(cos, sin, f.inv, 1)
	b.Embed(x, f.table, ids)
	add := none
	for layer := range 2 {
		b.RMSNorm(in, x, add, f.norm, 1e-6)
		b.Linear(qkv, in, f.qkv[layer], none)
		b.RopeAppend(q, qkv, f.kv, kernels.Rope{Heads: h, Cos: cos, Sin: sin, Layer: layer})
		b.Attention(att, q, f.kv, kernels.Attn{Heads: h, Scale: float32(1 / math.Sqrt(float64(h.Dim))), Window: f.window, Layer: layer})
		b.Linear(delta, att, f.o[layer], none)
		b.RMSNorm(in, x, delta, f.norm, 1e-6)
		b.Linear(gateUp, in, f.gateUp[layer], none)
		b.SwiGLU(mid, gateUp)
		b.Linear(delta, mid, f.down[layer], none)
		add = delta
	}
	b.RMSNorm(in, x, add, f.norm, 1e-6)
	b.Linear(logits, in, f.head, none)
	out := make([]float32, n*f.vocab)
	no(b.Download(out, logits))
	return out
}

// line is one sequence of the miniature: its tokens, what is stored of it and where.
type line struct {
	tokens []int32
	pages  []int32
	n      int
}

// advance computes the next rows of each line in one step, in the order given, and returns each line's logits.
func (f *forward) advance(lines []*line, rows []int) [][]float32 {
	l := &kernels.Ragged{RowStart: []int32{0}, PageStart: []int32{0}}
	var tokens []int32
	for i, s := range lines {
		for len(s.pages)*f.pageSize < s.n+rows[i] {
			s.pages, f.free = append(s.pages, f.free[0]), f.free[1:]
		}
		l.Start = append(l.Start, int32(s.n))
		tokens = append(tokens, s.tokens[s.n:s.n+rows[i]]...)
		l.RowStart = append(l.RowStart, int32(len(tokens)))
		l.Pages = append(l.Pages, s.pages[:(s.n+rows[i]+f.pageSize-1)/f.pageSize]...)
		l.PageStart = append(l.PageStart, int32(len(l.Pages)))
		s.n += rows[i]
	}
	all := f.run(l, tokens)
	var out [][]float32
	for i := range lines {
		out = append(out, all[int(l.RowStart[i])*f.vocab:int(l.RowStart[i+1])*f.vocab])
	}
	return out
}

// drop returns a line's pages.
func (f *forward) drop(s *line) { f.free = append(f.free, s.pages...) }

// invariant runs one miniature in every way and compares with the run alone.
func invariant(b kernels.Backend, g miniature, seed uint64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			f, ok := p.(failure)
			if !ok {
				panic(p)
			}
			err = f.err
		}
	}()
	rng := rand.New(rand.NewPCG(seed, 2))
	f := newForward(b, g, rng)
	tokens := f.text(rng, g.rows)
	alone := &line{tokens: tokens}
	want := f.advance([]*line{alone}, []int{g.rows})[0]
	for _, w := range ways {
		if err := f.equal(w.run(f, rng, tokens), want); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	for _, keep := range []int{g.rows / 2, g.rows/2 + 1, g.rows - 1} {
		if err := f.equal(f.forked(alone, keep), want[keep*f.vocab:]); err != nil {
			return fmt.Errorf("continued from a copy of %d positions: %w", keep, err)
		}
	}
	return nil
}

func (f *forward) text(rng *rand.Rand, n int) []int32 {
	t := make([]int32, n)
	for i := range t {
		t[i] = rng.Int32N(int32(f.vocab))
	}
	return t
}

// equal compares bits.
func (f *forward) equal(got, want []float32) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d logits, want %d", len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			return fmt.Errorf("row %d, logit %d is %v, alone it was %v", i/f.vocab, i%f.vocab, got[i], want[i])
		}
	}
	return nil
}

// ways to compute the same sequence.
var ways = []struct {
	name string
	run  func(f *forward, rng *rand.Rand, tokens []int32) []float32
}{
	{"alone again, on other pages", func(f *forward, rng *rand.Rand, tokens []int32) []float32 {
		return f.chunks(tokens, func(int) int { return len(tokens) })
	}},
	{"in odd chunks", func(f *forward, rng *rand.Rand, tokens []int32) []float32 {
		return f.chunks(tokens, func(int) int { return 1 + rng.IntN(23) })
	}},
	{"row by row at the end", func(f *forward, rng *rand.Rand, tokens []int32) []float32 {
		return f.chunks(tokens, func(at int) int { return max(1, len(tokens)-20-at) })
	}},
	{"among others", (*forward).crowd},
}

// chunks computes the sequence alone, in chunks of the given sizes.
func (f *forward) chunks(tokens []int32, size func(at int) int) (out []float32) {
	s := &line{tokens: tokens}
	defer f.drop(s)
	for s.n < len(tokens) {
		out = append(out, f.advance([]*line{s}, []int{min(size(s.n), len(tokens)-s.n)})[0]...)
	}
	return out
}

// crowd computes the sequence in chunks in steps shared with up to six others, at a random place among them.
func (f *forward) crowd(rng *rand.Rand, tokens []int32) (out []float32) {
	s := &line{tokens: tokens}
	defer f.drop(s)
	for s.n < len(tokens) {
		lines, rows := []*line{s}, []int{min(1+rng.IntN(40), len(tokens)-s.n)}
		for range rng.IntN(7) {
			n := 1 + rng.IntN(30)
			lines, rows = append(lines, &line{tokens: f.text(rng, n)}), append(rows, n)
		}
		mine := rng.IntN(len(lines))
		lines[0], lines[mine] = lines[mine], lines[0]
		rows[0], rows[mine] = rows[mine], rows[0]
		out = append(out, f.advance(lines, rows)[mine]...)
		for _, l := range lines {
			if l != s {
				f.drop(l)
			}
		}
	}
	return out
}

// forked continues after keep positions of a finished line: whole pages shared, the partial one copied.
func (f *forward) forked(from *line, keep int) []float32 {
	whole, rest := keep/f.pageSize, keep%f.pageSize
	s := &line{tokens: from.tokens, n: keep, pages: append([]int32(nil), from.pages[:whole]...)}
	if rest > 0 {
		s.pages, f.free = append(s.pages, f.free[0]), f.free[1:]
		f.b.CopyPages(f.kv, []kernels.PageCopy{{Src: from.pages[whole], Dst: s.pages[whole], Tokens: int32(rest)}})
	}
	out := f.advance([]*line{s}, []int{len(s.tokens) - keep})[0]
	f.free = append(f.free, s.pages[whole:]...)
	return out
}
