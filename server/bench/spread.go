package bench

import (
	"math"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// NewSpread sorts values and reads percentiles by the nearest rank; nil where there are none.
func NewSpread(v []float64) *Spread {
	if len(v) == 0 {
		return nil
	}
	slices.Sort(v)
	at := func(p float64) float64 { return v[max(0, int(math.Ceil(p*float64(len(v))))-1)] }
	s := &Spread{N: len(v), P50: at(.5), P90: at(.9), P95: at(.95), P99: at(.99), Max: v[len(v)-1]}
	s.Mean, s.SD = moments(v)
	for i := range 101 {
		s.Quantiles = append(s.Quantiles, at(float64(i)/100))
	}
	return s
}

func moments(v []float64) (mean, sd float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	if len(v) < 2 {
		return mean, 0
	}
	for _, x := range v {
		sd += (x - mean) * (x - mean) / float64(len(v)-1)
	}
	return mean, math.Sqrt(sd)
}

// Gaps between chunks are too many to keep: 1 us to 1 h, within 0.1 %.
func newGaps() *hdrhistogram.Histogram { return hdrhistogram.New(1, 3600e6, 3) }

// countGap adds a gap in seconds. Chunks that arrived together have a gap of 0, which the histogram keeps as 0.
func countGap(h *hdrhistogram.Histogram, seconds float64) {
	_ = h.RecordValue(min(int64(math.Round(seconds*1e6)), 3600e6))
}

func spreadOf(h *hdrhistogram.Histogram) *Spread {
	if h.TotalCount() == 0 {
		return nil
	}
	at := func(p float64) float64 { return float64(h.ValueAtQuantile(p)) / 1e6 }
	s := &Spread{N: int(h.TotalCount()), Mean: h.Mean() / 1e6, SD: h.StdDev() / 1e6,
		P50: at(50), P90: at(90), P95: at(95), P99: at(99), Max: float64(h.Max()) / 1e6}
	for i := range 101 {
		s.Quantiles = append(s.Quantiles, at(float64(i)))
	}
	return s
}

// newInterval is the mean of v and its 95 % confidence interval by Student's t; it needs two values.
func newInterval(v []float64) (Interval, bool) {
	if len(v) < 2 {
		return Interval{}, false
	}
	mean, sd := moments(v)
	half := student(len(v)-1) * sd / math.Sqrt(float64(len(v)))
	return Interval{N: len(v), Mean: mean, Low: mean - half, High: mean + half}, true
}

// student is the 97.5 % point of Student's t.
func student(free int) float64 {
	table := [...]float64{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
		2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042}
	if free < 1 {
		return math.Inf(1)
	}
	if free <= len(table) {
		return table[free-1]
	}
	return 1.960 + 2.46/float64(free) // within 0.001 of the tables
}
