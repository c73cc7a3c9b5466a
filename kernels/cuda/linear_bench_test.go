package cuda

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// The products of Llama-3-8B: [out, in].
var llama8B = [][2]int{{6144, 4096}, {4096, 4096}, {28672, 4096}, {4096, 14336}}

const llamaLayers, llamaVocab = 32, 128256

// bench8B is the products' operands: every layer has its own weights, so that none is found in the cache.
type bench8B struct {
	*lab
	layers      [llamaLayers][4]*weight
	head        *weight
	act, normed kernels.Tensor // bfloat16
	wide, x     kernels.Tensor // float32
	scale       kernels.Tensor
	lt          *driver.Lt
}

const benchRows = 8192

func newBench(b testing.TB) *bench8B {
	l := newLab(b, Options{Act: kernels.BF16})
	w := &bench8B{lab: l}
	for i := range w.layers {
		for j, s := range llama8B {
			w.layers[i][j] = l.weight(s[0], s[1], 1+4*i+j)
		}
	}
	w.head = l.weight(llamaVocab, 4096, 999)
	w.act, w.wide = l.tensor(kernels.BF16, benchRows, 14336, 1), l.tensor(kernels.F32, benchRows, 28672, 2)
	w.normed, w.x, w.scale = l.tensor(kernels.BF16, benchRows, 4096, 3), l.tensor(kernels.F32, benchRows, 4096, 4), l.tensor(kernels.F32, 1, 4096, 5)
	l.must(l.Run())
	var err error
	if w.lt, err = driver.OpenLt(pythonRoots()); err != nil {
		fmt.Println(err)
	}
	return w
}

// pythonRoots are the folders that Python packages lie in.
func pythonRoots() (roots []string) {
	for _, p := range []string{"/usr/lib/python3*/dist-packages", "/usr/local/lib/python3*/*-packages", "/opt/*/lib/python3*/site-packages"} {
		found, _ := filepath.Glob(p)
		roots = append(roots, found...)
	}
	return roots
}

func (w *bench8B) tensors(rows int, s [2]int) (x, dst kernels.Tensor) {
	x, dst = kernels.Whole(w.act.Buf, rows, s[1]), kernels.Whole(w.wide.Buf, rows, s[0])
	return x, dst
}

// own queues one product of every layer.
func (w *bench8B) own(j, rows int) {
	x, dst := w.tensors(rows, llama8B[j])
	for i := range w.layers {
		w.Linear(dst, x, w.layers[i][j], kernels.Tensor{})
	}
}

// lib queues the same as cuBLASLt does it with its candidate number pick.
func (w *bench8B) lib(j, rows, pick int) (close func()) {
	s := llama8B[j]
	p, err := w.lt.NewPlan(s[0], rows, s[1], s[1], s[0], 32<<20)
	w.must(err)
	p.Pick(min(pick, p.Found-1), w.mem.scratch, 32<<20)
	x, dst := w.tensors(rows, s)
	for i := range w.layers {
		w.list.body = append(w.list.body, p.Op(dst.Buf.(*buffer).at, x.Buf.(*buffer).at, w.layers[i][j].at, false))
	}
	return p.Close
}

// time runs what is queued as one graph, several times, and returns the time of one.
func (w *bench8B) time() time.Duration {
	g, err := w.stream.Capture(w.list.body, w.list.params)
	w.must(err)
	w.list.body, w.list.params = w.list.body[:0], w.list.params[:0]
	defer func() { w.must(g.Close()) }()
	a, err := driver.NewEvent(true)
	w.must(err)
	b, err := driver.NewEvent(true)
	w.must(err)
	best := time.Hour
	for range 4 {
		w.must(w.stream.Exec([]driver.Op{a.Op()}, nil))
		w.must(w.stream.Launch(g))
		w.must(w.stream.Exec([]driver.Op{b.Op()}, nil))
		w.must(b.Wait())
		d, err := b.Since(a)
		w.must(err)
		best = min(best, d)
	}
	w.must(a.Close())
	w.must(b.Close())
	return best
}

// chain queues the products of a whole step: what cuBLAS's 4.01 ms at one row are the measure of. parts: 0 the products
// alone, 1 with the norms between them, 2 fused forms and norms.
func (w *bench8B) chain(rows, parts int) {
	none := kernels.Tensor{}
	h, x := w.normed.Head(rows), w.x.Head(rows)
	norm := func() {
		if parts > 0 {
			w.RMSNorm(h, x, none, w.scale, 1e-5)
		}
	}
	for i := range w.layers {
		l := &w.layers[i]
		norm()
		w.Linear(kernels.Whole(w.wide.Buf, rows, 6144), h, l[0], none)
		att, mid := kernels.Whole(w.act.Buf, rows, 4096), kernels.Whole(w.act.Buf, rows, 14336)
		if parts == 2 {
			w.LinearAdd(x, att, l[1], none)
			norm()
			if !w.LinearSwiGLU(mid, h, l[2], none) {
				gateUp := kernels.Whole(w.wide.Buf, rows, 28672)
				w.Linear(gateUp, h, l[2], none)
				w.SwiGLU(mid, gateUp)
			}
			w.LinearAdd(x, mid, l[3], none)
			continue
		}
		w.Linear(x, att, l[1], none)
		norm()
		gateUp := kernels.Whole(w.wide.Buf, rows, 28672)
		w.Linear(gateUp, h, l[2], none)
		if parts == 1 {
			w.SwiGLU(mid, gateUp)
		}
		w.Linear(x, mid, l[3], none)
	}
	norm()
	n := rows
	if rows > 512 {
		n = 64
	}
	w.Linear(kernels.Whole(w.wide.Buf, n, llamaVocab), h.Head(n), w.head, none)
}

