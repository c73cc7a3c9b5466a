package ref

import (
	"cmp"
	"math"
	"slices"

	"radish/kernels"
)

// Candidate is a token and its probability after temperature and filters.
type Candidate struct {
	Token int32
	P     float64
}

// Sample chooses one token for each row of logits.
func (b *Backend) Sample(out []kernels.SampleOut, logits kernels.Tensor, rows []kernels.SampleRow, last kernels.Tensor, slots []int32) {
	view("sample logits", logits, len(rows), -1, kernels.F32)
	must(len(out) == len(rows), "sample: %d results for %d rows", len(out), len(rows))
	must(slots == nil || len(slots) == len(rows), "sample: %d slots for %d rows", len(slots), len(rows))
	if slots != nil {
		view("sample last", last, 1, -1, kernels.I32)
	}
	for i := range rows {
		out[i] = choose(row(logits, i), &rows[i])
		if slots != nil && slots[i] >= 0 {
			introw(last, 0)[slots[i]] = out[i].Token
		}
	}
}

// choose makes the choice for one row and scores it.
func choose(logits []float32, r *kernels.SampleRow) kernels.SampleOut {
	raw := finite(logits)
	out := kernels.SampleOut{Token: r.Forced}
	if r.Forced < 0 {
		out.Token = Draw(Candidates(logits, r), r.U)
	}
	if r.Logprobs >= 0 {
		score(&out, raw, r.Logprobs)
	}
	return out
}

// finite is a copy of the logits in which NaN is -Inf and +Inf the largest float32.
func finite(logits []float32) []float32 {
	l := make([]float32, len(logits))
	for i, v := range logits {
		switch {
		case v != v:
			v = float32(math.Inf(-1))
		case v > math.MaxFloat32:
			v = math.MaxFloat32
		}
		l[i] = v
	}
	return l
}

// penalise applies bias, repetition, presence and frequency penalties, then the mask, to l.
func penalise(l []float32, r *kernels.SampleRow) {
	for i, t := range r.BiasToken {
		l[t] += r.BiasValue[i]
	}
	for _, c := range r.Counts {
		v := l[c.Token]
		if r.Repetition > 0 && c.Prompt+c.Output > 0 {
			if v > 0 {
				v /= r.Repetition
			} else {
				v *= r.Repetition
			}
		}
		if c.Output > 0 {
			v -= r.Presence
			v -= float32(r.Frequency * float32(c.Output))
		}
		l[c.Token] = v
	}
	for _, t := range r.Masked {
		l[t] = float32(math.Inf(-1))
	}
	copy(l, finite(l))
}

// byLogit is all ids, the largest logit first, the lower id first among equals.
func byLogit(l []float32) []int32 {
	ids := make([]int32, len(l))
	for i := range ids {
		ids[i] = int32(i)
	}
	slices.SortFunc(ids, func(a, b int32) int {
		if l[a] != l[b] {
			return cmp.Compare(l[b], l[a])
		}
		return cmp.Compare(a, b)
	})
	return ids
}

// Candidates is the distribution that a row is drawn from, the likeliest first: penalties, mask, temperature, top-k,
// top-p and min-p applied in this order, each on what the one before left, probabilities summing to 1. Greedy rows
// have one candidate. It is never empty: see kernels.SampleRow.
func Candidates(logits []float32, r *kernels.SampleRow) []Candidate {
	l := finite(logits)
	penalise(l, r)
	ids := byLogit(l)
	for len(ids) > 0 && math.IsInf(float64(l[ids[len(ids)-1]]), -1) {
		ids = ids[:len(ids)-1]
	}
	if len(ids) == 0 {
		return []Candidate{{0, 1}}
	}
	if r.Temperature <= 0 {
		return []Candidate{{ids[0], 1}}
	}
	if r.TopK > 0 && r.TopK < len(ids) {
		ids = ids[:r.TopK]
	}
	c := make([]Candidate, len(ids))
	for i, id := range ids {
		c[i] = Candidate{id, math.Exp((float64(l[id]) - float64(l[ids[0]])) / float64(r.Temperature))}
	}
	return minP(topP(renormalise(c), r.TopP), r.MinP)
}

// renormalise makes the probabilities sum to 1.
func renormalise(c []Candidate) []Candidate {
	sum := 0.0
	for i := range c {
		sum += c[i].P
	}
	for i := range c {
		c[i].P /= sum
	}
	return c
}

// topP keeps the fewest likeliest whose sum reaches p.
func topP(c []Candidate, p float32) []Candidate {
	if p <= 0 || p >= 1 {
		return c
	}
	sum := 0.0
	for i := range c {
		if sum += c[i].P; sum >= float64(p) {
			return renormalise(c[:i+1])
		}
	}
	return c
}

// minP keeps those with at least p times the largest probability.
func minP(c []Candidate, p float32) []Candidate {
	n := len(c)
	for n > 1 && c[n-1].P < float64(p)*c[0].P {
		n--
	}
	return renormalise(c[:n])
}

// Draw takes the lowest id at which the sum of probabilities, in rising order of ids, exceeds u.
func Draw(c []Candidate, u float64) int32 {
	c = append([]Candidate(nil), c...)
	slices.SortFunc(c, func(a, b Candidate) int { return cmp.Compare(a.Token, b.Token) })
	sum := 0.0
	for _, x := range c {
		if sum += x.P; sum > u {
			return x.Token
		}
	}
	// Rounding may leave the sum a hair under 1: the draw falls to the last id that has any probability.
	for i := len(c) - 1; i > 0; i-- {
		if c[i].P > 0 {
			return c[i].Token
		}
	}
	return c[0].Token
}

// score fills the log-probability and rank of out.Token, and the n likeliest, under the raw logits.
func score(out *kernels.SampleOut, raw []float32, n int) {
	ids := byLogit(raw)
	top, sum := float64(raw[ids[0]]), 0.0
	for _, v := range raw {
		if v == raw[ids[0]] {
			sum++ // also when every logit is -Inf and the difference would not be a number
			continue
		}
		sum += math.Exp(float64(v) - top)
	}
	logprob := func(id int32) float32 {
		if raw[id] == raw[ids[0]] {
			return float32(-math.Log(sum))
		}
		return float32(float64(raw[id]) - top - math.Log(sum))
	}
	out.Logprob, out.Rank = logprob(out.Token), 1
	for _, v := range raw {
		if v > raw[out.Token] {
			out.Rank++
		}
	}
	for _, id := range ids[:min(n, len(ids))] {
		out.TopID = append(out.TopID, id)
		out.TopLog = append(out.TopLog, logprob(id))
	}
}
