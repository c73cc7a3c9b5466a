package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"radish/kernels"
	"radish/kernels/cpu"
	"radish/kernels/ref"
)

// shapes are rows of logits that lead a selection astray: flat, tied, sorted both ways, one bucket full, almost empty.
func shapes(r *rand.Rand, n int) map[string][]float32 {
	make := func(f func(i int) float64) []float32 {
		l := make([]float32, n)
		for i := range l {
			l[i] = float32(f(i))
		}
		return l
	}
	return map[string][]float32{
		"normal":  make(func(int) float64 { return 3 * r.NormFloat64() }),
		"peaked":  make(func(int) float64 { return 12 * r.NormFloat64() }),
		"flat":    make(func(int) float64 { return 1 }),
		"tied":    make(func(int) float64 { return float64(r.IntN(5)) }),
		"rising":  make(func(i int) float64 { return float64(i) / 500 }),
		"falling": make(func(i int) float64 { return -float64(i) / 500 }),
		"narrow":  make(func(int) float64 { return 5 + 1e-4*r.Float64() }),
		"sparse": make(func(i int) float64 {
			if i%97 == 5 {
				return r.NormFloat64()
			}
			return []float64{math.Inf(-1), math.NaN()}[i%2]
		}),
	}
}

// TestSelectionAgreesWithOracle covers vocabularies of several stretches on every path. U, top-p and min-p stand where
// no shape puts a razor's edge: the seed is fixed.
func TestSelectionAgreesWithOracle(t *testing.T) {
	base := kernels.SampleRow{Forced: -1, Logprobs: -1, Temperature: 0.8}
	with := func(f func(s *kernels.SampleRow)) kernels.SampleRow {
		s := base
		f(&s)
		return s
	}
	for _, n := range []int{1023, 5003} {
		for name, l := range shapes(rand.New(rand.NewPCG(5, uint64(n))), n) {
			var rows []kernels.SampleRow
			for _, u := range []float64{0, 0.137713, 0.99313} {
				for _, k := range []int{0, 7, 70, n - 1} {
					rows = append(rows, with(func(s *kernels.SampleRow) { s.U, s.TopK = u, k }),
						with(func(s *kernels.SampleRow) { s.U, s.TopK, s.TopP = u, k, 0.612345 }),
						with(func(s *kernels.SampleRow) { s.U, s.TopK, s.MinP, s.Temperature = u, k, 0.0112345, 1.3 }))
				}
			}
			for _, extreme := range []float32{1e-45, 1e-30, 1e30, 3e38} {
				rows = append(rows, with(func(s *kernels.SampleRow) { s.Temperature, s.U = extreme, 0.61234567 }))
			}
			for _, alternatives := range []int{0, 5, 300, n} {
				rows = append(rows, with(func(s *kernels.SampleRow) { s.Temperature, s.Logprobs = 0, alternatives }))
			}
			want := choices(t, ref.New(kernels.F32), l, rows)
			for _, path := range cpu.Paths() {
				got := choices(t, open(t, cpu.Options{Force: path, Threads: 2}), l, rows)
				for i := range rows {
					if g, w := fmt.Sprintf("%.4v", got[i]), fmt.Sprintf("%.4v", want[i]); g != w {
						t.Errorf("%s, %d %s logits, %+v:\noracle %.300s\ncpu    %.300s", path, n, name, rows[i], w, g)
					}
				}
			}
		}
	}
}

// choices samples every row from the same logits.
func choices(t *testing.T, b kernels.Backend, l []float32, rows []kernels.SampleRow) []kernels.SampleOut {
	var all []float32
	for range rows {
		all = append(all, l...)
	}
	d, out := dev{t, b}, make([]kernels.SampleOut, len(rows))
	d.Sample(out, d.floats(len(rows), len(l), all), rows, kernels.Tensor{}, nil)
	if err := d.Run(); err != nil {
		t.Fatal(err)
	}
	return out
}