func chainFLOP(rows int) float64 {
	n := rows
	if rows > 512 {
		n = 64
	}
	sum := 0.0
	for _, s := range llama8B {
		sum += 2 * float64(s[0]) * float64(s[1]) * float64(rows) * llamaLayers
	}
	return sum + 2*llamaVocab*4096*float64(n)
}

const chainBytes = 15.01e9

// BenchmarkGemm prints a table of the products at Llama-3-8B's shapes, cuBLASLt beside them where it is installed, and
// of a whole step. It measures once, whatever b.N.
func BenchmarkGemm(b *testing.B) {
	w := newBench(b)
	fmt.Printf("%s, driver %d, random data\n", w.Name(), w.card.Driver)
	rowsList := []int{1, 8, 16, 32, 64, 100, 128, 256, 512, 1024, 2048, 8192}
	for _, r := range []ring8{{}, {0, 2}, {3, 0}} {
		w.gemm.ring = r
		fmt.Printf("ring %v:", r)
		for _, rows := range []int{1, 32} {
			for parts := range 3 {
				w.chain(rows, parts)
				d := w.time()
				fmt.Printf("  rows %d parts %d %.3f ms", rows, parts, ms(d))
			}
		}
		fmt.Println()
	}
	w.gemm.ring = ring8{}
	for j, s := range llama8B {
		w.own(j, 1)
		for i := range w.list.body {
			w.list.body[i].Flags = 0
		}
		fmt.Printf("%v without overlap %.1f us\n", s, us(w.time()/llamaLayers))
	}
	for _, rows := range []int{5, 12, 20, 48, 65, 90, 112, 160, 224, 300, 700, 1100} {
		for j := range llama8B {
			w.own(j, rows)
			fmt.Printf("rows %d %v %.1f us; ", rows, llama8B[j], us(w.time()/llamaLayers))
		}
		fmt.Println()
	}
	for _, rows := range []int{1, 32, 100, 256, 1024, 8192} {
		for i := range w.layers {
			w.LinearSwiGLU(kernels.Whole(w.act.Buf, rows, 14336), kernels.Whole(w.normed.Buf, rows, 4096), w.layers[i][2], kernels.Tensor{})
		}
		gate := w.time() / llamaLayers
		for i := range w.layers {
			w.LinearAdd(kernels.Whole(w.x.Buf, rows, 4096), kernels.Whole(w.act.Buf, rows, 14336), w.layers[i][3], kernels.Tensor{})
		}
		fmt.Printf("rows %d swiglu %.1f us, add %.1f us\n", rows, us(gate), us(w.time()/llamaLayers))
	}
	w.gemm.only = mmaOnly
	for _, rows := range []int{1, 64, 100, 1024} {
		for j, s := range llama8B {
			w.own(j, rows)
			d := w.time() / llamaLayers
			fmt.Printf("mma rows %d %v %.1f us %.1f TFLOP/s; ", rows, s, us(d), 2*float64(s[0]*s[1])*float64(rows)/d.Seconds()/1e12)
		}
		fmt.Println()
	}
	w.gemm.only = 0
	for _, rows := range rowsList {
		for parts := range 3 {
			w.chain(rows, parts)
			d := w.time()
			fmt.Printf("chain rows %5d parts %d: %8.3f ms %6.2f TB/s %6.1f TFLOP/s\n", rows, parts, ms(d), chainBytes/d.Seconds()/1e12, chainFLOP(rows)/d.Seconds()/1e12)
		}
	}
	for j, s := range llama8B {
		for _, rows := range rowsList {
			w.row(j, s, rows)
		}
	}
	w.auto(rowsList)
}

// auto measures the step as the backend does it when it may choose.
func (w *bench8B) auto(rowsList []int) {
	lib, err := openLibrary(Options{Act: kernels.BF16, Gemm: "auto"})
	w.must(err)
	if lib == nil {
		return
	}
	lib.tuned = readTuned("", w.card, lib.lt)
	lib.tuned.room = w.take(trySums + tryFused)
	w.gemm.lib = lib
	for i := range w.layers {
		for _, m := range w.layers[i] {
			w.gemm.packed(m)
		}
	}
	w.gemm.packed(w.head)
	for _, rows := range rowsList {
		began := time.Now()
		w.chain(rows, 2)
		tuning := time.Since(began)
		d := w.time()
		fmt.Printf("auto rows %5d: %8.3f ms %6.1f TFLOP/s, tuned in %.0f ms\n", rows, ms(d), chainFLOP(rows)/d.Seconds()/1e12, ms(tuning))
	}
	fmt.Println(lib.tuned.Choice)
}

func (w *bench8B) row(j int, s [2]int, rows int) {
	w.own(j, rows)
	own := w.time() / llamaLayers
	lib := "     -"
	if w.lt != nil {
		done := w.lib(j, rows, 0)
		d := w.time() / llamaLayers
		done()
		lib = fmt.Sprintf("%8.1f us, own/lt %.3f", us(d), own.Seconds()/d.Seconds())
	}
	bytes, flop := 2*float64(s[0])*float64(s[1]), 2*float64(s[0])*float64(s[1])*float64(rows)
	fmt.Printf("%5dx%-5d rows %5d: %8.1f us %5.2f TB/s %6.1f TFLOP/s  lt %s\n", s[0], s[1], rows, us(own), bytes/own.Seconds()/1e12, flop/own.Seconds()/1e12, lib)
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }
func us(d time.Duration) float64 { return d.Seconds() * 1e6 }
