package bench

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// batches is the number of equal parts of the window whose rates are kept.
const batches = 10

// summarize turns what a load saw into a repeat.
func summarize(l *load, w *watch, idle *float64) Repeat {
	r := Repeat{Valid: true}
	if steady := l.window.isClosed() && l.window.closed > l.window.opened; steady {
		r.Opened, r.Closed = l.window.opened, l.window.closed
		l.tally.close(l.window)
		r.Batches = l.tally.parts(l.window, batches)
		r.Drift = drift(r.Batches, l.tally.counts.Complete)
		l.tally.energy = w.energy(l.window, l.tally.inside.output, idle)
	} else {
		r.invalid("no steady window: every user must have had an answer before the end")
	}
	r.Measures = l.tally.measures(l.users, l.opts)
	r.Health = w.health(&r.Measures, l.tally.times.late)
	r.Timeline, r.Telemetry = l.tally.timeline(), w.series()
	r.judge(l)
	for _, m := range []*Spread{r.Latency.TTFT, r.Latency.TPOT, r.Latency.ITL, r.Latency.ICL, r.Latency.E2E, r.Latency.Jitter} {
		if m != nil {
			m.Quantiles = nil // a level's are enough
		}
	}
	return r
}

func (r *Repeat) because(format string, args ...any) {
	r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...))
}

func (r *Repeat) invalid(format string, args ...any) {
	r.Valid = false
	r.because(format, args...)
}

// judge says what makes the figures void, and what to know beside them.
func (r *Repeat) judge(l *load) {
	a := l.tally.answers
	if r.Counts.Complete == 0 {
		r.invalid("no complete answer among %d", r.Counts.Measured)
	}
	if a.noUsage > 0 {
		r.invalid("%d answers without usage: their tokens are unknown", a.noUsage)
	}
	if a.tokens > 0 && float64(a.chunks) > 1.05*float64(a.tokens) {
		r.invalid("usage says %d output tokens, which came in %d chunks", a.tokens, a.chunks)
	}
	r.checkTokens(l.opts.Target.Natural)
	if r.Roofline != nil {
		for _, why := range r.Roofline.Impossible {
			r.invalid("impossible: %s", why)
		}
	}
	r.remark(l)
}

// checkTokens voids what the model's tokenizer contradicts. An answer that goes on after the model's end (ignore_eos) has
// control tokens that are counted and not shown, so that there only too few can be wrong.
func (r *Repeat) checkTokens(natural bool) {
	t := r.Tokens
	if t == nil {
		return
	}
	allowed := 0.1*float64(t.Said) + float64(t.Answers)
	switch more := float64(t.Counted - t.Said); {
	case more > allowed, natural && -more > allowed:
		r.invalid("usage says %d output tokens, the model's tokenizer %d", t.Said, t.Counted)
	case -more > allowed:
		r.because("usage says %d output tokens, their text has %d: with ignore_eos the rest may be control tokens", t.Said, t.Counted)
	}
}

func (r *Repeat) remark(l *load) {
	if n := r.Counts.Complete - r.Counts.Streamed; n > 0 {
		r.because("%d answers were not streamed: they have no TTFT", n)
	}
	if r.Latency.ICL != nil && !l.tally.chunkIsToken() {
		r.because("%d chunks for %d tokens: a chunk is not a token, ITL is n/a", l.tally.answers.chunks, l.tally.answers.tokens)
	}
	if got := r.Concurrency.Achieved; l.users > 0 && got < 0.95*float64(l.users) {
		r.because("%.1f requests in flight on average, %d asked", got, l.users)
	}
	if l.rate > 0 && r.Rates.Requests < 0.95*r.Rates.Sent {
		r.because("%.2f answers per second, %.2f asked", r.Rates.Requests, r.Rates.Sent)
	}
	if r.Drift != nil && math.Abs(*r.Drift) > 0.1 {
		r.because("not steady: output changes by %+.0f %% inside the window", *r.Drift*100)
	}
	if r.Health != nil && r.Health.Bottleneck {
		r.because("the client was the bottleneck: %s", r.Health.Why)
	}
	if made := grew(r.Telemetry, "output_tokens"); made > 1.1*l.tally.received+100 {
		r.because("the server made %.0f tokens, of which %.0f came here: others use it", made, l.tally.received)
	}
	if l.opts.SLO.TTFT > 0 && r.Latency.TTFT == nil && r.Counts.Complete > 0 {
		r.because("goodput asks for a TTFT, and there is none")
	}
}

