package bench

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestKnownTimings(t *testing.T) {
	l, res := measure(t, &fake{}, Options{Users: []int{10}, Requests: 500})
	if !l.Valid || l.Latency.ITL == nil {
		t.Fatalf("not valid: %+v", l)
	}
	e2e := (fakeTTFT + (fakeTokens-1)*fakeITL).Seconds()
	near(t, "ttft p50", l.Latency.TTFT.P50, fakeTTFT.Seconds())
	near(t, "ttft p99", l.Latency.TTFT.P99, fakeTTFT.Seconds())
	near(t, "tpot", l.Latency.TPOT.P95, fakeITL.Seconds())
	near(t, "itl", l.Latency.ITL.P50, fakeITL.Seconds())
	near(t, "e2e", l.Latency.E2E.P99, e2e)
	near(t, "output", l.Rates.Output, 10*fakeTokens/e2e)
	near(t, "input", l.Rates.Input, 10*100/e2e)
	near(t, "concurrency", l.Concurrency.Achieved, 10)
	near(t, "cached", *l.Rates.Cached, 0.25)
	if b, _ := json.Marshal(res); strings.Contains(string(b), "sentinel") {
		t.Error("the key or password is in the result")
	}
}

func TestErrorsMoveNoLatency(t *testing.T) {
	l, _ := measure(t, &fake{errors: 0.05}, Options{Users: []int{10}, Requests: 500})
	if l.Failures["500"] < 10 || l.Counts.Complete+l.Counts.Failed != l.Counts.Measured {
		t.Fatalf("counts %+v failures %v", l.Counts, l.Failures)
	}
	near(t, "ttft max", l.Latency.TTFT.Max, fakeTTFT.Seconds())
	near(t, "e2e max", l.Latency.E2E.Max, 0.34)
}

func TestStallShowsInOpenLoop(t *testing.T) {
	calm, _ := measure(t, &fake{}, Options{Rates: []float64{40}, Requests: 800, Seed: 3})
	near(t, "calm p99", calm.Latency.TTFT.P99, fakeTTFT.Seconds())
	l, _ := measure(t, &fake{stallAt: 10 * time.Second}, Options{Rates: []float64{40}, Requests: 800, Seed: 3})
	near(t, "p50", l.Latency.TTFT.P50, fakeTTFT.Seconds())
	if l.Latency.TTFT.P99 < 0.8 || l.Latency.TTFT.Max > 1.16 {
		t.Errorf("a stall of 1 s gives p99 %v, max %v", l.Latency.TTFT.P99, l.Latency.TTFT.Max)
	}
}

// TestTruthWithJitterErrorsAndStall is all at once: what the server says of itself is what is reported.
func TestTruthWithJitterErrorsAndStall(t *testing.T) {
	f := &fake{jitter: 0.1, errors: 0.05, stallAt: 30 * time.Second}
	l, _ := measure(t, f, Options{Rates: []float64{30}, Requests: 1500, Seed: 5})
	if !l.Valid || l.Counts.Failed < 45 || l.Counts.Complete+l.Counts.Failed != 1500 {
		t.Fatalf("valid %v %v, counts %+v", l.Valid, l.Reasons, l.Counts)
	}
	near(t, "ttft p50", l.Latency.TTFT.P50, quantile(f.ttft, 0.5))
	near(t, "ttft p90", l.Latency.TTFT.P90, quantile(f.ttft, 0.9))
	near(t, "itl p50", l.Latency.ITL.P50, quantile(f.gap, 0.5))
	near(t, "itl p99", l.Latency.ITL.P99, quantile(f.gap, 0.99))
	near(t, "itl mean", l.Latency.ITL.Mean, fakeITL.Seconds())
	near(t, "tpot p50", l.Latency.TPOT.P50, fakeITL.Seconds())
	near(t, "rate", l.Rates.Sent, 30)
	near(t, "answers", l.Rates.Requests, 30*float64(l.Counts.Complete)/1500)
	near(t, "output", l.Rates.Output, l.Rates.Requests*fakeTokens)
	if l.Latency.TTFT.P99 < 0.5 || l.Latency.E2E.Max < 1.2 || l.Latency.E2E.Max > 1.6 {
		t.Errorf("a stall of 1 s gives ttft p99 %v, e2e max %v", l.Latency.TTFT.P99, l.Latency.E2E.Max)
	}
	// The difference of two independent normal gaps has the mean absolute value 2/sqrt(pi) of one's deviation.
	near(t, "jitter", l.Latency.Jitter.Mean, 2/math.Sqrt(math.Pi)*0.1*fakeITL.Seconds())
}

func TestUnstreamedHasNoTTFT(t *testing.T) {
	l, _ := measure(t, &fake{whole: true}, Options{Users: []int{2}, Requests: 10})
	if l.Latency.TTFT != nil || l.Latency.TPOT != nil || l.Latency.E2E == nil || len(l.Reasons) == 0 || l.Counts.Streamed != 0 {
		t.Errorf("%+v", l)
	}
}

