package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// line is one sequence of a scene: positions stored before, new rows, and how many of its first positions it shares with
// the other lines of the same group (group 0: with none).
type line struct{ past, rows, group, shared int }

// scene is a step over random keys, values and queries, on shuffled pages.
type scene struct {
	b      *Backend
	k      *kv
	h      kernels.Heads
	window int
	lines  []line
	ragged kernels.Ragged
	q, dst kernels.Tensor
}

// newScene fills the memory of some layers.
func newScene(t testing.TB, b *Backend, h kernels.Heads, layers, size int, lines []line) *scene {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, uint64(len(lines))))
	s := &scene{b: b, h: h, lines: lines, ragged: kernels.Ragged{RowStart: []int32{0}, PageStart: []int32{0}}}
	pages := 0
	for _, l := range lines {
		pages += over(l.past+l.rows, size)
	}
	free, shared := rng.Perm(pages), map[int][]int32{}
	for _, l := range lines {
		need, table := over(l.past+l.rows, size), []int32(nil)
		if l.group > 0 && shared[l.group] != nil {
			table = append(table, shared[l.group][:l.shared/size]...)
		}
		for len(table) < need {
			table, free = append(table, int32(free[0])), free[1:]
		}
		if l.group > 0 && shared[l.group] == nil {
			shared[l.group] = table
		}
		s.ragged.Pages = append(s.ragged.Pages, table...)
		s.ragged.Start = append(s.ragged.Start, int32(l.past))
		s.ragged.RowStart = append(s.ragged.RowStart, s.ragged.RowStart[len(s.ragged.RowStart)-1]+int32(l.rows))
		s.ragged.PageStart = append(s.ragged.PageStart, int32(len(s.ragged.Pages)))
	}
	mem, err := b.NewKV(kernels.KVShape{Layers: layers, Pages: pages, PageSize: size, KVHeads: h.KV, HeadDim: h.Dim, DType: kernels.BF16})
	if err != nil {
		t.Fatal(err)
	}
	s.k = mem.(*kv)
	noise(t, b, s.k.at, s.k.Bytes(), rng, func(x float32) []byte {
		v := kernels.F32ToBF16(x)
		return []byte{byte(v), byte(v >> 8)}
	})
	n := s.ragged.NumRows()
	s.q, s.dst = s.tensor(t, kernels.F32, n), s.tensor(t, kernels.BF16, n)
	noise(t, b, s.q.Buf.(*buffer).at, 4*int64(n*h.Q*h.Dim), rng, func(x float32) []byte {
		v := math.Float32bits(1.5 * x)
		return []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}
	})
	return s
}

func (s *scene) tensor(t testing.TB, d kernels.DType, rows int) kernels.Tensor {
	t.Helper()
	buf, err := s.b.Alloc(d, rows*s.h.Q*s.h.Dim)
	if err != nil {
		t.Fatal(err)
	}
	return kernels.Whole(buf, rows, s.h.Q*s.h.Dim)
}

// noise fills device memory with normal numbers: some random ones, copied to odd places over and over.
func noise(t testing.TB, b *Backend, at driver.Ptr, bytes int64, rng *rand.Rand, put func(x float32) []byte) {
	t.Helper()
	const most = 1 << 19
	seed := make([]byte, 0, most)
	for int64(len(seed)) < min(bytes, most) {
		seed = append(seed, put(float32(rng.NormFloat64()))...)
	}
	upload(&b.list, at, seed[:min(int64(len(seed)), bytes)])
	for have := int64(len(seed)); have < bytes; {
		n := min(have-have%4-4*int64(rng.IntN(999)+1), bytes-have)
		b.list.body = append(b.list.body, driver.Op{Kind: driver.OnDevice, Dst: uint64(at) + uint64(have), Src: uint64(at), Bytes: uint64(n)})
		b.list.plain = true
		have += n
	}
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
}

func (s *scene) attn(layer int) kernels.Attn {
	return kernels.Attn{Heads: s.h, Scale: float32(1 / math.Sqrt(float64(s.h.Dim))), Window: s.window, Layer: layer}
}

// result is what Attention, or the plain kernel, makes of the last layer.
func (s *scene) result(t testing.TB, plain bool) []float32 {
	t.Helper()
	s.b.Begin(&s.ragged)
	a := s.attn(s.k.shape.Layers - 1)
	if plain {
		n := s.ragged.NumRows()
		d, q := see("dst", s.dst, n, s.h.Q*s.h.Dim, kernels.BF16), see("q", s.q, n, s.h.Q*s.h.Dim, kernels.F32)
		s.b.attendPlainly(d, q, s.k, a, int32(s.window))
	} else {
		s.b.Attention(s.dst, s.q, s.k, a)
	}
	got := make([]float32, s.dst.Rows*s.dst.Cols)
	if err := s.b.Download(got, kernels.Whole(s.dst.Buf, 1, len(got))); err != nil {
		t.Fatal(err)
	}
	return got
}

