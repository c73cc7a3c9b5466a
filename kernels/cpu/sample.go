package cpu

import (
	"math"
	"slices"
	"sync"
	"unsafe"

	"radish/kernels"
)

// sampling is one queued call of Sample.
type sampling struct {
	out    []kernels.SampleOut
	logits view
	rows   []kernels.SampleRow
	last   view
	slots  []int32
}

// Sample queues a choice for each row. It overwrites logits where penalties apply.
func (b *Backend) Sample(out []kernels.SampleOut, logits kernels.Tensor, rows []kernels.SampleRow, last kernels.Tensor, slots []int32) {
	s := sampling{out: out, rows: rows, slots: slots, logits: see("sample logits", logits, len(rows), -1, kernels.F32)}
	want(len(out) == len(rows), "sample: %d results for %d rows", len(out), len(rows))
	want(slots == nil || len(slots) == len(rows), "sample: %d slots for %d rows", len(slots), len(rows))
	want(logits.Cols > 0 || len(rows) == 0, "sample: empty vocabulary")
	if slots != nil {
		s.last = see("sample last", last, 1, -1, kernels.I32)
		for _, slot := range slots {
			want(slot < s.last.cols, "sample: slot %d of %d", slot, s.last.cols)
		}
	}
	b.samples = append(b.samples, s)
	b.ops = append(b.ops, op{kind: kindSample, chunks: int32(len(b.samples) - 1)})
}

// sample runs one call, its rows shared among goroutines.
func (b *Backend) sample(s *sampling) {
	workers := max(1, min(b.threads, len(s.rows)))
	var wg sync.WaitGroup
	for g := range workers {
		work := func() {
			var c chooser
			for i := g; i < len(s.rows); i += workers {
				s.out[i] = c.choose(elements[float32](s.logits, i), &s.rows[i])
			}
		}
		if g == workers-1 {
			work()
		} else {
			wg.Go(work)
		}
	}
	wg.Wait()
	for i, slot := range s.slots {
		if slot >= 0 {
			elements[int32](s.last, 0)[slot] = s.out[i].Token
		}
	}
}

// tame is a logit with NaN as -Inf and +Inf as the largest float32.
func tame(v float32) float32 {
	switch {
	case v != v:
		return float32(math.Inf(-1))
	case v > math.MaxFloat32:
		return math.MaxFloat32
	}
	return v
}

// argmax is the lowest id of the largest tamed logit, 0 when nothing is above -Inf, and that logit.
func argmax(l []float32) (int32, float32) {
	best, at := float32(math.Inf(-1)), 0
	for i, v := range l {
		if v > best { // false for NaN; +Inf is looked at again
			if best, at = tame(v), i; best == math.MaxFloat32 {
				break
			}
		}
	}
	return int32(at), best
}

// chooser samples rows one after the other and keeps its scratch in between.
type chooser struct {
	ids  []int32
	p    []float64
	mass []float64 // by bucket
	part []ranked
}

type ranked struct {
	id    int32
	logit float32
	p     float64
}

func (c *chooser) choose(l []float32, r *kernels.SampleRow) kernels.SampleOut {
	out := kernels.SampleOut{Token: r.Forced}
	var s scorer
	if r.Logprobs >= 0 {
		s = newScorer(l)
		s.top(&out, l, r.Logprobs)
	}
	raw := float32(0)
	if r.Forced >= 0 {
		raw = tame(l[r.Forced])
	} else {
		// A score is of the raw logits, which penalise overwrites: undo restores those it touched.
		undo := penalise(l, r)
		out.Token = c.draw(l, r)
		undo()
		raw = tame(l[out.Token])
	}
	if r.Logprobs >= 0 {
		out.Logprob, out.Rank = s.logprob(raw), 1
		for _, v := range l {
			if tame(v) > raw {
				out.Rank++
			}
		}
	}
	return out
}

// penalise applies bias, penalties and mask to l; the returned func puts the raw logits back.
func penalise(l []float32, r *kernels.SampleRow) func() {
	type old struct {
		id int32
		v  float32
	}
	var olds []old
	set := func(t int32, v float32) {
		olds = append(olds, old{t, l[t]})
		l[t] = v
	}
	for i, t := range r.BiasToken {
		set(t, tame(l[t])+r.BiasValue[i])
	}
	for _, n := range r.Counts {
		v := tame(l[n.Token])
		if r.Repetition > 0 && n.Prompt+n.Output > 0 {
			if v > 0 {
				v /= r.Repetition
			} else {
				v *= r.Repetition
			}
		}
		if n.Output > 0 {
			v -= r.Presence
			v -= float32(r.Frequency * float32(n.Output))
		}
		set(n.Token, v)
	}
	for _, t := range r.Masked {
		set(t, float32(math.Inf(-1)))
	}
	return func() {
		for i := len(olds) - 1; i >= 0; i-- {
			l[olds[i].id] = olds[i].v
		}
	}
}

