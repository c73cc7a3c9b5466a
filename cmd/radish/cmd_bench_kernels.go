package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/kernels"
	"radish/kernels/cuda"
)

// kernelFlags are one run of bench kernels.
type kernelFlags struct {
	gpu    int
	only   []string
	asJSON bool
}

// kernelRow is one operation at one shape. Bytes are those that must be read and written, FLOP those that must be done.
type kernelRow struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	Bytes   float64 `json:"bytes"`
	FLOP    float64 `json:"flop"`
	Share   float64 `json:"share_of_ceiling"`          // of the measured copy bandwidth or of the best measured product
	Library float64 `json:"cublaslt_seconds,omitzero"` // the same product by cuBLASLt, where it is installed
}

// kernelAnswer is what --json prints.
type kernelAnswer struct {
	Backend string      `json:"backend"`
	Copy    float64     `json:"copy_bytes_per_second"`
	Rows    []kernelRow `json:"kernels"`
}

func newBenchKernelsCommand(term *ui.Terminal) *cobra.Command {
	f := &kernelFlags{}
	c := &cobra.Command{
		Use:   "kernels",
		Short: "each GPU kernel's time beside the card's measured ceiling",
		Long: `Time the GPU's operations at the shapes of an 8B model (hidden 4,096, 32 query and 8 key-value heads of 128, inner
14,336), each as a graph over more memory than the card's cache holds, and print microseconds, GB/s, TFLOP/s, the share
of the copy bandwidth measured in the same run, and cuBLASLt's time beside the products where it is installed.

  radish bench kernels
  radish bench kernels --only linear --json
` + exitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runBenchKernels(term, f) },
	}
	fs := c.Flags()
	fs.IntVar(&f.gpu, "gpu", 0, "which of the GPUs that CUDA_VISIBLE_DEVICES leaves")
	fs.StringSliceVar(&f.only, "only", nil, "operations by the beginning of their names: linear, attention, rope, norm, swiglu, sample")
	fs.BoolVar(&f.asJSON, "json", false, "print one JSON object")
	return c
}

func runBenchKernels(term *ui.Terminal, f *kernelFlags) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	a := kernelAnswer{}
	own, err := openLab(f.gpu, "own")
	if err != nil {
		return advise(err, "radish doctor")
	}
	a.Backend = own.b.Name()
	if a.Copy, err = own.b.CopyRate(); err == nil {
		err = own.run(f.only)
	}
	a.Rows = own.rows
	if err := errors.Join(err, own.b.Close()); err != nil {
		return err
	}
	if f.wants("linear") {
		if err := a.beside(f.gpu, f.only); err != nil {
			term.Say("cuBLASLt is not compared: %v", err)
		}
	}
	a.share()
	if f.asJSON {
		return term.JSON(a)
	}
	return a.print(term)
}

func (f *kernelFlags) wants(name string) bool { return wanted(f.only, name) }

// wanted reports whether a name begins with one of the prefixes, or there are none.
func wanted(only []string, name string) bool {
	for _, o := range only {
		if strings.HasPrefix(name, o) {
			return true
		}
	}
	return len(only) == 0
}

// beside times the products once more with cuBLASLt.
func (a *kernelAnswer) beside(gpu int, only []string) error {
	lib, err := openLab(gpu, "cublaslt")
	if err != nil {
		return err
	}
	err = lib.linear(only)
	for i := range a.Rows {
		for _, r := range lib.rows {
			if r.Name == a.Rows[i].Name {
				a.Rows[i].Library = r.Seconds
			}
		}
	}
	return errors.Join(err, lib.b.Close())
}

// share compares with the ceilings: memory-bound rows with the copy bandwidth, the others with the best product seen,
// the library's included.
func (a *kernelAnswer) share() {
	best := 0.0
	for _, r := range a.Rows {
		best = max(best, r.FLOP/r.Seconds)
		if r.Library > 0 {
			best = max(best, r.FLOP/r.Library)
		}
	}
	for i := range a.Rows {
		r := &a.Rows[i]
		floor := r.Bytes / a.Copy
		if best > 0 {
			floor = max(floor, r.FLOP/best)
		}
		r.Share = floor / r.Seconds
	}
}

