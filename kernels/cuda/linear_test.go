package cuda

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// walk repeats what a thread block of gemm_hopper.cu does (Share): its segments, as tile, first and last+1 unit.
func walk(t tiling, block int, visit func(tile, from, to int)) {
	share, rest := t.split*t.depth/t.blocks, t.split*t.depth%t.blocks
	for u, end := block*share+min(block, rest), (block+1)*share+min(block+1, rest); u < end; {
		from := u % t.depth
		to := min(t.depth, from+end-u)
		visit(u/t.depth, from, to)
		u += to - from
	}
	for w := t.split + block; w < t.features*t.tokens; w += t.blocks {
		visit(w, 0, t.depth)
	}
}

// TestTiling: whatever the shape, the blocks' shares cover every unit of every tile once, nearly evenly, and a tile's
// parts come from neighbouring blocks, of which none has three parts: what the kernel's places for parts rely on.
func TestTiling(t *testing.T) {
	for _, sms := range []int{1, 78, 108, 114, 132} {
		for _, out := range []int{1, 100, 128, 257, 4096, 6144, 28672, 128256} {
			for _, in := range []int{8, 64, 136, 4096, 14336} {
				for _, rows := range []int{1, 9, 100, 128, 129, 300, 1000, 8192} {
					for _, f := range []family{wgmma, mma} {
						if err := covers(divide(f, rows, &weight{out: out, in: in}, sms)); err != nil {
							t.Fatalf("%+v: %d rows by %dx%d on %d: %v", f, rows, out, in, sms, err)
						}
					}
				}
			}
		}
	}
}

func covers(p tiling) error {
	done, parts := make([]int, p.features*p.tokens), map[[2]int]bool{}
	least, most := math.MaxInt, 0
	for block := range p.blocks {
		n, first := 0, -1
		var err error
		walk(p, block, func(tile, from, to int) {
			if first < 0 {
				first = tile
			}
			if done[tile] != from {
				err = fmt.Errorf("tile %d: block %d goes on at %d, not at %d", tile, block, from, done[tile])
			}
			if done[tile] = to; to-from < p.depth {
				at := [2]int{block, 0}
				if tile != first {
					at[1] = 1
				}
				if parts[at] {
					err = fmt.Errorf("block %d has no place for its part of tile %d", block, tile)
				}
				parts[at] = true
			}
			n += to - from
		})
		if err != nil {
			return err
		}
		least, most = min(least, n), max(most, n)
	}
	for tile, n := range done {
		if n != p.depth {
			return fmt.Errorf("tile %d: %d of %d units", tile, n, p.depth)
		}
	}
	if p.split == len(done) && most > least+1 {
		return fmt.Errorf("shares of %d to %d units", least, most)
	}
	return nil
}

// TestTilingIgnoresRows: up to 128 rows the cut is the weight's alone, which is what makes a row's sum independent of
// the rows beside it.
func TestTilingIgnoresRows(t *testing.T) {
	w := &weight{out: 6144, in: 4096}
	want := divide(wgmma, 1, w, 132)
	for rows := 1; rows <= widestNarrow; rows++ {
		got := divide(wgmma, rows, w, 132)
		got.box = want.box
		if got != want {
			t.Errorf("%d rows: %+v, 1 row: %+v", rows, got, want)
		}
	}
}

// lab is a backend with random operands of any size on the device.
type lab struct {
	*Backend
	t       testing.TB
	pattern [3]driver.Ptr // random bfloat16, float32, and bfloat16 for weights
}

const patternBytes = 16 << 20

func newLab(t testing.TB, o Options) *lab {
	if o.Gemm == "" {
		o.Gemm = "own"
	}
	l := &lab{Backend: open(t, o), t: t}
	t.Cleanup(func() { l.must(l.Close()) })
	rng := rand.New(rand.NewPCG(1, 2))
	half := func() uint32 { return uint32(kernels.F32ToBF16(float32(rng.NormFloat64()))) }
	for i := range l.pattern {
		words := make([]uint32, patternBytes/4)
		for j := range words {
			if words[j] = half() | half()<<16; i == 1 {
				words[j] = math.Float32bits(float32(rng.NormFloat64()))
			}
		}
		l.pattern[i] = l.take(patternBytes)
		upload(&l.list, l.pattern[i], words)
	}
	l.must(l.Run())
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) take(bytes int) driver.Ptr {
	p, err := l.mem.whole(int64(bytes)) // on its own, so that release can free it
	l.must(err)
	return p
}

// random is device memory full of normal numbers from a pattern; shift makes it differ from other such memory.
func (l *lab) random(from driver.Ptr, bytes, shift int) driver.Ptr {
	p := l.take(bytes)
	var ops []driver.Op
	for at, skip := 0, shift*8192%patternBytes; at < bytes; skip = 0 {
		m := min(bytes-at, patternBytes-skip)
		ops = append(ops, driver.Op{Kind: driver.OnDevice, Dst: uint64(p) + uint64(at), Src: uint64(from) + uint64(skip), Bytes: uint64(m)})
		at += m
	}
	l.must(l.stream.Exec(ops, nil))
	return p
}

