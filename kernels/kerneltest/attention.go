package kerneltest

import (
	"fmt"
	"math"

	"radish/kernels"
)

// begin sets the layout in both backends and then scribbles over it, for the backend must have copied it.
func (r *rig) begin(b kernels.Backend, l *kernels.Ragged) {
	clone := func(s []int32) []int32 { return append([]int32(nil), s...) }
	c := kernels.Ragged{RowStart: clone(l.RowStart), Start: clone(l.Start), PageStart: clone(l.PageStart), Pages: clone(l.Pages)}
	b.Begin(&c)
	for _, s := range [][]int32{c.RowStart, c.Start, c.PageStart, c.Pages} {
		for i := range s {
			s[i] = 1 << 20
		}
	}
}

// checkRotary covers positions up to 131,071, where argument reduction and the rounding of the angle matter.
func checkRotary(r *rig) error {
	starts := []int32{0, 1, 63, 1000, 4095, 32767, 65535, 100003, 131071 - 20}
	for _, dim := range []int{32, 64, 80, 96, 128} {
		freq := make([]float32, dim/2)
		theta := []float64{10000, 500000, 1e6}[r.rng.IntN(3)]
		for j := range freq {
			freq[j] = float32(math.Pow(theta, -float64(2*j)/float64(dim)))
		}
		l := kernels.Ragged{RowStart: []int32{0}, PageStart: []int32{0}}
		for i, s := range starts {
			l.Start = append(l.Start, s)
			l.RowStart = append(l.RowStart, l.RowStart[i]+1+r.rng.Int32N(20))
			for range (s + 20 + 64) / 64 {
				l.Pages = append(l.Pages, 0)
			}
			l.PageStart = append(l.PageStart, int32(len(l.Pages)))
		}
		scale := []float32{1, 1.25}[r.rng.IntN(2)]
		near := tolerance{norm: 1e-6, elem: 2e-6} // cos and sin are about 1; 2^-24 each, and a fused multiply less
		cos, sin := r.dst("cos", kernels.F32, l.NumRows(), dim/2, near), r.dst("sin", kernels.F32, l.NumRows(), dim/2, near)
		inv := r.put("invFreq", kernels.F32, 1, dim/2, freq)
		r.do(fmt.Sprintf("rotary of %d, theta %g", dim, theta), func(b kernels.Backend, t side) {
			r.begin(b, &l)
			b.Rotary(t(cos), t(sin), t(inv), scale)
		})
	}
	return nil
}

// world is a paged memory in both backends and the sequences that live in it.
type world struct {
	*rig
	heads     kernels.Heads
	shape     kernels.KVShape
	got, want kernels.KV
	free      []int32
	seqs      []sequence
	norms     bool
	window    int
}

// sequence is its page table and how many positions are stored.
type sequence struct {
	pages []int32
	n     int32
}

// newWorld reserves pages and shuffles them.
func (r *rig) newWorld(h kernels.Heads, pageSize, pages int) *world {
	w := &world{rig: r, heads: h}
	w.shape = kernels.KVShape{Layers: 2, Pages: pages, PageSize: pageSize, KVHeads: h.KV, HeadDim: h.Dim, DType: r.got.Act()}
	var err error
	w.got, err = r.got.NewKV(w.shape)
	no(err)
	w.want, err = r.want.NewKV(w.shape)
	no(err)
	if w.got.PageSize() != pageSize || w.got.Bytes() <= 0 {
		no(fmt.Errorf("kv says pages of %d, %d bytes", w.got.PageSize(), w.got.Bytes()))
	}
	for _, p := range r.rng.Perm(pages) {
		w.free = append(w.free, int32(p))
	}
	return w
}

// kv is the memory of the backend at hand.
func (w *world) kv(b kernels.Backend) kernels.KV {
	if b == w.rig.want {
		return w.want
	}
	return w.got
}

// layout grows some sequences by some rows each and returns the step.
func (w *world) layout(grow map[int]int32) *kernels.Ragged {
	l := &kernels.Ragged{RowStart: []int32{0}, PageStart: []int32{0}}
	for _, i := range w.rng.Perm(len(w.seqs)) {
		s, n := &w.seqs[i], grow[i]
		if n == 0 {
			continue
		}
		for int32(len(s.pages)*w.shape.PageSize) < s.n+n {
			s.pages, w.free = append(s.pages, w.free[0]), w.free[1:]
		}
		l.Start = append(l.Start, s.n)
		l.RowStart = append(l.RowStart, l.RowStart[len(l.RowStart)-1]+n)
		l.Pages = append(l.Pages, s.pages...)
		l.PageStart = append(l.PageStart, int32(len(l.Pages)))
		s.n += n
	}
	return l
}

