package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Saturation is the fit X(u) = V u / (K + u) of output tokens/s over concurrency, or why there is none.
type Saturation struct {
	Identifiable bool        `json:"identifiable"`
	Why          string      `json:"why,omitempty"` // why not
	V            *Estimate   `json:"v"`             // tokens/s that no load exceeds
	K            *Estimate   `json:"k"`             // concurrency at half of it
	R2           *float64    `json:"r2"`            // says little: a straight line can have 0.99
	Points       []Point     `json:"points"`
	Band         []BandPoint `json:"band,omitempty"` // no further than the highest load
}

// Estimate is a fitted value and its 95 % interval.
type Estimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Point is one repeat of one level.
type Point struct {
	Users  int     `json:"users"`
	Load   float64 `json:"concurrency"` // achieved: what is fitted
	Output float64 `json:"output_tokens_per_second"`
}

// BandPoint is the fit at one load, with its 95 % band.
type BandPoint struct {
	Load float64 `json:"concurrency"`
	Estimate
}

// The identifiability rule.
const (
	minLevels = 5
	nearK     = 2.0 // a level is near K between K/2 and 2K
	widestV   = 0.5 // (high - low) / value
	widestK   = 1.0
	resamples = 1000
)

// Fit fits points and judges whether they can bear it. The seed is the bootstrap's.
func Fit(points []Point, seed uint64) *Saturation {
	s := &Saturation{Points: points}
	levels := map[int]bool{}
	for _, p := range points {
		levels[p.Users] = true
		if !(p.Load > 0 && p.Output > 0) {
			return s.refuse("a level without output")
		}
	}
	if len(levels) < minLevels {
		return s.refuse("%d levels, at least %d are needed", len(levels), minLevels)
	}
	c, ok := fitCurve(points)
	if !ok {
		return s.refuse("the least squares do not converge: throughput grows in proportion, or not at all")
	}
	near := slices.ContainsFunc(points, func(p Point) bool { return p.Load >= c.k/nearK && p.Load <= c.k*nearK })
	if !near || c.k > highest(points) {
		return s.refuse("no level near K, which would be about %.3g", c.k)
	}
	return s.bound(c, seed)
}

func (s *Saturation) refuse(format string, args ...any) *Saturation {
	s.Why = "not identifiable: " + fmt.Sprintf(format, args...)
	return s
}

func highest(points []Point) float64 {
	return slices.MaxFunc(points, func(a, b Point) int { return int(math.Copysign(1, a.Load-b.Load)) }).Load
}

// bound adds the intervals, or refuses where they are too wide.
func (s *Saturation) bound(c curve, seed uint64) *Saturation {
	fits := bootstrap(s.Points, c, seed)
	if len(fits) < resamples*9/10 {
		return s.refuse("the fit breaks down under its own noise")
	}
	v := estimate(c.v, fits, func(c curve) float64 { return c.v })
	k := estimate(c.k, fits, func(c curve) float64 { return c.k })
	if v.High-v.Low > widestV*v.Value || k.High-k.Low > widestK*k.Value {
		return s.refuse("the interval is too wide: V %.4g to %.4g, K %.3g to %.3g", v.Low, v.High, k.Low, k.High)
	}
	s.Identifiable, s.V, s.K = true, &v, &k
	r2 := c.r2(s.Points)
	s.R2 = &r2
	const steps = 60
	top := highest(s.Points)
	for i := range steps {
		u := top * float64(i+1) / steps
		s.Band = append(s.Band, BandPoint{u, estimate(c.at(u), fits, func(c curve) float64 { return c.at(u) })})
	}
	return s
}

func estimate(value float64, fits []curve, of func(curve) float64) Estimate {
	v := make([]float64, len(fits))
	for i, c := range fits {
		v[i] = of(c)
	}
	slices.Sort(v)
	return Estimate{Value: value, Low: v[len(v)*25/1000], High: v[len(v)*975/1000]}
}

// bootstrap fits the curve again to itself plus its own relative residuals, drawn with replacement. Residuals of a fit
// with few degrees of freedom are too small and too few: they are widened by both.
func bootstrap(points []Point, c curve, seed uint64) []curve {
	n := len(points)
	free := n - 2
	wider := math.Sqrt(float64(n)/float64(free)) * student(free) / student(1<<20)
	residuals := make([]float64, n)
	mean := 0.0
	for i, p := range points {
		residuals[i] = (p.Output/c.at(p.Load) - 1) * wider
		mean += residuals[i] / float64(n)
	}
	rng := rand.New(rand.NewPCG(seed, 0x626f6f74))
	again := slices.Clone(points)
	var fits []curve
	for range resamples {
		for i, p := range points {
			again[i].Output = c.at(p.Load) * max(1e-3, 1+residuals[rng.IntN(n)]-mean)
		}
		if f, ok := fitCurve(again); ok {
			fits = append(fits, f)
		}
	}
	return fits
}
