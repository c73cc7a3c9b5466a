package bench

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// welch tells whether two means differ at 95 %.
func welch(a, b []float64) bool {
	ma, sa := moments(a)
	mb, sb := moments(b)
	va, vb := sa*sa/float64(len(a)), sb*sb/float64(len(b))
	if va+vb == 0 {
		return ma != mb
	}
	free := (va + vb) * (va + vb) / (va*va/float64(len(a)-1) + vb*vb/float64(len(b)-1))
	return math.Abs(ma-mb) > student(int(free))*math.Sqrt(va+vb)
}

// mannWhitney is the two-sided probability of ranks as different as those of a and b, by the normal approximation with
// ties. It is 1 where either is empty.
func mannWhitney(a, b []float64) float64 {
	type ranked struct {
		v   float64
		ofA bool
	}
	var all []ranked
	for _, v := range a {
		all = append(all, ranked{v, true})
	}
	for _, v := range b {
		all = append(all, ranked{v, false})
	}
	slices.SortFunc(all, func(x, y ranked) int { return cmp.Compare(x.v, y.v) })
	n1, n2 := float64(len(a)), float64(len(b))
	n := n1 + n2
	sum, ties := 0.0, 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].v == all[i].v {
			j++
		}
		for k := i; k < j; k++ {
			if all[k].ofA {
				sum += float64(i+j+1) / 2
			}
		}
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	variance := n1 * n2 / 12 * (n + 1 - ties/(n*(n-1)))
	if !(variance > 0) {
		return 1
	}
	off := math.Abs(sum-n1*(n+1)/2) - 0.5 // for continuity
	return math.Erfc(max(0, off) / math.Sqrt(2*variance))
}

// quantilesDiffer bootstraps the difference of a quantile: it differs when 95 % of the resamples lie on one side of 0.
func quantilesDiffer(a, b []float64, p float64) bool {
	rng := rand.New(rand.NewPCG(uint64(len(a)), uint64(len(b))))
	draw := func(v []float64) float64 {
		again := make([]float64, len(v))
		for i := range again {
			again[i] = v[rng.IntN(len(v))]
		}
		slices.Sort(again)
		return again[int(math.Ceil(p*float64(len(again))))-1]
	}
	const times = 400
	above, below := 0, 0
	for range times {
		switch d := draw(b) - draw(a); {
		case d > 0:
			above++
		case d < 0:
			below++
		}
	}
	return above < times*25/1000 || below < times*25/1000
}