// differs compares a result with the plain kernel's, row by row, as kerneltest does (attentionBF16 there): queries and
// weights may have been rounded to bfloat16.
func differs(got, want []float32, cols int) error {
	const norm, elem = 8e-3, 3e-2
	for at := 0; at < len(got); at += cols {
		diff, size := 0.0, 0.0
		for i := at; i < at+cols; i++ {
			d := float64(got[i]) - float64(want[i])
			diff, size = diff+d*d, size+float64(want[i])*float64(want[i])
		}
		rms := math.Sqrt(size / float64(cols))
		for i := at; i < at+cols; i++ {
			if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= elem*(math.Abs(float64(want[i]))+rms)) {
				return fmt.Errorf("row %d, column %d is %v, want %v (rms of the row %v)", at/cols, i-at, got[i], want[i], rms)
			}
		}
		if !(math.Sqrt(diff) <= norm*math.Sqrt(size)) {
			return fmt.Errorf("row %d: relative error %.3g", at/cols, math.Sqrt(diff/size))
		}
	}
	return nil
}

func repeated(n int, l line) (out []line) {
	for range n {
		out = append(out, l)
	}
	return out
}

// scenes are shapes that kerneltest's oracle is too slow for.
var scenes = []struct {
	h            kernels.Heads
	size, window int
	lines        []line
}{
	{kernels.Heads{Q: 32, KV: 8, Dim: 128}, 16, 0, []line{{0, 1, 0, 0}, {1, 1, 0, 0}, {255, 1, 0, 0}, {256, 1, 0, 0}, {1000, 1, 0, 0}, {4095, 1, 0, 0}, {4096, 1, 0, 0}, {8999, 1, 0, 0}, {8191, 4, 0, 0}}},
	{kernels.Heads{Q: 32, KV: 8, Dim: 128}, 16, 0, []line{{0, 1000, 0, 0}}},
	{kernels.Heads{Q: 32, KV: 8, Dim: 128}, 16, 0, []line{{7900, 100, 0, 0}, {511, 1, 0, 0}, {300, 333, 0, 0}, {0, 129, 0, 0}, {4090, 8, 0, 0}}},
	{kernels.Heads{Q: 32, KV: 8, Dim: 128}, 16, 1000, []line{{7900, 100, 0, 0}, {5110, 1, 0, 0}, {300, 1333, 0, 0}, {4090, 8, 0, 0}}},
	{kernels.Heads{Q: 8, KV: 8, Dim: 64}, 16, 0, []line{{3000, 1, 0, 0}, {0, 700, 0, 0}, {123, 3, 0, 0}, {100, 200, 0, 0}}},
	{kernels.Heads{Q: 14, KV: 2, Dim: 64}, 16, 0, []line{{3000, 1, 0, 0}, {0, 700, 0, 0}, {123, 3, 0, 0}, {100, 200, 0, 0}, {2000, 64, 0, 0}}},
	{kernels.Heads{Q: 16, KV: 8, Dim: 128}, 32, 0, []line{{3000, 1, 0, 0}, {0, 700, 0, 0}, {123, 3, 0, 0}, {100, 200, 0, 0}, {2000, 64, 0, 0}}},
	{kernels.Heads{Q: 16, KV: 2, Dim: 128}, 64, 64, []line{{3000, 1, 0, 0}, {0, 700, 0, 0}, {123, 3, 0, 0}, {100, 200, 0, 0}, {2000, 64, 0, 0}}},
	{kernels.Heads{Q: 16, KV: 1, Dim: 128}, 12, 0, []line{{3000, 1, 0, 0}, {0, 700, 0, 0}, {123, 3, 0, 0}, {100, 200, 0, 0}, {2000, 64, 0, 0}}},
	{kernels.Heads{Q: 8, KV: 1, Dim: 256}, 16, 0, []line{{3000, 1, 0, 0}, {0, 700, 0, 0}, {123, 3, 0, 0}, {100, 200, 0, 0}, {2000, 64, 0, 0}}},
	{kernels.Heads{Q: 32, KV: 32, Dim: 80}, 16, 0, []line{{3000, 1, 0, 0}, {0, 700, 0, 0}, {123, 3, 0, 0}, {100, 200, 0, 0}, {2000, 64, 0, 0}}},
	{kernels.Heads{Q: 12, KV: 4, Dim: 96}, 1, 300, []line{{3000, 1, 0, 0}, {0, 700, 0, 0}, {123, 3, 0, 0}, {100, 200, 0, 0}, {2000, 64, 0, 0}}},
	{kernels.Heads{Q: 32, KV: 8, Dim: 128}, 16, 0, append(repeated(12, line{2100, 1, 1, 2048}), line{900, 1, 0, 0}, line{0, 70, 0, 0})},
	{kernels.Heads{Q: 32, KV: 8, Dim: 128}, 16, 0, append(append(repeated(5, line{2000, 1, 1, 1024}), repeated(40, line{1500, 1, 2, 1488})...), line{900, 3, 1, 512}, line{1500, 4, 1, 768})},
	{kernels.Heads{Q: 8, KV: 2, Dim: 128}, 16, 0, []line{{16383, 2, 0, 0}, {40000, 3, 0, 0}, {33000, 80, 0, 0}}},
	{kernels.Heads{Q: 7, KV: 1, Dim: 64}, 16, 0, repeated(50, line{4500, 1, 1, 4096})},
	{kernels.Heads{Q: 4, KV: 2, Dim: 128}, 16, 0, repeated(300, line{700, 1, 0, 0})},
	{kernels.Heads{Q: 32, KV: 8, Dim: 128}, 16, 0, repeated(200, line{6500, 1, 0, 0})}, // more partial results than the scratch holds
}