// grew is how much a counter grew during the load; 0: it was not read.
func grew(series []Series, name string) float64 {
	for _, s := range series {
		if n := len(s.Values); s.Name == name && n > 1 {
			return s.Values[n-1] - s.Values[0]
		}
	}
	return 0
}

// drift compares the halves of the window. It is null where there are too few answers to tell, or where the parts differ
// among themselves so much that the halves would by chance.
func drift(parts []float64, complete int) *float64 {
	if complete < 2*batches {
		return nil
	}
	a, sa := moments(parts[:len(parts)/2])
	b, sb := moments(parts[len(parts)/2:])
	mean := (a + b) / 2
	if mean == 0 {
		return nil
	}
	d := (b - a) / mean
	const t999 = 4.5 // the 99.9 % point of Student's t for ten parts: one false alarm in 500 windows
	if half := float64(len(parts) / 2); math.Abs(b-a) < t999*math.Sqrt((sa*sa+sb*sb)/half) {
		d = 0
	}
	return &d
}

// parts are the output rates in n equal parts of the window.
func (t *tally) parts(w window, n int) []float64 {
	rates := make([]float64, n)
	width := (w.closed - w.opened) / float64(n)
	for i, tokens := range t.bins {
		at := (float64(i) + 0.5) * binWidth
		if at >= w.opened && at < w.closed {
			rates[min(n-1, int((at-w.opened)/width))] += tokens / width
		}
	}
	return rates
}

// maxSamples is the longest timeline.
const maxSamples = 600

// timeline cuts the repeat, warm-up and drain included, into at most maxSamples parts.
func (t *tally) timeline() []Sample {
	end := 0.0
	for _, s := range t.spans {
		end = max(end, s.end)
	}
	per := max(10, int(math.Ceil(end/binWidth/maxSamples))) // bins of a sample: at least 0.1 s
	width := float64(per) * binWidth
	samples := make([]Sample, int(end/width)+1)
	for i := range samples {
		samples[i].Time, samples[i].Width = float64(i)*width, width
	}
	for i, tokens := range t.bins {
		if at := i / per; at < len(samples) {
			samples[at].Output += tokens / width
		}
	}
	for _, s := range t.spans {
		over(samples, s.sent, s.end, func(x *Sample, part float64) { x.InFlight += part })
		until := s.first
		if math.IsNaN(until) {
			until = s.end
		}
		over(samples, s.sent, until, func(x *Sample, part float64) { x.Waiting += part })
	}
	return samples
}

// over visits the samples that from..to touches, with the part of each that it covers.
func over(samples []Sample, from, to float64, visit func(*Sample, float64)) {
	width := samples[0].Width
	for i := max(0, int(from/width)); i < len(samples) && samples[i].Time < to; i++ {
		covered := min(to, samples[i].Time+width) - max(from, samples[i].Time)
		visit(&samples[i], max(0, covered)/width)
	}
}

// finish makes the levels of their repeats, and what needs all levels.
func (r *run) finish() {
	res := r.result
	for i, p := range r.levels {
		if len(p.repeats) > 0 {
			res.Levels = append(res.Levels, r.makeLevel(i, p))
		}
	}
	res.efficiency()
	if len(r.opts.Users) > 0 && len(res.Levels) > 0 {
		res.Saturation = Fit(res.points(), r.opts.Seed)
	}
	for _, l := range res.Levels {
		res.Valid = res.Valid || l.Valid
	}
	for _, l := range res.Levels {
		if l.Roofline != nil && len(l.Roofline.Impossible) > 0 {
			res.Valid = false
			res.Reasons = append(res.Reasons, "impossible: "+l.Roofline.Impossible[0])
		}
	}
}

