// Package kerneltest judges a kernels.Backend. A backend's own tests call three functions, once for every path that it
// can be forced onto and for every activation type:
//
//	kerneltest.Run(t, make)        // every operation against kernels/ref
//	kerneltest.Invariant(t, make)  // bit-identity whatever the batch, the chunks and the pages
//	kerneltest.Bench(b, make)      // time, GB/s and GFLOP/s of every operation
//
// Run feeds both backends the same fresh random inputs; the seed is printed when a check fails, and RADISH_SEED repeats
// it. Every tensor is a view with a random offset and stride inside a larger buffer. Around inputs lie NaNs, so that
// reading beside a view shows in the result; destinations and what lies around them hold a poison, so that an element
// left out, or written beside the view, shows too. Inputs must come out unchanged.
//
// Tolerances are stated where they are used (see tolerance) with the reason for them: they admit float32 sums in any
// order, fused multiply-adds, and a last-bit difference in exp, and nothing that a wrong index could hide behind.
package kerneltest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"radish/kernels"
	"radish/kernels/ref"
)

// Run drives the backends that make returns through every operation, a fresh one for each. It closes them.
func Run(t *testing.T, make func(t *testing.T) kernels.Backend) {
	seed := pickSeed()
	for i, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			b := make(t)
			if err := judge(b, c, seed+uint64(i)); err != nil {
				t.Errorf("%s: %v (RADISH_SEED=%d)", b.Name(), err, seed)
			}
			if err := b.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// check is one operation, tried in many shapes.
type check struct {
	name string
	run  func(r *rig) error
}

// checks is everything that Run does.
var checks = []check{
	{"UploadDownload", checkUpload},
	{"Panics", checkPanics},
	{"Resolve", checkResolve},
	{"Gather", checkGather},
	{"Embed", checkEmbed},
	{"RMSNorm", checkRMSNorm},
	{"SwiGLU", checkSwiGLU},
	{"Linear", checkLinear},
	{"Pack", checkPack},
	{"Rotary", checkRotary},
	{"Attention", checkAttention},
	{"CopyPages", checkCopyPages},
	{"Sample", checkSample},
	{"SampleOddLogits", checkOddLogits},
	{"SampleScores", checkScores},
	{"SampleDistribution", checkDistribution},
}

// judge runs one check; a check gives up by panicking with a failure.
func judge(b kernels.Backend, c check, seed uint64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			f, ok := p.(failure)
			if !ok {
				panic(p)
			}
			err = f.err
		}
	}()
	return c.run(&rig{got: b, want: ref.New(b.Act()), rng: rand.New(rand.NewPCG(seed, 1))})
}

type failure struct{ err error }

// no gives up the running check if err is set.
func no(err error) {
	if err != nil {
		panic(failure{err})
	}
}

// pickSeed is RADISH_SEED, or the time.
func pickSeed() uint64 {
	if s, err := strconv.ParseUint(os.Getenv("RADISH_SEED"), 10, 64); err == nil {
		return s
	}
	return uint64(time.Now().UnixNano())
}

// rig is the backend under test beside the oracle.
type rig struct {
	got, want kernels.Backend
	rng       *rand.Rand
	mems      []*mem // of the operation at hand
}

// poison stands in destinations before an operation; bfloat16 holds it exactly and no operation makes it.
const poison = -0x1.5p100

// mem is one tensor in both backends, a view inside a buffer of known contents.
type mem struct {
	name            string
	gotBuf, wantBuf kernels.Buffer
	view            kernels.Tensor // its Buf is not set
	floats          []float32      // what was put in the whole buffer
	ints            []int32
	out             bool
	tol             tolerance
}

// on is the tensor in one of the two backends.
func (m *mem) on(b kernels.Buffer) kernels.Tensor {
	t := m.view
	t.Buf = b
	return t
}

// side picks the tensors of one backend; a nil mem is an absent tensor.
type side func(m *mem) kernels.Tensor

func left(m *mem) kernels.Tensor {
	if m == nil {
		return kernels.Tensor{}
	}
	return m.on(m.gotBuf)
}

func right(m *mem) kernels.Tensor {
	if m == nil {
		return kernels.Tensor{}
	}
	return m.on(m.wantBuf)
}

