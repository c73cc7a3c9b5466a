package bench

import (
	"fmt"
	"math"
)

// suggest turns what is known of a workload into settings. Where a figure is missing, it says which.
func (a *Advice) suggest() []Recommendation {
	return []Recommendation{a.radix(), a.policy(), a.chunk()}
}

// noticeable is the least change of throughput, over all pairs, that counts as one.
const noticeable = 0.02

func (a *Advice) radix() Recommendation {
	r := Recommendation{Setting: "prefix cache", Value: "on", Basis: Computed}
	if m := a.Measured; m != nil && m.Valid && m.Throughput != nil {
		r.Basis = Measured
		t := m.Throughput
		r.Because = fmt.Sprintf("with it on, throughput is %.2f times that with it off (%.2f to %.2f over %d pairs)", t.Median, t.Min, t.Max, len(m.Pairs))
		if m.TTFT != nil {
			r.Because += fmt.Sprintf(" and the median TTFT %.2f times (%.2f to %.2f)", m.TTFT.Median, m.TTFT.Min, m.TTFT.Max)
		}
		switch {
		case t.Max < 1-noticeable:
			r.Value = "off"
		case t.Min <= 1+noticeable:
			r.Value = "either"
			r.Because += ": no difference that every pair shows"
		}
		return r
	}
	r.Because = fmt.Sprintf("an unlimited cache would save %.1f %% of the prompts' bytes; what that is worth in time was not measured", a.Overlap.Shared*100)
	if a.Overlap.Shared < noticeable {
		r.Value = "either"
	}
	return r
}

// policy matters to the cache only when it cannot keep everything.
func (a *Advice) policy() Recommendation {
	r := Recommendation{Setting: "schedule policy", Basis: Computed}
	if a.Overlap.Shared < noticeable {
		r.Value, r.Because = "fcfs", "nothing is shared, so no order finds more of it"
		return r
	}
	if a.TokenBytes == nil {
		r.Value, r.Because = "lpm", fmt.Sprintf("the order matters once the KV pool holds less than the %d distinct bytes of these prompts; their tokens were not counted", a.Overlap.Distinct)
		return r
	}
	distinct := float64(a.Overlap.Distinct) / *a.TokenBytes
	switch {
	case a.PoolTokens == nil:
		r.Value, r.Because = "lpm", fmt.Sprintf("the order matters once the KV pool holds less than about %.0f tokens, all of these prompts; the pool's size is not known", distinct)
	case distinct <= *a.PoolTokens:
		r.Value, r.Because = "either", fmt.Sprintf("the KV pool (%.0f tokens) keeps all of these prompts (about %.0f distinct tokens), so that every order finds the same", *a.PoolTokens, distinct)
	default:
		r.Value, r.Because = "lpm", fmt.Sprintf("the prompts have about %.0f distinct tokens and the KV pool %.0f: what is in the cache has to be asked for before it is evicted", distinct, *a.PoolTokens)
	}
	return r
}

// chunk fits what is left of a prompt after the cache, so that most prompts take one step.
func (a *Advice) chunk() Recommendation {
	r := Recommendation{Setting: "chunked prefill size", Value: "n/a", Basis: Computed}
	if a.TokenBytes == nil || a.Overlap.Rest == nil {
		r.Because = "the prompts' tokens were not counted: name a server or the model's directory"
		return r
	}
	rest := a.Overlap.Rest.P90 / *a.TokenBytes
	chunk := min(8192, max(128, math.Exp2(math.Ceil(math.Log2(max(1, rest))))))
	r.Value = fmt.Sprintf("%.0f", chunk)
	r.Because = fmt.Sprintf("after the cache, 9 of 10 prompts have at most about %.0f tokens left to compute; a larger chunk only lengthens the steps in which others decode", rest)
	if rest > chunk {
		r.Because = fmt.Sprintf("after the cache, prompts have up to about %.0f tokens left to compute: they are cut, so that others decode in between", rest)
	}
	return r
}

// suggest of a live server knows its counters only.
func (l *Live) suggest() []Recommendation {
	r := Recommendation{Setting: "prefix cache", Value: "n/a", Basis: Counted}
	when := fmt.Sprintf("in %.0f s", l.Seconds)
	if l.Seconds == 0 {
		when = "since the server's start"
	}
	switch {
	case l.Prompt == 0:
		r.Because = "no prompt was served: there is nothing to advise from"
	case l.Cached == nil:
		r.Because = fmt.Sprintf("%.0f prompt tokens were served %s, and the server does not count cached ones", l.Prompt, when)
	case *l.Cached == 0:
		r.Because = fmt.Sprintf("of %.0f prompt tokens served %s none came from the cache: it is off, or nothing is shared", l.Prompt, when)
	default:
		r.Value = "on"
		r.Because = fmt.Sprintf("of %.0f prompt tokens served %s %.1f %% came from the cache and were not computed", l.Prompt, when, *l.Cached/l.Prompt*100)
	}
	p := Recommendation{Setting: "schedule policy", Value: "n/a", Basis: Counted, Because: "the server does not say how many requests wait"}
	if l.Queued != nil {
		p.Value, p.Because = "lpm", fmt.Sprintf("%.0f requests wait: those whose prefix is cached can go first", *l.Queued)
		if *l.Queued == 0 {
			p.Value, p.Because = "either", "nothing waits, so there is no order"
		}
	}
	return []Recommendation{r, p}
}