func (r *run) makeLevel(i int, p pooled) Level {
	l := Level{Valid: true, Repeats: p.repeats}
	if len(r.opts.Users) > 0 {
		l.Users = r.opts.Users[i]
	} else {
		l.Rate = r.opts.Rates[i]
	}
	l.Measures = p.tally.measures(l.Users, r.opts)
	for _, rep := range p.repeats {
		l.Valid = l.Valid && rep.Valid
		l.Health = l.Health.worse(rep.Health)
		for _, why := range rep.Reasons {
			if len(p.repeats) > 1 {
				why = fmt.Sprintf("repeat %d: %s", rep.Number, why)
			}
			l.Reasons = append(l.Reasons, why)
		}
	}
	l.Intervals = intervals(p.repeats)
	return l
}

// figures are what a level's intervals are given for, and what two results are compared by.
var figures = []struct {
	name   string
	higher bool // is better
	of     func(*Measures) (float64, bool)
}{
	{"output_tokens_per_second", true, func(m *Measures) (float64, bool) { return m.Rates.Output, m.Rates.Output > 0 }},
	{"requests_per_second", true, func(m *Measures) (float64, bool) { return m.Rates.Requests, m.Rates.Requests > 0 }},
	{"goodput_per_second", true, func(m *Measures) (float64, bool) { return m.Rates.Goodput, m.Rates.Goodput > 0 }},
	{"ttft_p50_seconds", false, func(m *Measures) (float64, bool) { return m.Latency.TTFT.p(50) }},
	{"ttft_p99_seconds", false, func(m *Measures) (float64, bool) { return m.Latency.TTFT.p(99) }},
	{"tpot_p50_seconds", false, func(m *Measures) (float64, bool) { return m.Latency.TPOT.p(50) }},
	{"tpot_p99_seconds", false, func(m *Measures) (float64, bool) { return m.Latency.TPOT.p(99) }},
	{"e2e_p50_seconds", false, func(m *Measures) (float64, bool) { return m.Latency.E2E.p(50) }},
	{"e2e_p99_seconds", false, func(m *Measures) (float64, bool) { return m.Latency.E2E.p(99) }},
}

func (s *Spread) p(percent int) (float64, bool) {
	switch {
	case s == nil:
		return 0, false
	case percent == 99:
		return s.P99, true
	}
	return s.P50, true
}

func intervals(repeats []Repeat) map[string]Interval {
	all := map[string]Interval{}
	for _, f := range figures {
		var v []float64
		for i := range repeats {
			if x, ok := f.of(&repeats[i].Measures); ok {
				v = append(v, x)
			}
		}
		if iv, ok := newInterval(v); ok && len(v) == len(repeats) {
			all[f.name] = iv
		}
	}
	return all
}

// efficiency sets each closed-loop level against the one with the fewest users.
func (r *Result) efficiency() {
	if len(r.Levels) < 2 || r.Plan.Loop != "closed" {
		return
	}
	least := slices.MinFunc(r.Levels, func(a, b Level) int { return cmp.Compare(a.Users, b.Users) })
	one := least.Rates.Output / float64(least.Users)
	for i := range r.Levels {
		if l := &r.Levels[i]; one > 0 {
			e := l.Rates.Output / float64(l.Users) / one
			l.Efficiency = &e
		}
	}
}

// points are the valid repeats, for the fit.
func (r *Result) points() []Point {
	var points []Point
	for _, l := range r.Levels {
		for _, rep := range l.Repeats {
			if !rep.Valid {
				continue
			}
			points = append(points, Point{l.Users, rep.Concurrency.Achieved, rep.Rates.Output})
		}
	}
	return points
}