// step runs one ragged step through RopeAppend and Attention in both backends, on one layer.
func (w *world) step(what string, layer int, l *kernels.Ragged) {
	h, n := w.heads, l.NumRows()
	qkv := w.in("qkv", kernels.F32, n, (h.Q+2*h.KV)*h.Dim, 1)
	q := w.dst("q", kernels.F32, n, h.Q*h.Dim, oneOp)
	freq := make([]float32, h.Dim/2)
	for j := range freq {
		freq[j] = float32(math.Pow(10000, -float64(2*j)/float64(h.Dim)))
	}
	// The tables are inputs here, made by formula, so that Rotary's tolerance does not add to this one.
	cosv, sinv := w.angles(l, freq)
	cos, sin := w.put("cos", kernels.F32, n, h.Dim/2, cosv), w.put("sin", kernels.F32, n, h.Dim/2, sinv)
	var qn, kn *mem
	if w.norms {
		qn, kn = w.in("qnorm", kernels.F32, 1, h.Dim, 1), w.in("knorm", kernels.F32, 1, h.Dim, 1)
	}
	w.do(what+": rope", func(b kernels.Backend, t side) {
		w.begin(b, l)
		b.RopeAppend(t(q), t(qkv), w.kv(b), kernels.Rope{Heads: h, QNorm: t(qn), KNorm: t(kn), Eps: 1e-6, Cos: t(cos), Sin: t(sin), Layer: layer})
	})
	tol := softmaxed
	if w.rig.got.Act() == kernels.BF16 {
		tol = attentionBF16.of(h.Q)
	}
	// Fresh queries: the rotated ones stay inside each backend, and these are larger, for sharper softmax.
	query := w.in("query", kernels.F32, n, h.Q*h.Dim, 1.5)
	dst := w.dst("dst", w.rig.got.Act(), n, h.Q*h.Dim, tol)
	scale := float32(1 / math.Sqrt(float64(h.Dim)))
	w.do(what+": attention", func(b kernels.Backend, t side) {
		b.Attention(t(dst), t(query), w.kv(b), kernels.Attn{Heads: h, Scale: scale, Window: w.window, Layer: layer})
	})
	// With a window of one position the softmax is 1 and the result is that position's value, rounded as stored: this
	// pins down where every value went.
	self := w.dst("self", w.rig.got.Act(), n, h.Q*h.Dim, exact)
	w.do(what+": attention to itself", func(b kernels.Backend, t side) {
		b.Attention(t(self), t(query), w.kv(b), kernels.Attn{Heads: h, Scale: scale, Window: 1, Layer: layer})
	})
}

// angles are cos and sin of each row's position.
func (w *world) angles(l *kernels.Ragged, freq []float32) (cos, sin []float32) {
	for s := range l.Seqs() {
		for i := range l.RowStart[s+1] - l.RowStart[s] {
			for _, f := range freq {
				a := float64(l.Start[s]+i) * float64(f)
				cos, sin = append(cos, float32(math.Cos(a))), append(sin, float32(math.Sin(a)))
			}
		}
	}
	return cos, sin
}

// geometries are query and key-value heads with ratios 1, 2, 4 and 8, and the dimensions that models have.
var geometries = []kernels.Heads{
	{Q: 1, KV: 1, Dim: 32}, {Q: 3, KV: 3, Dim: 64}, {Q: 4, KV: 1, Dim: 80}, {Q: 8, KV: 2, Dim: 64}, {Q: 8, KV: 1, Dim: 96},
	{Q: 8, KV: 1, Dim: 128}, {Q: 4, KV: 2, Dim: 128}, {Q: 6, KV: 3, Dim: 40},
}

// checkAttention grows sequences by prefill chunks and single rows, mixed in one step, over shuffled pages.
func checkAttention(r *rig) error {
	for i, h := range geometries {
		for j, size := range []int{1, 4, 16, 64} {
			if (i+j)%2 == 1 {
				continue // every other pair, to keep the oracle's time down; each value meets several of the other
			}
			w := r.newWorld(h, size, 700/size+8)
			w.norms, w.window = (i+j/2)%2 == 0, []int{0, 17, 0, 5}[(i/2+j)%4]
			w.seqs = make([]sequence, 5)
			what := fmt.Sprintf("heads %+v, pages of %d, window %d, norms %v", h, size, w.window, w.norms)
			for step := range 3 {
				grow := map[int]int32{step % 5: 1 + r.rng.Int32N(50)}
				for s := range w.seqs {
					if grow[s] == 0 && r.rng.IntN(4) > 0 {
						grow[s] = []int32{1, 1, 2, 7, 17}[r.rng.IntN(5)]
					}
				}
				w.step(fmt.Sprintf("%s, step %d", what, step), step%2, w.layout(grow))
			}
		}
	}
	// One long sequence, prefilled in two chunks and then by single rows: block borders of any kernel lie inside.
	for _, window := range []int{0, 300} {
		w := r.newWorld(kernels.Heads{Q: 4, KV: 1, Dim: 64}, 16, 80)
		w.window, w.seqs = window, make([]sequence, 2)
		for _, n := range []int32{517, 200, 1, 1} {
			w.step(fmt.Sprintf("long sequence, window %d, %d rows", window, n), 0, w.layout(map[int]int32{0: n, 1: 1}))
		}
	}
	return nil
}

// checkCopyPages forks a sequence: whole pages shared, the partial last one copied, then both go their own way.
func checkCopyPages(r *rig) error {
	for _, size := range []int{1, 4, 16, 64} {
		w := r.newWorld(kernels.Heads{Q: 4, KV: 2, Dim: 48}, size, 300/size+8)
		w.seqs = make([]sequence, 2)
		for layer := range 2 {
			w.seqs[0].n = 0
			w.step("prefix", layer, w.layout(map[int]int32{0: 61}))
		}
		for keep := range min(size, 3) {
			at := int32(size*(40/size)) + int32(keep)
			fork := sequence{n: at, pages: append([]int32(nil), w.seqs[0].pages[:at/int32(size)]...)}
			if keep > 0 {
				src, dst := w.seqs[0].pages[at/int32(size)], w.free[0]
				w.free = w.free[1:]
				fork.pages = append(fork.pages, dst)
				w.do("copy", func(b kernels.Backend, t side) {
					b.CopyPages(w.kv(b), []kernels.PageCopy{{Src: src, Dst: dst, Tokens: int32(keep)}})
				})
			}
			w.seqs[1] = fork
			for layer := range 2 {
				w.seqs[1].n = at
				w.step(fmt.Sprintf("fork at %d, pages of %d, layer %d", at, size, layer), layer, w.layout(map[int]int32{1: 9}))
			}
			w.step("the original after the fork", keep%2, w.layout(map[int]int32{0: 1}))
		}
	}
	return nil
}
