package cpu

import (
	"math"
	"slices"

	"radish/kernels"
)

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

// chooser samples rows one after the other and keeps its scratch in between.
type chooser struct {
	scan  scans
	crest []float32 // of the row at hand
	top   float32   // its largest logit, tamed
	sums  []float64 // weight of each stretch
	light []float32 // weight of each logit
	mass  []float64 // weight of each bucket
	room  []int32
	ids   []int32 // candidates in rising order, and their weights
	p     []float64
	part  []ranked
}

// ranked is a token with the weight that it adds to a sum.
type ranked struct {
	id    int32
	logit float32
	p     float64
}

// before orders by falling logits, then rising ids.
func (a ranked) before(b ranked) bool { return a.logit > b.logit || a.logit == b.logit && a.id < b.id }

func (c *chooser) choose(l []float32, r *kernels.SampleRow) kernels.SampleOut {
	out := kernels.SampleOut{Token: r.Forced}
	if r.Forced >= 0 && r.Logprobs < 0 {
		return out
	}
	var s scorer
	c.survey(l)
	if r.Logprobs >= 0 {
		s = c.scorer(l)
		c.alternatives(&out, l, s, r.Logprobs)
	}
	if r.Forced < 0 {
		// A score is of the raw logits, which penalise overwrites: undo restores those it touched.
		top, undo := c.top, penalise(l, r)
		if undo != nil {
			c.survey(l)
		}
		out.Token = c.draw(l, r)
		if undo != nil {
			undo()
			c.top = top
		}
	}
	if r.Logprobs >= 0 {
		raw := tame(l[out.Token])
		out.Logprob, out.Rank = s.logprob(raw), 1
		if raw < c.top {
			out.Rank += int32(c.scan.more(l, raw))
		}
	}
	return out
}

// survey takes the crest of l and the largest logit.
func (c *chooser) survey(l []float32) {
	n := (len(l) + stretch - 1) / stretch
	c.crest = slices.Grow(c.crest[:0], n*lanes)[:n*lanes]
	c.scan.crest(c.crest, l)
	c.top = slices.Max(c.crest)
}

// penalise applies bias, penalties and mask to l; the returned func puts the raw logits back, and is nil when
// nothing was touched.
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
	if len(olds) == 0 {
		return nil
	}
	return func() {
		for i := len(olds) - 1; i >= 0; i-- {
			l[olds[i].id] = olds[i].v
		}
	}
}

// first is the lowest id of the largest logit, 0 when nothing is above -Inf.
func (c *chooser) first(l []float32) int32 {
	if math.IsInf(float64(c.top), -1) {
		return 0
	}
	for i := slices.Index(c.crest, c.top) / lanes * stretch; ; i++ {
		if tame(l[i]) == c.top {
			return int32(i)
		}
	}
}

// draw chooses from the penalised logits that were surveyed.
func (c *chooser) draw(l []float32, r *kernels.SampleRow) int32 {
	nucleus := r.TopP > 0 && r.TopP < 1
	if !(r.Temperature > 0) || math.IsInf(float64(c.top), -1) {
		return c.first(l)
	}
	if r.TopK > 0 && r.TopK < len(l) {
		c.likeliest(l, r.TopK, float64(r.Temperature))
		if nucleus {
			c.keep(l, cut(c.part, float64(r.TopP)*total(c.p)))
		}
		return c.pick(float64(r.MinP), r.U)
	}
	sum, least := c.weigh(l, r.Temperature), min(r.MinP, 1)
	if nucleus {
		least = max(least, c.nucleus(l, float64(r.TopP)*sum))
	}
	if least > 0 {
		c.scan.prune(c.sums, c.light, least)
		sum = total(c.sums)
	}
	return c.walk(r.U * sum)
}

// candidates makes c.ids the indices of x that lie in [least, most].
func (c *chooser) candidates(x []float32, least, most float32) {
	c.room = slices.Grow(c.room[:0], len(x)+lanes)[:len(x)+lanes]
	c.ids = c.room[:c.scan.within(c.room, x, least, most)]
}