// TestAttentionLarge compares with attention_plain, which kerneltest judges. Every scene runs twice: the counters of the
// first launch must have gone back to zero.
func TestAttentionLarge(t *testing.T) {
	gpu(t)
	for i, c := range scenes {
		b := open(t, Options{Act: kernels.BF16})
		s := newScene(t, b, c.h, 2, c.size, c.lines)
		s.window = c.window
		want := s.result(t, true)
		for run := range 2 {
			if err := differs(s.result(t, false), want, s.h.Q*s.h.Dim); err != nil {
				t.Errorf("scene %d (heads %+v, pages of %d, window %d, %d lines), run %d: %v", i, c.h, c.size, c.window, len(c.lines), run, err)
				break
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAttentionCompany requires that a decoding row's bits do not depend on its company when nothing is shared, invariant
// mode or not.
func TestAttentionCompany(t *testing.T) {
	b := open(t, Options{Act: kernels.BF16, Invariant: true})
	defer b.Close()
	h := kernels.Heads{Q: 32, KV: 8, Dim: 128}
	lines := []line{{5000, 1, 0, 0}, {999, 1, 0, 0}, {0, 300, 0, 0}, {4097, 1, 0, 0}, {64, 1, 0, 0}}
	s := newScene(t, b, h, 1, 16, lines)
	all, whole, q := s.result(t, false), s.ragged, s.q
	for i, l := range lines {
		if l.rows > 1 {
			continue
		}
		row := int(whole.RowStart[i])
		s.ragged = kernels.Ragged{RowStart: []int32{0, 1}, Start: whole.Start[i : i+1],
			PageStart: []int32{0, whole.PageStart[i+1] - whole.PageStart[i]}, Pages: whole.Pages[whole.PageStart[i]:whole.PageStart[i+1]]}
		s.q, s.dst = q.RowsFrom(row, 1), s.tensor(t, kernels.BF16, 1)
		for j, v := range s.result(t, false) {
			if v != all[row*h.Q*h.Dim+j] {
				t.Fatalf("line %d, column %d: alone %v, in company %v", i, j, v, all[row*h.Q*h.Dim+j])
			}
		}
	}
}

// BenchmarkAttention times the shapes of an 8B model, a layer at a time, over layers enough that no cache holds them: us
// a layer, GB/s and TFLOP/s, and the share of the copy bandwidth measured first. b.N is not used.
func BenchmarkAttention(bench *testing.B) {
	b := open(bench, Options{Act: kernels.BF16})
	rate, err := b.CopyRate()
	if err != nil {
		bench.Fatal(err)
	}
	bench.Logf("%s: copy %.0f GB/s", b.Name(), rate/1e9)
	if err := b.Close(); err != nil {
		bench.Fatal(err)
	}
	run := func(name string, lines []line) {
		bench.Run(name, func(bench *testing.B) { timeScene(bench, rate, lines) })
	}
	for _, past := range []int{511, 1023, 2047, 8191} {
		for _, n := range []int{1, 8, 32, 100, 256} {
			run(fmt.Sprintf("decode/%dx%d", n, past+1), repeated(n, line{past, 1, 0, 0}))
		}
	}
	for _, n := range []int{512, 2048, 8192} {
		run(fmt.Sprintf("prefill/%d", n), []line{{0, n, 0, 0}})
	}
	for _, n := range []int{1, 8} {
		run(fmt.Sprintf("extend/%dx7936+100", n), repeated(n, line{7936, 100, 0, 0}))
	}
	run("shared/32x8192+128", repeated(32, line{8319, 1, 1, 8192}))
	run("shared/100x1920+128", repeated(100, line{2047, 1, 1, 1920}))
	run("shared/8x1024+1024", repeated(8, line{2047, 1, 1, 1024}))
}

// report measures one of n operations in seconds, and reports it; bytes are those of one.
func report(bench *testing.B, b *Backend, n int, bytes float64, queue func()) float64 {
	t, err := b.Measure(n, queue)
	if err != nil {
		bench.Fatal(err)
	}
	bench.ReportMetric(0, "ns/op")
	bench.ReportMetric(t.Seconds()*1e6, "us")
	bench.ReportMetric(bytes/t.Seconds()/1e9, "GB/s")
	return t.Seconds()
}

// timeScene reports one shape. Bytes are what must be read of keys and values, shared ones once.
func timeScene(bench *testing.B, rate float64, lines []line) {
	h := kernels.Heads{Q: 32, KV: 8, Dim: 128}
	b := open(bench, Options{Act: kernels.BF16})
	defer b.Close()
	bytes, flops, seen := 0.0, 0.0, map[int]bool{}
	for _, l := range lines {
		keys := l.past + l.rows
		if seen[l.group] && l.group > 0 {
			keys -= l.shared
		}
		seen[l.group] = true
		bytes += float64(keys * 4 * h.KV * h.Dim)
		flops += 4 * float64(h.Q*h.Dim) * (float64(l.rows)*float64(l.past) + float64(l.rows)*float64(l.rows+1)/2)
	}
	layers := int(min(32, max(2, 400e6/bytes)))
	s := newScene(bench, b, h, layers, 16, lines)
	n := min(200, max(16, int(4e8/bytes)))
	d := report(bench, b, n, bytes, func() {
		b.Begin(&s.ragged)
		for i := range n {
			b.Attention(s.dst, s.q, s.k, s.attn(i%layers))
		}
	})
	bench.ReportMetric(100*bytes/d/rate, "%copy")
	bench.ReportMetric(flops/d/1e12, "TFLOP/s")
}

// BenchmarkRopeAppend times norms, rotation and append for the same shapes; bytes are those read and written.
func BenchmarkRopeAppend(bench *testing.B) {
	h := kernels.Heads{Q: 32, KV: 8, Dim: 128}
	for _, rows := range []int{1, 100, 8192} {
		bench.Run(fmt.Sprint(rows), func(bench *testing.B) {
			b := open(bench, Options{Act: kernels.BF16})
			defer b.Close()
			s := newScene(bench, b, h, 4, 16, []line{{0, rows, 0, 0}})
			alloc := func(cols int) kernels.Tensor {
				buf, err := b.Alloc(kernels.F32, rows*cols)
				if err != nil {
					bench.Fatal(err)
				}
				return kernels.Whole(buf, rows, cols)
			}
			qkv, r := alloc((h.Q+2*h.KV)*h.Dim), kernels.Rope{Heads: h, Cos: alloc(h.Dim / 2), Sin: alloc(h.Dim / 2)}
			bytes := float64(rows * h.Dim * (4*(h.Q+2*h.KV) + 4*h.Q + 4*h.KV + 4))
			report(bench, b, 64, bytes, func() {
				b.Begin(&s.ragged)
				for i := range 64 {
					r.Layer = i % 4
					b.RopeAppend(s.q, qkv, s.k, r)
				}
			})
		})
	}
}

// The parameters of a launch are compared byte by byte, so they may have no padding that is not written.
func TestAttentionArgs(t *testing.T) {
	if got := unsafe.Sizeof(attentionArgs{}); got != 192 {
		t.Errorf("attentionArgs has %d bytes", got)
	}
	if got := unsafe.Sizeof(tallArgs{}); got != 128+192+64 {
		t.Errorf("tallArgs has %d bytes", got)
	}
	if got := unsafe.Sizeof(item{}); got != 32 {
		t.Errorf("item has %d bytes", got)
	}
}