// TestVoid holds the figures that must not be used, each with its reason.
func TestVoid(t *testing.T) {
	letters := func(s string) int { return len(strings.Fields(s)) }
	for _, c := range []struct {
		why  string
		fake *fake
	}{
		{"without usage", &fake{withhold: true}},
		{"no complete answer", &fake{errors: 1}},
		{"no complete answer", &fake{dieAt: 1}},
		{"usage says 100 output tokens, which came in 200 chunks", &fake{usage: 10}},
		{"the model's tokenizer", &fake{answer: "a b "}},
	} {
		o := Options{Users: []int{2}, Requests: 10}
		o.Beside.Count, o.Target.Natural = letters, true
		l, res := measure(t, c.fake, o)
		if l.Valid || res.Valid || !strings.Contains(strings.Join(l.Reasons, ";"), c.why) {
			t.Errorf("%s: %v %v", c.why, l.Valid, l.Reasons)
		}
	}
	o := Options{Users: []int{2}, Requests: 10}
	o.Beside.Count = letters
	if l, _ := measure(t, &fake{}, o); !l.Valid || l.Tokens.Said != l.Tokens.Counted {
		t.Errorf("an honest server is not valid: %v %+v", l.Reasons, l.Tokens)
	}
	silent := &fake{hush: 10} // ten control tokens after the model's end
	if l, _ := measure(t, silent, o); !l.Valid || !strings.Contains(strings.Join(l.Reasons, ";"), "may be control tokens") {
		t.Errorf("with ignore_eos: %v %v", l.Valid, l.Reasons)
	}
	o.Target.Natural = true
	if l, _ := measure(t, silent, o); l.Valid {
		t.Error("half of the tokens have no text, without ignore_eos")
	}
}

func TestLumpsAreNoTokens(t *testing.T) {
	l, _ := measure(t, &fake{lump: 4}, Options{Users: []int{2}, Requests: 10})
	if !l.Valid || l.Latency.ITL != nil {
		t.Fatalf("valid %v, itl %+v", l.Valid, l.Latency.ITL)
	}
	near(t, "icl", l.Latency.ICL.P50, 4*fakeITL.Seconds())
	near(t, "tpot", l.Latency.TPOT.P50, 16.0/19*fakeITL.Seconds())
}

func TestServerDiesMidRun(t *testing.T) {
	l, _ := measure(t, &fake{dieAt: 5 * time.Second}, Options{Users: []int{4}, Requests: 100})
	if l.Counts.Incomplete == 0 || l.Failures["incomplete: cut: transport"] != l.Counts.Incomplete {
		t.Fatalf("%+v %v", l.Counts, l.Failures)
	}
	near(t, "e2e max", l.Latency.E2E.Max, 0.34)
}

func TestRefusalsAreApart(t *testing.T) {
	l, _ := measure(t, &fake{errors: 0.3, status: 429}, Options{Users: []int{4}, Requests: 200})
	if l.Counts.Refused < 30 || l.Counts.Refused != l.Failures["429"] || l.Counts.Refused != l.Counts.Failed {
		t.Errorf("%+v %v", l.Counts, l.Failures)
	}
	if l.Concurrency.Achieved < 3.5 {
		t.Errorf("Retry-After was obeyed unasked: %v in flight", l.Concurrency.Achieved)
	}
	o := Options{Users: []int{4}, Requests: 200}
	o.Target.Obey = true
	if l, _ = measure(t, &fake{errors: 0.3, status: 429}, o); l.Concurrency.Achieved > 2 {
		t.Errorf("Retry-After of 7 s was not obeyed: %v in flight", l.Concurrency.Achieved)
	}
}

// TestLateClientHidesNothing: what the client sends late counts from when it should have been sent.
func TestLateClientHidesNothing(t *testing.T) {
	r := Request{Intended: 1, Sent: 1.5, End: 3, Chunks: []float64{2, 2.5, 3}, Usage: Usage{Completion: 3}}
	if ttft, tpot, e2e := r.latencies(); ttft != 1 || tpot != 0.5 || e2e != 2 {
		t.Errorf("ttft %v, tpot %v, e2e %v", ttft, tpot, e2e)
	}
}

// TestConnectionsAreKept: a dial inside a TTFT is the client's own fault.
func TestConnectionsAreKept(t *testing.T) {
	f := &fake{}
	measure(t, f, Options{Users: []int{8}, Requests: 200})
	if n := f.dials.Load(); n > 8 {
		t.Errorf("%d connections for 8 users", n)
	}
}

func TestGoodput(t *testing.T) {
	f := &fake{jitter: 0.1}
	l, _ := measure(t, f, Options{Users: []int{4}, Requests: 1000, SLO: SLO{TTFT: fakeTTFT.Seconds()}})
	if math.Abs(l.Rates.Good-0.5) > 0.05 {
		t.Errorf("%v of the answers keep the median", l.Rates.Good)
	}
	near(t, "goodput", l.Rates.Goodput, l.Rates.Good*l.Rates.Requests)
	whole, _ := measure(t, &fake{whole: true}, Options{Users: []int{4}, Requests: 20, SLO: SLO{TTFT: 10}})
	if whole.Rates.Good != 0 {
		t.Error("answers without a TTFT keep an SLO of it")
	}
}

