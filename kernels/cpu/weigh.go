package cpu

import (
	"math"
	"slices"

	"radish/kernels"
)

// Buckets of top-p: weights between 2^-40 and 1, 128 to a power of two, by the leading 16 bits of a float32. What is
// lighter could not move the sum of a vocabulary by 2^-20, and is left out.
const (
	leastBits = 0x3f80 - 40*128
	buckets   = 40*128 + 1
)

// edge is the least weight of a bucket.
func edge(bucket int) float32 { return math.Float32frombits(uint32(bucket+leastBits) << 16) }

// stretches makes room for a sum per stretch.
func (c *chooser) stretches(l []float32) {
	n := (len(l) + stretch - 1) / stretch
	c.sums = slices.Grow(c.sums[:0], n)[:n]
}

// weigh fills c.light with exp((l - top) / temperature) and returns the sum.
func (c *chooser) weigh(l []float32, temperature float32) float64 {
	c.stretches(l)
	room := slices.Grow(c.light[:0], len(l)+lanes)[:len(l)+lanes]
	// An infinite factor would make 0 * Inf of the top itself, one of zero Inf * 0 of what is masked.
	const least = 0x1p-126
	c.scan.weigh(c.sums, room, l, c.top, max(least, min(1/temperature, math.MaxFloat32)))
	c.light = room[:len(l)]
	return total(c.sums)
}

// walk is the lowest id at which the sum of weights exceeds target.
func (c *chooser) walk(target float64) int32 {
	s, sum := 0, 0.0
	for ; s < len(c.sums)-1 && sum+c.sums[s] <= target; s++ {
		sum += c.sums[s]
	}
	for c.sums[s] == 0 { // target was a hair beyond the end
		s--
	}
	last, from := 0, s*stretch
	for i, p := range c.light[from:min(from+stretch, len(c.light))] {
		if p == 0 {
			continue
		}
		if last, sum = from+i, sum+float64(p); sum > target {
			break
		}
	}
	return int32(last)
}

// nucleus finds the fewest likeliest tokens whose weights sum to at least target: what weighs less than it returns is
// out. Buckets above the one that the target falls into are in; that one is cut exactly, and what is out of it weighs 0.
func (c *chooser) nucleus(l []float32, target float64) float32 {
	c.mass = slices.Grow(c.mass[:0], buckets)[:buckets]
	clear(c.mass)
	c.scan.masses(c.mass, c.light)
	at := buckets - 1
	for ; at > 0 && c.mass[at] < target; at-- {
		target -= c.mass[at]
	}
	c.candidates(c.light, edge(at), math.Nextafter32(edge(at+1), 0))
	c.part = c.part[:0]
	for _, id := range c.ids {
		c.part = append(c.part, ranked{id, tame(l[id]), float64(c.light[id])})
	}
	if len(c.part) > 0 {
		last := cut(c.part, target)
		for _, x := range c.part {
			if last.before(x) {
				c.light[x.id] = 0
			}
		}
	}
	return edge(at)
}

// scorer turns raw logits into log-probabilities.
type scorer struct{ best, logSum float64 }

// scorer sums over the raw logits that were surveyed.
func (c *chooser) scorer(l []float32) scorer {
	if math.IsInf(float64(c.top), -1) {
		return scorer{float64(c.top), math.Log(float64(len(l)))}
	}
	c.stretches(l)
	c.scan.weigh(c.sums, nil, l, c.top, 1)
	return scorer{float64(c.top), math.Log(total(c.sums))}
}

func (s scorer) logprob(raw float32) float32 {
	if float64(raw) == s.best {
		return float32(-s.logSum)
	}
	return float32(float64(raw) - s.best - s.logSum)
}

// alternatives fills the n likeliest tokens, those at -Inf included when nothing else is left.
func (c *chooser) alternatives(out *kernels.SampleOut, l []float32, s scorer, n int) {
	if n = min(n, len(l)); n == 0 {
		return
	}
	c.ranking(l, n)
	if len(c.part) > n {
		last := cut(c.part, float64(n))
		c.part = slices.DeleteFunc(c.part, last.before)
	}
	slices.SortFunc(c.part, func(a, b ranked) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	for i := 0; len(c.part) < n; i++ {
		if v := tame(l[i]); math.IsInf(float64(v), -1) {
			c.part = append(c.part, ranked{id: int32(i), logit: v})
		}
	}
	for _, x := range c.part {
		out.TopID = append(out.TopID, x.id)
		out.TopLog = append(out.TopLog, s.logprob(x.logit))
	}
}