func (a *kernelAnswer) print(term *ui.Terminal) error {
	term.Say("%s, copy %.0f GB/s", a.Backend, a.Copy/1e9)
	rows := [][]string{{"kernel", "us", "GB/s", "TFLOP/s", "of ceiling", "cuBLASLt us"}}
	for _, r := range a.Rows {
		lib := ""
		if r.Library > 0 {
			lib = fmt.Sprintf("%.1f", r.Library*1e6)
		}
		rows = append(rows, []string{r.Name, fmt.Sprintf("%.1f", r.Seconds*1e6), fmt.Sprintf("%.0f", r.Bytes/r.Seconds/1e9),
			fmt.Sprintf("%.1f", r.FLOP/r.Seconds/1e12), fmt.Sprintf("%.0f %%", r.Share*100), lib})
	}
	return ui.Table(term.Out, rows)
}

// lab is an open card and what was measured on it.
type lab struct {
	b    *cuda.Backend
	rng  *rand.Rand
	rows []kernelRow
}

// The 8B model's shapes.
var (
	labHeads    = kernels.Heads{Q: 32, KV: 8, Dim: 128}
	labProducts = []struct {
		name    string
		out, in int
	}{{"qkv", 6144, 4096}, {"o", 4096, 4096}, {"gate_up", 28672, 4096}, {"down", 4096, 14336}, {"lm_head", 128256, 4096}}
)

const (
	labHidden = 4096
	labInner  = 14336
	labVocab  = 128256
	labShift  = 997   // different rows of a filled tensor
	beyondL2  = 400e6 // bytes that a timed list walks through, several times any card's cache
)

func openLab(gpu int, gemm string) (*lab, error) {
	b, err := cuda.New(cuda.Options{GPU: gpu, Act: kernels.BF16, Gemm: gemm})
	if err != nil {
		return nil, err
	}
	return &lab{b: b, rng: rand.New(rand.NewPCG(1, 1))}, nil
}

func (l *lab) run(only []string) error {
	for _, part := range []struct {
		name string
		run  func([]string) error
	}{{"linear", l.linear}, {"norm", l.rowwise}, {"attention", l.attention}, {"sample", l.sample}} {
		if err := part.run(only); err != nil {
			return fmt.Errorf("measure %s: %w", part.name, err)
		}
	}
	return nil
}

// measure times n operations that queue(i) queues one by one.
func (l *lab) measure(row kernelRow, n int, queue func(i int)) error {
	d, err := l.b.Measure(n, func() {
		for i := range n {
			queue(i)
		}
	})
	row.Seconds = d.Seconds()
	l.rows = append(l.rows, row)
	return err
}

// tensor is memory filled with normal numbers by way of the residual stream's own operations: a BF16 buffer takes no
// upload.
func (l *lab) tensor(d kernels.DType, rows, cols int) (kernels.Tensor, error) {
	buf, err := l.b.Alloc(d, rows*cols)
	if err != nil {
		return kernels.Tensor{}, err
	}
	t := kernels.Whole(buf, rows, cols)
	v := make([]float32, cols+labShift)
	for i := range v {
		v[i] = float32(l.rng.NormFloat64())
	}
	if d == kernels.F32 {
		for i := range rows { // no row is like its neighbours: equal operands cost less power and flatter a product
			l.b.Upload(t.RowsFrom(i, 1), v[i*37%labShift:][:cols])
		}
		return t, l.b.Run()
	}
	from, err := l.tensor(kernels.F32, rows, 2*cols)
	if err != nil {
		return t, err
	}
	l.b.SwiGLU(t, from)
	return t, l.b.Run()
}