func TestLevelsAndRepeats(t *testing.T) {
	l, res := measure(t, &fake{jitter: 0.05}, Options{Users: []int{1, 2, 4}, Requests: 60, Repeats: 3})
	if len(res.Levels) != 3 || len(l.Repeats) != 3 || l.Counts.Measured != 180 {
		t.Fatalf("%d levels, %d repeats, %+v", len(res.Levels), len(l.Repeats), l.Counts)
	}
	if l.Repeats[1].Start < res.Levels[2].Repeats[0].Start {
		t.Error("a level was repeated before the others were measured")
	}
	iv := l.Intervals["output_tokens_per_second"]
	if iv.N != 3 || !(iv.Low < l.Rates.Output && l.Rates.Output < iv.High) || iv.High-iv.Low > 0.1*iv.Mean {
		t.Errorf("interval %+v around %v", iv, l.Rates.Output)
	}
	for _, l := range res.Levels {
		near(t, "efficiency", *l.Efficiency, 1)
		near(t, "concurrency", l.Concurrency.Achieved, float64(l.Users))
		if l.Concurrency.Peak != l.Users {
			t.Errorf("peak %d of %d users", l.Concurrency.Peak, l.Users)
		}
	}
	if s := res.Saturation; s == nil || s.Identifiable || !strings.Contains(s.Why, "3 levels") {
		t.Errorf("%+v", s)
	}
}

// TestDuration closes the window by time; the timeline and the parts of the window add up to what was counted.
func TestDuration(t *testing.T) {
	l, _ := measure(t, &fake{}, Options{Users: []int{10}, Duration: 20 * time.Second})
	near(t, "window", l.Window, 20)
	r := l.Repeats[0]
	sum, busy := 0.0, 0.0
	for _, s := range r.Timeline {
		if s.Time >= r.Opened && s.Time+s.Width <= r.Closed {
			sum += s.Output * s.Width
			busy = max(busy, s.InFlight)
		}
	}
	near(t, "timeline's tokens", sum, l.Rates.Output*20)
	near(t, "timeline's load", busy, 10)
	mean, _ := moments(r.Batches)
	near(t, "mean of the parts", mean, l.Rates.Output)
	// The users are in step: a half may hold a wave of answers (of 0.34 s) more than the other.
	if r.Drift == nil || math.Abs(*r.Drift) > 0.34/10 {
		t.Errorf("a steady server drifts: %v", *r.Drift)
	}
}

func TestInterruptedRunKeepsWhatWasMeasured(t *testing.T) {
	res, err := measureUntil(t, &fake{}, Options{Users: []int{1, 2}, Duration: 10 * time.Second}, 15*time.Second)
	if !errors.Is(err, context.Canceled) || res == nil || len(res.Levels) != 1 || !res.Levels[0].Valid {
		t.Errorf("%v %+v", err, res)
	}
}

// TestArrivals judges the gaps by the moments of the gamma distribution: mean 1/rate, variation 1/sqrt(shape).
func TestArrivals(t *testing.T) {
	for _, shape := range []float64{0.25, 1, 4} {
		l := &load{opts: &Options{Burstiness: shape, Requests: 20000, Seed: 9}, rate: 50}
		at, warm := l.arrivals()
		var gaps []float64
		for i := 1; i < len(at); i++ {
			gaps = append(gaps, at[i]-at[i-1])
		}
		mean, sd := moments(gaps)
		if warm != 2000 || math.Abs((at[len(at)-1]-at[warm-1])*50-20000) > 1e-6 || math.Abs(mean*50-1) > 0.01 || math.Abs(sd/mean*math.Sqrt(shape)-1) > 0.05 {
			t.Errorf("shape %v: warm %d, mean %v, variation %v", shape, warm, mean, sd/mean)
		}
	}
}

func TestWorkloadsShareWhatTheySay(t *testing.T) {
	for _, c := range []struct {
		kind      string
		overlap   float64
		low, high float64
	}{{Diverse, 0, 0, 0.05}, {JSON, 0, 0, 0.05}, {RAG, 0.8, 0.79, 0.82}, {MultiTurn, 0, 0, 0.05}, {RAG, 0.3, 0.29, 0.32}, {RAG, 0.95, 0.94, 0.96}} {
		w, err := NewWorkload(c.kind, 400, c.overlap, 1)
		if err != nil {
			t.Fatal(err)
		}
		if s := w.Shared(); s < c.low || s > c.high {
			t.Errorf("%s %v shares %v", c.kind, c.overlap, s)
		}
		again, _ := NewWorkload(c.kind, 400, c.overlap, 1)
		other, _ := NewWorkload(c.kind, 400, c.overlap, 2)
		if w.Hash() != again.Hash() || w.Hash() == other.Hash() {
			t.Errorf("%s: the hash does not identify the workload", c.kind)
		}
	}
}
