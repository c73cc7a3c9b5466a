package cpu

import "math"

// A scan looks at a whole row of logits: scan.h has them in C, goScans in Go.
const (
	stretch = 1024 // elements that share a sum
	lanes   = 16   // element i belongs to lane i%lanes of stretch i/stretch
)

// scans are the passes over one row, one set per path. NaN counts as -Inf, +Inf as the largest float32.
type scans interface {
	// crest fills out with the largest logit of each lane of each stretch, lanes after lanes.
	crest(out, l []float32)
	// weigh fills p with exp((l - top) * by), unless it is nil, and sums with the sum of each stretch. p is lanes longer than l.
	weigh(sums []float64, p, l []float32, top, by float32)
	// masses adds each weight of at least 2^-40 to its bucket: see edge.
	masses(mass []float64, p []float32)
	// prune makes weights below least 0 and fills sums as weigh does. p has room for lanes more.
	prune(sums []float64, p []float32, least float32)
	// within fills ids, lanes longer than l, with the indices of what lies in [least, most], and returns their number.
	within(ids []int32, l []float32, least, most float32) int
	// more is the number of logits larger than than.
	more(l []float32, than float32) int
}

// goScans are the scans in Go.
type goScans struct{}

func (goScans) crest(out, l []float32) {
	for i := range out {
		out[i] = float32(math.Inf(-1))
	}
	for i, v := range l {
		at := &out[i/stretch*lanes+i%lanes]
		*at = max(*at, tame(v))
	}
}

func (goScans) weigh(sums []float64, p, l []float32, top, by float32) {
	clear(sums)
	for i, v := range l {
		w := float32(math.Exp(float64(tame(v)-top) * float64(by)))
		if sums[i/stretch] += float64(w); p != nil {
			p[i] = w
		}
	}
}

func (goScans) masses(mass []float64, p []float32) {
	for _, w := range p {
		if at := int(math.Float32bits(w)>>16) - leastBits; at >= 0 {
			mass[at] += float64(w)
		}
	}
}

func (goScans) prune(sums []float64, p []float32, least float32) {
	clear(sums)
	for i, w := range p {
		if w < least {
			p[i] = 0
		}
		sums[i/stretch] += float64(p[i])
	}
}

func (goScans) within(ids []int32, l []float32, least, most float32) int {
	n := 0
	for i, v := range l {
		if v >= least && v <= most {
			ids[n] = int32(i)
			n++
		}
	}
	return n
}

func (goScans) more(l []float32, than float32) int {
	n := 0
	for _, v := range l {
		if v > than {
			n++
		}
	}
	return n
}