func (l *lab) tensor(d kernels.DType, rows, cols, shift int) kernels.Tensor {
	from := l.pattern[0]
	if d == kernels.F32 {
		from = l.pattern[1]
	}
	return kernels.Whole(&buffer{l.random(from, rows*cols*d.Size(), shift), d, rows * cols}, rows, cols)
}

func (l *lab) weight(out, in, shift int) *weight {
	return &weight{at: l.random(l.pattern[2], 2*out*in, shift), out: out, in: in, dtype: kernels.BF16}
}

// get reads a whole tensor.
func (l *lab) get(t kernels.Tensor) []float32 {
	l.must(l.Run())
	b := t.Buf.(*buffer)
	raw, err := driver.HostAlloc(b.n * b.dtype.Size())
	l.must(err)
	defer func() { l.must(driver.HostFree(raw)) }()
	l.must(l.stream.Exec([]driver.Op{{Kind: driver.ToHost, Dst: address(raw), Src: uint64(b.at), Bytes: uint64(len(raw))}}, nil))
	l.must(l.stream.Wait())
	out := make([]float32, b.n)
	if b.dtype == kernels.F32 {
		copy(out, unsafe.Slice((*float32)(unsafe.Pointer(&raw[0])), b.n))
		return out
	}
	for i, h := range unsafe.Slice((*uint16)(unsafe.Pointer(&raw[0])), b.n) {
		out[i] = kernels.BF16ToF32(h)
	}
	return out
}

// near requires every element within most of the root mean square of want, plus rel of its own size.
func (l *lab) near(what string, got, want []float32, rel, most float64) {
	l.t.Helper()
	size := 0.0
	for _, v := range want {
		size += float64(v) * float64(v)
	}
	rms, wrong := math.Sqrt(size/float64(len(want))), 0
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= most*rms+rel*math.Abs(float64(want[i]))) {
			if wrong++; wrong == 1 {
				l.t.Errorf("%s: element %d is %v, want %v (root mean square %v)", what, i, got[i], want[i], rms)
			}
		}
	}
	if wrong > 0 {
		l.t.Errorf("%s: %d of %d elements are wrong", what, wrong, len(want))
	}
}

// TestLinearLarge: products of models' sizes agree with the plain kernel's, in every form and at the edges of every
// tile; a second run gives the same bits.
func TestLinearLarge(t *testing.T) { linearLarge(t, 0) }

// TestLinearLargeMMA: the kernels for other cards, on this one.
func TestLinearLargeMMA(t *testing.T) { linearLarge(t, mmaOnly) }

func linearLarge(t *testing.T, kind only) {
	for _, s := range []struct {
		out, in int
		rows    []int
	}{
		{1008, 896, []int{1, 7, 8, 9, 16, 17, 32, 33, 64, 65, 100, 128, 129, 200, 256, 257, 520, 1100, 2500}},
		{896, 4864, []int{1, 12, 30, 64, 127, 255, 700}},
		{6144, 4096, []int{1, 8, 16, 100, 256, 1100}},
		{4096, 14336, []int{1, 32, 64, 100, 300}},
	} {
		t.Run(fmt.Sprintf("%dx%d", s.out, s.in), func(t *testing.T) {
			l := newLab(t, Options{Act: kernels.BF16})
			l.gemm.only = kind
			w, bias := l.weight(s.out, s.in, 3), l.tensor(kernels.F32, 1, s.out, 5)
			for _, rows := range s.rows {
				l.compareForms(w, bias, rows)
			}
		})
	}
}

func (l *lab) compareForms(w *weight, bias kernels.Tensor, rows int) {
	x := l.tensor(kernels.BF16, rows, w.in, rows)
	want, sum := l.tensor(kernels.F32, rows, w.out, 1), l.tensor(kernels.F32, rows, w.out, 1)
	got, again := l.tensor(kernels.F32, rows, w.out, 2), l.tensor(kernels.F32, rows, w.out, 4)
	wantAct, gotAct := l.tensor(kernels.BF16, rows, w.out/2, 2), l.tensor(kernels.BF16, rows, w.out/2, 3)
	before := l.get(sum)
	kind := l.gemm.only
	l.gemm.only = plainOnly
	l.Linear(want, x, w, bias)
	l.SwiGLU(wantAct, want)
	l.gemm.only = kind
	l.Linear(got, x, w, bias)
	l.Linear(again, x, w, bias)
	if fused := l.LinearAdd(sum, x, w, bias); !fused && l.gemm.lib == nil {
		l.t.Errorf("%dx%d by %d rows: no fused addition", w.out, w.in, rows)
	} else if !fused {
		sum = kernels.Tensor{}
	}
	if fused := l.LinearSwiGLU(gotAct, x, w, bias); !fused && l.gemm.lib == nil {
		l.t.Errorf("%dx%d by %d rows: no fused activation", w.out, w.in, rows)
	} else if !fused {
		l.SwiGLU(gotAct, got)
	}
	what := fmt.Sprintf("%d rows by %dx%d", rows, w.out, w.in)
	// Tensor cores cut off what a sum cannot hold where others round: each of the additions, 16 terms at a time, may lose
	// 2^-24 of the sum, always in one direction. A missing term would be worth 1e-2 of the root mean square.
	cut := float64(w.in) / 16 * 0x1p-24
	wanted, first := l.get(want), l.get(got)
	l.near(what, first, wanted, cut, 2e-5+cut)
	for i, v := range l.get(again) {
		if math.Float32bits(v) != math.Float32bits(first[i]) {
			l.t.Errorf("%s: element %d is %v, then %v", what, i, first[i], v)
			break
		}
	}
	if !sum.Absent() {
		for i := range wanted {
			wanted[i] += before[i]
		}
		l.near(what+", added", l.get(sum), wanted, cut, 2e-5+cut)
		l.release(sum)
	}
	l.near(what+", swiglu", l.get(gotAct), l.get(wantAct), 1.0/128, 1e-4) // neighbouring bfloat16
	for _, b := range []kernels.Tensor{x, want, got, again, wantAct, gotAct} {
		l.release(b)
	}
}