// place makes the buffers of a rows x cols view at a random offset and stride, and fills them: around the view with
// edge, inside it with value.
func (r *rig) place(name string, d kernels.DType, rows, cols int, edge float32, value func(i int) float32) *mem {
	off, stride := r.rng.IntN(40), cols+r.rng.IntN(3)*r.rng.IntN(20)
	m := &mem{name: name, view: kernels.Tensor{Off: off, Rows: rows, Cols: cols, Stride: stride}}
	m.floats = make([]float32, off+rows*stride+r.rng.IntN(40)+1)
	for i := range m.floats {
		m.floats[i] = edge
	}
	for i := range rows * cols {
		v := value(i)
		if d == kernels.BF16 {
			v = kernels.RoundBF16(v)
		}
		m.floats[off+i/cols*stride+i%cols] = v
	}
	var err error
	m.gotBuf, err = r.got.Alloc(d, len(m.floats))
	no(err)
	m.wantBuf, err = r.want.Alloc(d, len(m.floats))
	no(err)
	no(pour(r.got, m.gotBuf, m.floats))
	no(pour(r.want, m.wantBuf, m.floats))
	r.mems = append(r.mems, m)
	return m
}

// pour fills a whole buffer. A BF16 buffer cannot be uploaded to; SwiGLU fills it, because silu(64) is 64 exactly in
// float32 and 64 * (v/64) is v.
func pour(b kernels.Backend, buf kernels.Buffer, v []float32) error {
	whole := kernels.Whole(buf, 1, len(v))
	if buf.DType() == kernels.F32 {
		b.Upload(whole, v)
		return b.Run()
	}
	tmp, err := b.Alloc(kernels.F32, 2*len(v))
	if err != nil {
		return err
	}
	both := make([]float32, 2*len(v))
	for i, x := range v {
		both[i], both[len(v)+i] = 64, x/64
	}
	b.Upload(kernels.Whole(tmp, 1, len(both)), both)
	b.SwiGLU(whole, kernels.Whole(tmp, 1, len(both)))
	return b.Run()
}

// in is an input with normal values times scale.
func (r *rig) in(name string, d kernels.DType, rows, cols int, scale float64) *mem {
	nan := float32(math.NaN())
	return r.place(name, d, rows, cols, nan, func(int) float32 { return float32(r.rng.NormFloat64() * scale) })
}

// put is an input with the given values.
func (r *rig) put(name string, d kernels.DType, rows, cols int, v []float32) *mem {
	return r.place(name, d, rows, cols, float32(math.NaN()), func(i int) float32 { return v[i] })
}

// dst is a destination, compared with tol.
func (r *rig) dst(name string, d kernels.DType, rows, cols int, tol tolerance) *mem {
	m := r.place(name, d, rows, cols, poison, func(int) float32 { return poison })
	m.out, m.tol = true, tol
	return m
}

// ids is a [1 x n] I32 tensor; around it lie numbers that are no index.
func (r *rig) ids(name string, v []int32) *mem {
	off := r.rng.IntN(20)
	m := &mem{name: name, view: kernels.Tensor{Off: off, Rows: 1, Cols: len(v), Stride: len(v)}}
	m.ints = make([]int32, off+len(v)+r.rng.IntN(20))
	for i := range m.ints {
		m.ints[i] = math.MinInt32
	}
	copy(m.ints[off:], v)
	var err error
	m.gotBuf, err = r.got.Alloc(kernels.I32, len(m.ints))
	no(err)
	m.wantBuf, err = r.want.Alloc(kernels.I32, len(m.ints))
	no(err)
	r.got.Upload(kernels.Whole(m.gotBuf, 1, len(m.ints)), m.ints)
	r.want.Upload(kernels.Whole(m.wantBuf, 1, len(m.ints)), m.ints)
	r.mems = append(r.mems, m)
	return m
}

// do runs one operation on both backends and compares every tensor made since the last do.
func (r *rig) do(what string, op func(b kernels.Backend, t side)) {
	op(r.want, right)
	no(r.want.Run())
	op(r.got, left)
	if err := r.got.Run(); err != nil {
		no(fmt.Errorf("%s: run: %w", what, err))
	}
	for _, m := range r.mems {
		if err := r.compare(m); err != nil {
			no(fmt.Errorf("%s: %s: %w", what, m.name, err))
		}
	}
	r.mems = r.mems[:0]
}