// linear times the products, rotating over copies of the weights.
func (l *lab) linear(only []string) error {
	for _, p := range labProducts {
		size := p.out * p.in * 2
		var ws []kernels.Weight
		for range max(1, int(beyondL2)/size) {
			w, err := l.b.Pack(kernels.Matrix{DType: kernels.BF16, Rows: p.out, Cols: p.in, Data: noise{}})
			if err != nil {
				return err
			}
			ws = append(ws, w)
		}
		for _, rows := range []int{1, 8, 32, 100, 256, 1024, 8192} {
			name := fmt.Sprintf("linear %s x %d", p.name, rows)
			if !wanted(only, name) || p.name == "lm_head" && rows > 256 {
				continue
			}
			if err := l.product(name, rows, ws); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lab) product(name string, rows int, ws []kernels.Weight) error {
	out, in := ws[0].Out(), ws[0].In()
	x, err := l.tensor(kernels.BF16, rows, in)
	if err != nil {
		return err
	}
	dst, err := l.tensor(kernels.F32, rows, out)
	if err != nil {
		return err
	}
	row := kernelRow{Name: name, Bytes: float64(out*in*2 + rows*in*2 + rows*out*4), FLOP: 2 * float64(rows) * float64(out) * float64(in)}
	n := max(4, min(64, int(1e12/row.FLOP)))
	return l.measure(row, n, func(i int) { l.b.Linear(dst, x, ws[i%len(ws)], kernels.Tensor{}) })
}

// noise is an endless file of bfloat16 numbers between -2 and 2.
type noise struct{}

func (noise) ReadAt(p []byte, off int64) (int, error) {
	x := uint64(off)*0x9e3779b97f4a7c15 + 1
	for i := range p {
		if i%2 == 0 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			p[i] = byte(x)
		} else {
			p[i] = 0x3f | byte(x>>8)&0x80 // sign, and an exponent of one
		}
	}
	return len(p), nil
}

// rowwise times norms, rotation and activation.
func (l *lab) rowwise(only []string) error {
	for _, rows := range []int{1, 100, 8192} {
		x, err := l.tensor(kernels.F32, rows, labHidden)
		if err != nil {
			return err
		}
		weight, err := l.tensor(kernels.F32, 1, labHidden)
		if err != nil {
			return err
		}
		dst, err := l.tensor(kernels.BF16, rows, labInner)
		if err != nil {
			return err
		}
		wide, err := l.tensor(kernels.F32, rows, 2*labInner)
		if err != nil {
			return err
		}
		if name := fmt.Sprintf("norm x %d", rows); wanted(only, name) {
			to := dst.ColsFrom(0, labHidden)
			row := kernelRow{Name: name, Bytes: float64(rows * labHidden * (3*4 + 2))}
			if err := l.measure(row, 32, func(int) { l.b.RMSNorm(to, x, wide.ColsFrom(0, labHidden), weight, 1e-5) }); err != nil {
				return err
			}
		}
		if name := fmt.Sprintf("swiglu x %d", rows); wanted(only, name) {
			row := kernelRow{Name: name, Bytes: float64(rows * labInner * 10)}
			if err := l.measure(row, 32, func(int) { l.b.SwiGLU(dst, wide) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// attention times decode, prefill and a cached prefix, a layer at a time.
func (l *lab) attention(only []string) error {
	for _, s := range []struct{ seqs, past, rows int }{
		{1, 1023, 1}, {8, 1023, 1}, {32, 1023, 1}, {100, 1023, 1}, {256, 1023, 1}, {100, 8191, 1}, {1, 0, 2048}, {1, 0, 8192}, {1, 7936, 256},
	} {
		name := fmt.Sprintf("attention %d x %d + %d", s.seqs, s.past, s.rows)
		if !wanted(only, name) {
			continue
		}
		if err := l.attend(name, s.seqs, s.past, s.rows); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) attend(name string, seqs, past, rows int) error {
	const page = 16
	h := labHeads
	each := (past + rows + page - 1) / page
	bytes := float64(seqs * (past + rows) * 2 * h.KV * h.Dim * 2)
	layers := int(min(32, max(2, beyondL2/bytes)))
	kv, err := l.b.NewKV(kernels.KVShape{Layers: layers, Pages: seqs * each, PageSize: page, KVHeads: h.KV, HeadDim: h.Dim, DType: kernels.BF16})
	if err != nil {
		return err
	}
	if err := l.fill(kv, layers, seqs*each, page); err != nil {
		return err
	}
	r := &kernels.Ragged{RowStart: []int32{0}, PageStart: []int32{0}}
	for i, p := range l.rng.Perm(seqs * each) {
		r.Pages = append(r.Pages, int32(p))
		if (i+1)%each == 0 {
			r.Start = append(r.Start, int32(past))
			r.RowStart = append(r.RowStart, int32(len(r.Start)*rows))
			r.PageStart = append(r.PageStart, int32(i+1))
		}
	}
	q, err := l.tensor(kernels.F32, seqs*rows, h.Q*h.Dim)
	if err != nil {
		return err
	}
	dst, err := l.tensor(kernels.BF16, seqs*rows, h.Q*h.Dim)
	if err != nil {
		return err
	}
	seen := float64(rows)*float64(past) + float64(rows)*float64(rows+1)/2
	row := kernelRow{Name: name, Bytes: bytes, FLOP: 4 * float64(seqs) * seen * float64(h.Q*h.Dim)}
	if err := l.b.Run(); err != nil {
		return err
	}
	l.b.Begin(r)
	return l.measure(row, 2*layers, func(i int) {
		l.b.Attention(dst, q, kv, kernels.Attn{Heads: h, Scale: 0.088, Layer: i % layers})
	})
}

// fill writes random keys and values: into page 0, and from there into every other, because zeros cost less power and
// would flatter the kernels.
func (l *lab) fill(kv kernels.KV, layers, pages, page int) error {
	h := labHeads
	qkv, err := l.tensor(kernels.F32, page, (h.Q+2*h.KV)*h.Dim)
	if err != nil {
		return err
	}
	q, err := l.tensor(kernels.F32, page, h.Q*h.Dim)
	if err != nil {
		return err
	}
	turn, err := l.tensor(kernels.F32, page, h.Dim/2)
	if err != nil {
		return err
	}
	l.b.Begin(&kernels.Ragged{RowStart: []int32{0, int32(page)}, Start: []int32{0}, PageStart: []int32{0, 1}, Pages: []int32{0}})
	for i := range layers {
		l.b.RopeAppend(q, qkv, kv, kernels.Rope{Heads: h, Cos: turn, Sin: turn, Layer: i})
	}
	copies := make([]kernels.PageCopy, pages-1)
	for i := range copies {
		copies[i] = kernels.PageCopy{Src: 0, Dst: int32(i + 1), Tokens: int32(page)}
	}
	l.b.CopyPages(kv, copies)
	return l.b.Run()
}

// sample times the choice of a token, greedy and with top-k and top-p.
func (l *lab) sample(only []string) error {
	for _, rows := range []int{1, 100} {
		logits, err := l.tensor(kernels.F32, rows, labVocab)
		if err != nil {
			return err
		}
		for _, how := range []struct {
			name string
			row  kernels.SampleRow
		}{
			{"greedy", kernels.SampleRow{Forced: -1, Logprobs: -1}},
			{"top-k 50, top-p 0.9", kernels.SampleRow{Forced: -1, Logprobs: -1, Temperature: 0.8, TopK: 50, TopP: 0.9, U: 0.5}},
		} {
			name := fmt.Sprintf("sample %s x %d", how.name, rows)
			if !wanted(only, name) {
				continue
			}
			all, out := make([]kernels.SampleRow, rows), make([]kernels.SampleOut, rows)
			for i := range all {
				all[i] = how.row
			}
			row := kernelRow{Name: name, Bytes: float64(rows * labVocab * 4)}
			if err := l.measure(row, 4, func(int) { l.b.Sample(out, logits, all, kernels.Tensor{}, nil) }); err != nil {
				return err
			}
		}
	}
	return nil
}