// ranking makes c.part hold at least the k likeliest tokens of l, of those above -Inf. The k-th largest of the crest
// bounds the k-th largest logit from below, for each element of the crest is a logit of its own.
func (c *chooser) ranking(l []float32, k int) {
	least := float32(-math.MaxFloat32)
	if k < len(c.crest) {
		c.part = c.part[:0]
		for i, v := range c.crest {
			c.part = append(c.part, ranked{int32(i), v, 1})
		}
		least = max(least, cut(c.part, float64(k)).logit)
	}
	c.candidates(l, least, float32(math.Inf(1)))
	c.part = c.part[:0]
	for _, id := range c.ids {
		c.part = append(c.part, ranked{id, tame(l[id]), 1})
	}
}

// likeliest makes the k likeliest tokens candidates, and weighs them.
func (c *chooser) likeliest(l []float32, k int, temperature float64) {
	c.ranking(l, k)
	last := cut(c.part, float64(k))
	c.p = slices.Grow(c.p[:0], len(c.ids))[:len(c.ids)]
	c.keep(l, last)
	c.part = c.part[:0]
	for i, id := range c.ids {
		v := tame(l[id])
		c.p[i] = math.Exp((float64(v) - float64(c.top)) / temperature)
		c.part = append(c.part, ranked{id, v, c.p[i]})
	}
}

// cut finds the last of the fewest first of part, in ranked's order, whose p sum to at least target; the last of all
// when none do. It reorders part: Hoare's selection with sums.
func cut(part []ranked, target float64) ranked {
	for len(part) > 1 {
		n, sum := split(part)
		switch {
		case n > 0 && sum >= target:
			part = part[:n]
		case n+1 == len(part) || sum+part[n].p >= target:
			return part[n]
		default:
			target -= sum + part[n].p
			part = part[n+1:]
		}
	}
	return part[0]
}

// split moves what ranks before a pivot, the middle one of three, to the front. The pivot then stands at n; sum is of
// what stands before it.
func split(part []ranked) (n int, sum float64) {
	end, mid := len(part)-1, len(part)/2
	if part[mid].before(part[0]) {
		part[mid], part[0] = part[0], part[mid]
	}
	if part[end].before(part[mid]) {
		part[mid], part[end] = part[end], part[mid]
		if part[mid].before(part[0]) {
			part[mid], part[0] = part[0], part[mid]
		}
	}
	part[mid], part[end] = part[end], part[mid]
	pivot := part[end]
	for i, x := range part[:end] {
		if x.before(pivot) {
			part[i], part[n] = part[n], x
			sum += x.p
			n++
		}
	}
	part[n], part[end] = part[end], part[n]
	return n, sum
}

// keep drops the candidates that rank after last.
func (c *chooser) keep(l []float32, last ranked) {
	n := 0
	for i, id := range c.ids {
		if x := (ranked{id: id, logit: tame(l[id])}); !last.before(x) {
			c.ids[n], c.p[n] = id, c.p[i]
			n++
		}
	}
	c.ids, c.p = c.ids[:n], c.p[:n]
}

// pick drops what is below minP of the largest and draws the lowest id whose cumulated probability exceeds u.
func (c *chooser) pick(minP, u float64) int32 {
	least := min(minP, 1) * slices.Max(c.p)
	sum := 0.0
	for i, p := range c.p {
		if p < least {
			c.p[i] = 0
		}
		sum += c.p[i]
	}
	sum *= u
	at, last := 0.0, c.ids[0]
	for i, p := range c.p {
		if p == 0 {
			continue
		}
		// Rounding may leave the sum a hair short: the draw then falls to the last id.
		if last, at = c.ids[i], at+p; at > sum {
			break
		}
	}
	return last
}

func total(p []float64) float64 {
	sum := 0.0
	for _, x := range p {
		sum += x
	}
	return sum
}
