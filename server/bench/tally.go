package bench

import (
	"maps"
	"math"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// tally gathers a window's figures from its requests, without keeping the requests.
type tally struct {
	counts   Counts
	failures map[string]int
	inside   inside
	answers  answers
	times    times
	spans    []span    // every request
	received float64   // output tokens of every request, as far as usage or chunks tell
	bins     []float64 // output tokens of complete answers, by binWidth since the start
	sample   []counted // answers for the token check
	energy   *Energy
}

// inside is what fell into the window, whenever it was asked.
type inside struct {
	window, busy  float64 // seconds, request-seconds
	output, input float64 // tokens
	peak          int     // requests in flight
}

// answers sums over the complete answers to requests sent inside the window.
type answers struct {
	tokens, chunks, prompt, cached int
	noUsage, saysCached, good      int
	perUser                        float64
}

// times are latencies of those answers.
type times struct {
	ttft, tpot, e2e, jitter, late []float64
	gaps                          *hdrhistogram.Histogram
}

// span is a request's life; first is NaN without a first token.
type span struct{ sent, first, end float64 }

type counted struct {
	text   string
	tokens int
}

// binWidth is the finest part of the timeline, in seconds.
const binWidth = 0.01

// tokenSample is the number of answers of a repeat that the token check counts.
const tokenSample = 64

func newTally() *tally {
	return &tally{failures: map[string]int{}, times: times{gaps: newGaps()}}
}

func (t *tally) add(r *Request, w window, o *Options) {
	s := span{r.Sent, math.NaN(), r.End}
	if len(r.Chunks) > 0 {
		s.first = r.Chunks[0]
	}
	t.spans = append(t.spans, s)
	t.received += float64(max(r.Completion, len(r.Chunks)))
	if r.Outcome == Complete {
		t.produced(r, w)
	}
	if !r.Measured {
		t.counts.WarmUp++
		return
	}
	t.counts.Measured++
	t.times.late = append(t.times.late, r.Sent-r.Intended)
	switch r.Outcome {
	case Complete:
		t.counts.Complete++
		t.timed(r, o)
	case Incomplete:
		t.counts.Incomplete++
		t.failures["incomplete: "+r.Reason]++
	default:
		t.counts.Failed++
		t.failures[r.Reason]++
		if r.Reason == "429" {
			t.counts.Refused++
		}
	}
}

// produced counts a complete answer's tokens at the times they came.
func (t *tally) produced(r *Request, w window) {
	if r.Completion < 0 {
		return
	}
	at := r.Chunks
	if len(at) == 0 {
		at = []float64{r.End}
	}
	each := float64(r.Completion) / float64(len(at))
	for i, s := range at {
		if bin := int(s / binWidth); bin >= 0 {
			for len(t.bins) <= bin {
				t.bins = append(t.bins, 0)
			}
			t.bins[bin] += each
		}
		if s < w.opened || s >= w.closed {
			continue
		}
		if i == 0 {
			t.inside.input += float64(r.Prompt)
		}
		t.inside.output += each
	}
}

// timed takes the latencies of a complete answer sent inside the window.
func (t *tally) timed(r *Request, o *Options) {
	ttft, tpot, e2e := r.latencies()
	t.times.e2e = append(t.times.e2e, e2e)
	t.usage(r, e2e)
	if !math.IsNaN(ttft) {
		t.counts.Streamed++
		t.times.ttft = append(t.times.ttft, ttft)
	}
	if !math.IsNaN(tpot) {
		t.times.tpot = append(t.times.tpot, tpot)
	}
	t.gaps(r.Chunks)
	if o.SLO.keeps(ttft, tpot, e2e) {
		t.answers.good++
	}
	if o.Beside.Count != nil && r.Completion >= 0 && len(t.sample) < tokenSample {
		t.sample = append(t.sample, counted{r.text, r.Completion})
	}
}

// keeps is false where an asked figure is not a number.
func (s SLO) keeps(ttft, tpot, e2e float64) bool {
	return (s.TTFT == 0 || ttft <= s.TTFT) && (s.TPOT == 0 || tpot <= s.TPOT) && (s.E2E == 0 || e2e <= s.E2E)
}

func (t *tally) gaps(at []float64) {
	change, before := 0.0, math.NaN()
	for i := 1; i < len(at); i++ {
		gap := at[i] - at[i-1]
		countGap(t.times.gaps, gap)
		if i > 1 {
			change += math.Abs(gap - before)
		}
		before = gap
	}
	if len(at) > 2 {
		t.times.jitter = append(t.times.jitter, change/float64(len(at)-2))
	}
}

func (t *tally) usage(r *Request, e2e float64) {
	if r.Completion < 0 {
		t.answers.noUsage++
		return
	}
	a := &t.answers
	a.tokens += r.Completion
	a.chunks += len(r.Chunks)
	a.perUser += float64(r.Completion) / e2e
	a.prompt += max(r.Prompt, 0)
	if r.Cached >= 0 {
		a.saysCached++
		a.cached += r.Cached
	}
}

// close fills what needs the whole window.
func (t *tally) close(w window) {
	t.inside.window = w.closed - w.opened
	type edge struct {
		at   float64
		more int
	}
	var edges []edge
	for _, s := range t.spans {
		from, to := max(s.sent, w.opened), min(s.end, w.closed)
		if to > from {
			t.inside.busy += to - from
			edges = append(edges, edge{from, 1}, edge{to, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if a.at != b.at {
			return int(math.Copysign(1, a.at-b.at))
		}
		return a.more - b.more // one ends before the next begins
	})
	now := 0
	for _, e := range edges {
		now += e.more
		t.inside.peak = max(t.inside.peak, now)
	}
}

// merge adds other to t and forgets the repeat's timeline; t may be nil.
func (t *tally) merge(other *tally) *tally {
	if t == nil {
		t = newTally()
	}
	a, b := &t.counts, other.counts
	*a = Counts{a.Measured + b.Measured, a.Complete + b.Complete, a.Incomplete + b.Incomplete, a.Failed + b.Failed,
		a.Refused + b.Refused, a.Streamed + b.Streamed, a.WarmUp + b.WarmUp}
	for what, n := range other.failures {
		t.failures[what] += n
	}
	i, j := &t.inside, other.inside
	*i = inside{i.window + j.window, i.busy + j.busy, i.output + j.output, i.input + j.input, max(i.peak, j.peak)}
	t.answers.merge(other.answers)
	t.times.merge(other.times)
	t.sample = append(t.sample, other.sample...)
	t.energy = t.energy.merge(other.energy)
	return t
}

func (a *answers) merge(b answers) {
	*a = answers{a.tokens + b.tokens, a.chunks + b.chunks, a.prompt + b.prompt, a.cached + b.cached,
		a.noUsage + b.noUsage, a.saysCached + b.saysCached, a.good + b.good, a.perUser + b.perUser}
}

func (t *times) merge(o times) {
	t.ttft, t.tpot, t.e2e = append(t.ttft, o.ttft...), append(t.tpot, o.tpot...), append(t.e2e, o.e2e...)
	t.jitter, t.late = append(t.jitter, o.jitter...), append(t.late, o.late...)
	t.gaps.Merge(o.gaps)
}

// measures are the figures of t. asked is the number of users, 0 in an open loop.
func (t *tally) measures(asked int, o *Options) Measures {
	m := Measures{
		Window: t.inside.window, Counts: t.counts, Failures: maps.Clone(t.failures),
		Concurrency: Concurrency{Asked: asked, Peak: t.inside.peak}, Rates: t.rates(), Latency: t.latency(),
		Tokens: t.check(o.Beside.Count), Energy: t.energy,
	}
	if t.inside.window > 0 {
		m.Concurrency.Achieved = t.inside.busy / t.inside.window
	}
	if n := float64(t.counts.Complete - t.answers.noUsage); o.Beside.Device != nil && n > 0 {
		cached := 0.0
		if m.Rates.Cached != nil {
			cached = *m.Rates.Cached
		}
		c := contextsOf(float64(t.answers.prompt)/n, float64(t.answers.tokens)/n, cached)
		m.Roofline = o.Beside.Device.roofline(&m, c)
	}
	return m
}

func (t *tally) rates() Rates {
	var r Rates
	if n := t.counts.Complete - t.answers.noUsage; n > 0 {
		r.PerUser = t.answers.perUser / float64(n)
	}
	if w := t.inside.window; w > 0 {
		r.Output, r.Input = t.inside.output/w, t.inside.input/w
		r.Requests, r.Sent = float64(t.counts.Complete)/w, float64(t.counts.Measured)/w
		r.Goodput = float64(t.answers.good) / w
	}
	if t.counts.Measured > 0 {
		r.Good = float64(t.answers.good) / float64(t.counts.Measured)
	}
	if t.answers.saysCached > 0 && t.answers.prompt > 0 {
		ratio := float64(t.answers.cached) / float64(t.answers.prompt)
		r.Cached = &ratio
	}
	return r
}

func (t *tally) latency() Latency {
	l := Latency{
		TTFT: NewSpread(t.times.ttft), TPOT: NewSpread(t.times.tpot), E2E: NewSpread(t.times.e2e),
		Jitter: NewSpread(t.times.jitter), ICL: spreadOf(t.times.gaps),
	}
	if t.chunkIsToken() {
		l.ITL = l.ICL
	}
	return l
}

func (t *tally) chunkIsToken() bool {
	a := t.answers
	return a.noUsage == 0 && math.Abs(float64(a.chunks-a.tokens)) <= 0.05*float64(a.tokens)
}

// check counts the sampled answers with the model's own tokenizer.
func (t *tally) check(count func(string) int) *TokenCheck {
	if count == nil || len(t.sample) == 0 {
		return nil
	}
	c := &TokenCheck{Answers: len(t.sample)}
	for i := range t.sample {
		c.Said += t.sample[i].tokens
		c.Counted += count(t.sample[i].text)
	}
	return c
}