// release frees a tensor's memory before the backend's end.
func (l *lab) release(t kernels.Tensor) {
	at := t.Buf.(*buffer).at
	for i, p := range l.mem.owned {
		if p == at {
			l.mem.owned = append(l.mem.owned[:i], l.mem.owned[i+1:]...)
			l.must(driver.Free(p))
			return
		}
	}
}

// TestLinearRowsAlone: up to 128 rows a row's sums are the same bits whatever rows share the product; in the invariant
// mode at any number.
func TestLinearRowsAlone(t *testing.T) {
	for _, invariant := range []bool{false, true} {
		l := newLab(t, Options{Act: kernels.BF16, Invariant: invariant})
		w, most := l.weight(1536, 4096, 3), 128
		if invariant {
			most = 400
		}
		x, dst := l.tensor(kernels.BF16, most, w.in, 7), l.tensor(kernels.F32, most, w.out, 1)
		l.Linear(dst, x, w, kernels.Tensor{})
		all := l.get(dst)
		for _, rows := range []int{1, 5, 16, 31, 64, 100, 300} {
			if rows > most {
				continue
			}
			part := l.tensor(kernels.F32, rows, w.out, 2)
			l.Linear(part, x.RowsFrom(most-rows, rows), w, kernels.Tensor{})
			for i, v := range l.get(part) {
				if v != all[(most-rows)*w.out+i] {
					t.Errorf("invariant %v, %d of %d rows: element %d is %v, among others %v", invariant, rows, most, i, v, all[(most-rows)*w.out+i])
					break
				}
			}
		}
	}
}

// TestTuning: with cuBLASLt at hand products stay right whoever does them, what tuning chose is kept in the file, and the
// next start takes it from there.
func TestTuning(t *testing.T) {
	gpu(t)
	path := filepath.Join(t.TempDir(), "tuning.json")
	var first map[string]int
	for start := range 2 {
		l := newLab(t, Options{Act: kernels.BF16, Gemm: "auto", Tuning: path})
		if l.gemm.lib == nil {
			t.Log("cuBLASLt is not installed: only that is tested")
			if l.gemm.name() != "own" {
				t.Errorf("without cuBLASLt the name says %s", l.gemm.name())
			}
			return
		}
		w, bias := l.weight(6144, 4096, 3), l.tensor(kernels.F32, 1, 6144, 5)
		l.gemm.packed(w)
		began := time.Now()
		for _, rows := range []int{1, 100, 1100} {
			l.compareForms(w, bias, rows)
			l.compareForms(w, kernels.Tensor{}, rows)
		}
		t.Logf("%s, start %d: %v, choices %v", l.Name(), start, time.Since(began), l.gemm.lib.tuned.Choice)
		if len(l.gemm.lib.tuned.Choice) == 0 {
			t.Error("nothing was tuned")
		}
		if start == 0 {
			first = l.gemm.lib.tuned.Choice
		} else if !maps.Equal(first, l.gemm.lib.tuned.Choice) {
			t.Errorf("the second start chose %v", l.gemm.lib.tuned.Choice)
		}
	}
}

// TestTuningFile: what is read is what was written, and a file about another card or code, or a broken one, is ignored.
func TestTuningFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "tuning.json")
	lt := &driver.Lt{Version: 130100}
	w := readTuned(path, Card{Name: "A", Driver: 13000}, lt)
	w.Choice["1x1 assign 8"] = 3
	if err := w.save(); err != nil {
		t.Fatal(err)
	}
	if r := readTuned(path, Card{Name: "A", Driver: 13000}, lt); !maps.Equal(r.Choice, w.Choice) {
		t.Errorf("read %v, wrote %v", r.Choice, w.Choice)
	}
	if r := readTuned(path, Card{Name: "B", Driver: 13000}, lt); len(r.Choice) != 0 {
		t.Errorf("another card reads %v", r.Choice)
	}
	if err := os.WriteFile(path, []byte(`{"key": "A", "choi`), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := readTuned(path, Card{Name: "A", Driver: 13000}, lt); len(r.Choice) != 0 || r.Choice == nil {
		t.Errorf("a broken file reads as %v", r.Choice)
	}
}