// draw chooses from the penalised logits.
func (c *chooser) draw(l []float32, r *kernels.SampleRow) int32 {
	best, top := argmax(l)
	if r.Temperature <= 0 || math.IsInf(float64(top), -1) {
		return best
	}
	c.ids = c.ids[:0]
	for i, v := range l {
		if v >= -math.MaxFloat32 {
			c.ids = append(c.ids, int32(i))
		}
	}
	if r.TopK > 0 && r.TopK < len(c.ids) {
		c.p = slices.Grow(c.p[:0], len(c.ids))[:len(c.ids)]
		for i := range c.p {
			c.p[i] = 1
		}
		c.likeliest(l, top, 64, float64(r.TopK))
	}
	c.p = c.p[:0]
	total := 0.0
	for _, id := range c.ids {
		p := math.Exp((float64(tame(l[id])) - float64(top)) / float64(r.Temperature))
		c.p = append(c.p, p)
		total += p
	}
	if r.TopP > 0 && r.TopP < 1 {
		c.likeliest(l, top, 128/float64(r.Temperature), float64(r.TopP)*total)
	}
	return c.pick(float64(r.MinP), r.U)
}

// buckets is how finely likeliest sorts logits before it sorts the one bucket that the cut falls into.
const buckets = 4096

// likeliest keeps of c.ids (and c.p) the fewest likeliest whose c.p sum to at least target; the lower id is likelier
// among equals. scale is buckets per unit of logit. The order of ids stays.
func (c *chooser) likeliest(l []float32, top float32, scale, target float64) {
	c.mass = slices.Grow(c.mass[:0], buckets)[:buckets]
	clear(c.mass)
	bucket := func(id int32) int {
		return int(min((float64(top)-float64(tame(l[id])))*scale, buckets-1))
	}
	for i, id := range c.ids {
		c.mass[bucket(id)] += c.p[i]
	}
	cut, sum := 0, 0.0
	for cut < buckets-1 && sum+c.mass[cut] < target {
		sum += c.mass[cut]
		cut++
	}
	c.part = c.part[:0]
	for i, id := range c.ids {
		if bucket(id) == cut {
			c.part = append(c.part, ranked{id, tame(l[id]), c.p[i]})
		}
	}
	slices.SortFunc(c.part, func(a, b ranked) int {
		switch {
		case a.logit > b.logit:
			return -1
		case a.logit < b.logit:
			return 1
		}
		return int(a.id - b.id)
	})
	if len(c.part) == 0 {
		return
	}
	at := 0
	for ; at < len(c.part)-1; at++ {
		if sum += c.part[at].p; sum >= target {
			break
		}
	}
	c.keep(l, c.part[at])
}

// keep drops the ids that rank after last.
func (c *chooser) keep(l []float32, last ranked) {
	n := 0
	for i, id := range c.ids {
		if v := tame(l[id]); v > last.logit || v == last.logit && id <= last.id {
			c.ids[n], c.p[n] = id, c.p[i]
			n++
		}
	}
	c.ids, c.p = c.ids[:n], c.p[:n]
}

// pick drops what is below minP of the largest and draws the lowest id whose cumulated probability exceeds u.
func (c *chooser) pick(minP, u float64) int32 {
	largest, total := slices.Max(c.p), 0.0
	for i, p := range c.p {
		if p < minP*largest {
			c.p[i] = 0
		}
		total += c.p[i]
	}
	sum, last := 0.0, c.ids[0]
	for i, p := range c.p {
		if p == 0 {
			continue
		}
		// Rounding may leave the sum a hair under 1: the draw then falls to the last id.
		if last, sum = c.ids[i], sum+p/total; sum > u {
			break
		}
	}
	return last
}

// scorer turns raw logits into log-probabilities.
type scorer struct{ best, logSum float64 }

func newScorer(l []float32) scorer {
	_, top := argmax(l)
	sum := 0.0
	for _, v := range l {
		if v = tame(v); v == top {
			sum++ // also when every logit is -Inf, whose difference is not a number
		} else {
			sum += math.Exp(float64(v) - float64(top))
		}
	}
	return scorer{float64(top), math.Log(sum)}
}

func (s scorer) logprob(raw float32) float32 {
	if float64(raw) == s.best {
		return float32(-s.logSum)
	}
	return float32(float64(raw) - s.best - s.logSum)
}

// top fills the n likeliest tokens.
func (s scorer) top(out *kernels.SampleOut, l []float32, n int) {
	n = min(n, len(l))
	best := make([]ranked, 0, n+1)
	for i, v := range l {
		v = tame(v)
		if n == 0 || len(best) == n && v <= best[n-1].logit {
			continue
		}
		at := len(best)
		for at > 0 && best[at-1].logit < v {
			at--
		}
		best = slices.Insert(best, at, ranked{id: int32(i), logit: v})
		best = best[:min(len(best), n)]
	}
	for _, x := range best {
		out.TopID = append(out.TopID, x.id)
		out.TopLog = append(out.TopLog, s.logprob(x.logit))
	}
}

// elements is row i of a view.
func elements[T float32 | uint16 | int32](v view, i int) []T {
	p := unsafe.Add(v.p, int64(i)*v.stride*int64(unsafe.Sizeof(*new(T))))
	return unsafe.Slice((*T)(p), int(v.cols))
}
