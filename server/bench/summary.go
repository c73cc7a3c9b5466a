package bench

import "math"

// summary gathers a level's numbers from its requests.
type summary struct {
	*load
	Level
	ttft, tpot, itl, icl, e2e []float64
	perUser                   float64
	tokens, chunks            int
	noUsage, unstreamed       int
	prompt, cached            int
	saysCached                bool
	good                      int
}

// batches is the number of equal parts of the window whose rates are kept, for a test of significance.
const batches = 10

func summarize(l *load) Level {
	s := &summary{load: l, Level: Level{Users: l.users, Valid: true, Failures: map[string]int{}}}
	if !l.isOpen || l.closedAt <= l.opened {
		s.invalid("no steady window: every user must have had an answer before the end")
		s.isOpen = false
	} else {
		s.Window = l.closedAt - l.opened
	}
	s.Rates.Batches = make([]float64, batches)
	for i := range l.requests {
		s.add(&l.requests[i])
	}
	s.spreads()
	s.rates()
	s.verdict()
	return s.Level
}

func (s *summary) add(r *Request) {
	if s.isOpen {
		s.Busy += max(0, min(r.End, s.closedAt)-max(r.Sent, s.opened)) / s.Window
	}
	if r.Outcome == Complete {
		s.produced(r)
	}
	if !r.Measured {
		s.Counts.WarmUp++
		return
	}
	s.Counts.Measured++
	switch r.Outcome {
	case Complete:
		s.Counts.Complete++
		s.timed(r)
	case Incomplete:
		s.Counts.Incomplete++
		s.Failures["incomplete: "+r.Reason]++
	default:
		s.Counts.Failed++
		s.Failures[r.Reason]++
	}
}

// produced counts a complete answer's tokens at the times they came, whenever it was sent.
func (s *summary) produced(r *Request) {
	if r.Completion < 0 || !s.isOpen {
		return
	}
	at := r.Chunks
	if len(at) == 0 {
		at = []float64{r.End}
	}
	each := float64(r.Completion) / float64(len(at))
	for i, t := range at {
		if t < s.opened || t >= s.closedAt {
			continue
		}
		if i == 0 {
			s.Rates.Input += float64(r.Prompt) / s.Window
		}
		s.Rates.Output += each / s.Window
		part := min(batches-1, int((t-s.opened)/s.Window*batches))
		s.Rates.Batches[part] += each / (s.Window / batches)
	}
}

// timed takes the latencies of a complete answer sent inside the window.
func (s *summary) timed(r *Request) {
	e2e := r.End - r.Intended
	s.e2e = append(s.e2e, e2e)
	s.usage(r, e2e)
	ttft, tpot := math.NaN(), math.NaN()
	if len(r.Chunks) > 0 {
		ttft = r.Chunks[0] - r.Intended
		s.ttft = append(s.ttft, ttft)
	} else {
		s.unstreamed++
	}
	if len(r.Chunks) > 0 && r.Completion > 1 {
		tpot = (e2e - ttft) / float64(r.Completion-1)
		s.tpot = append(s.tpot, tpot)
	}
	for i := 1; i < len(r.Chunks); i++ {
		s.icl = append(s.icl, r.Chunks[i]-r.Chunks[i-1])
	}
	slo := s.opts.SLO
	if (slo.TTFT == 0 || ttft <= slo.TTFT.Seconds()) && (slo.TPOT == 0 || tpot <= slo.TPOT.Seconds()) {
		s.good++
	}
}

func (s *summary) usage(r *Request, e2e float64) {
	if r.Completion < 0 {
		s.noUsage++
		return
	}
	s.tokens += r.Completion
	s.chunks += len(r.Chunks)
	s.perUser += float64(r.Completion) / e2e
	s.prompt += r.Prompt
	if r.Cached >= 0 {
		s.saysCached = true
		s.cached += r.Cached
	}
}

func (s *summary) spreads() {
	s.TTFT, s.TPOT, s.E2E = NewSpread(s.ttft), NewSpread(s.tpot), NewSpread(s.e2e)
	s.ICL = NewSpread(s.icl)
	if s.noUsage == 0 && math.Abs(float64(s.chunks-s.tokens)) <= 0.05*float64(s.tokens) {
		s.ITL = s.ICL
	} else if s.ICL != nil {
		s.because("%d chunks for %d tokens: a chunk is not a token, ITL is n/a", s.chunks, s.tokens)
	}
}

func (s *summary) rates() {
	if n := s.Counts.Complete - s.noUsage; n > 0 {
		s.Rates.PerUser = s.perUser / float64(n)
	}
	if s.Window > 0 {
		s.Rates.Requests = float64(s.Counts.Complete) / s.Window
		s.Rates.Goodput = float64(s.good) / s.Window
	}
	if s.saysCached && s.prompt > 0 {
		ratio := float64(s.cached) / float64(s.prompt)
		s.Rates.Cached = &ratio
	}
}

func (s *summary) verdict() {
	if s.Counts.Complete == 0 {
		s.invalid("no complete answer among %d", s.Counts.Measured)
	}
	if s.noUsage > 0 {
		s.invalid("%d answers without usage: their tokens are unknown", s.noUsage)
	}
	if s.unstreamed > 0 {
		s.because("%d answers were not streamed: they have no TTFT", s.unstreamed)
	}
	if s.users > 0 && s.Busy < 0.95*float64(s.users) {
		s.because("%.1f requests in flight on average, %d asked", s.Busy, s.users)
	}
}
