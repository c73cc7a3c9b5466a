package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// sharing is a file of n prompts with a common beginning of 40 words and 10 of their own.
func sharing(t *testing.T, n int) *Workload {
	t.Helper()
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "{\"prompt\":\"%s%s\"}\n", strings.Repeat("same ", 40), strings.Repeat(fmt.Sprintf("w%03d ", i), 10))
	}
	w, err := ReadWorkload(strings.NewReader(lines.String()))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func suggestion(t *testing.T, a *Advice, setting string) Recommendation {
	t.Helper()
	for _, r := range a.Suggestions {
		if r.Setting == setting {
			return r
		}
	}
	t.Fatalf("nothing about %s in %+v", setting, a.Suggestions)
	return Recommendation{}
}

// TestAdviseComputes: without a server, everything is computed and says so.
func TestAdviseComputes(t *testing.T) {
	a, err := Advise(t.Context(), AdviseOptions{Workload: sharing(t, 100)})
	if err != nil {
		t.Fatal(err)
	}
	if a.Overlap.Shared < 0.78 || a.Overlap.Shared > 0.85 {
		t.Errorf("shared %v", a.Overlap.Shared)
	}
	if r := suggestion(t, a, "prefix cache"); r.Value != "on" || r.Basis != Computed || !strings.Contains(r.Because, "not measured") {
		t.Errorf("%+v", r)
	}
	if r := suggestion(t, a, "chunked prefill size"); r.Value != "n/a" {
		t.Errorf("a chunk without a count of tokens: %+v", r)
	}
	a, err = Advise(t.Context(), AdviseOptions{Workload: sharing(t, 100), Count: func(s string) int { return len(s) }})
	if err != nil {
		t.Fatal(err)
	}
	if r := suggestion(t, a, "chunked prefill size"); r.Value != "128" || *a.TokenBytes != 1 {
		t.Errorf("50 bytes of each prompt are left: %+v, %v bytes per token", r, *a.TokenBytes)
	}
}

// TestAdviseMeasures sends each prompt of the file once per run: the cached share is the text's, not that of a repetition.
func TestAdviseMeasures(t *testing.T) {
	c := &cacher{honours: OffByFlag, pool: 500}
	var a *Advice
	onPipes(t, c, func(ctx context.Context, target Target) {
		var err error
		a, err = Advise(ctx, AdviseOptions{Target: target, Workload: sharing(t, 30), Ask: true,
			Measure: &RadixOptions{Users: 4, Pairs: 2, Requests: 1000}})
		if err != nil {
			t.Fatal(err)
		}
	})
	m := a.Measured
	if !m.Valid || math.Abs(*m.CachedOn-41.0/51) > 0.02 || *m.CachedOff != 0 {
		t.Errorf("cached %v on, %v off: %+v", *m.CachedOn, *m.CachedOff, m)
	}
	// 51 words of a millisecond and 4 more tokens against 10 and 4: 3.9 times, but for the ends of a short window.
	if r := suggestion(t, a, "prefix cache"); r.Value != "on" || r.Basis != Measured || m.Throughput.Median < 3 || m.Throughput.Median > 5 {
		t.Errorf("%+v, throughput %+v", r, m.Throughput)
	}
	// 40 words and 30 x 10 of about 5 bytes, at about 5 bytes for a token, fit in 500.
	if r := suggestion(t, a, "schedule policy"); r.Value != "either" || *a.PoolTokens != 500 {
		t.Errorf("%+v", r)
	}
	b, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(t, "schema/advice.json", b); err != nil {
		t.Error(err)
	}
	two := 2.0
	a.TokenBytes = &two
	if r := a.policy(); r.Value != "lpm" {
		t.Errorf("a pool that is too small: %+v", r)
	}
}

func TestAdviseOnNothingShared(t *testing.T) {
	w, err := NewWorkload(Diverse, 50, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	var a *Advice
	onPipes(t, &cacher{honours: OffByFlag}, func(ctx context.Context, target Target) {
		a, err = Advise(ctx, AdviseOptions{Target: target, Workload: w, Ask: true,
			Measure: &RadixOptions{Users: 2, Pairs: 2, Requests: 10}})
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := suggestion(t, a, "prefix cache"); r.Value != "either" || r.Basis != Measured {
		t.Errorf("%+v %+v", r, a.Measured.Throughput)
	}
	if r := suggestion(t, a, "schedule policy"); r.Value != "fcfs" {
		t.Errorf("%+v", r)
	}
	slower := *a
	slower.Measured.Throughput = &Ratio{Median: 0.9, Min: 0.88, Max: 0.93}
	if r := slower.radix(); r.Value != "off" {
		t.Errorf("slower in every pair: %+v", r)
	}
}

// TestAdviseLive reads what happened between two readings, and the totals where nothing did.
func TestAdviseLive(t *testing.T) {
	c := &cacher{prompt: 1000, cached: 100}
	onPipes(t, c, func(ctx context.Context, target Target) {
		idle, err := Advise(ctx, AdviseOptions{Target: target, Watch: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if l := idle.Live; l.Seconds != 0 || l.Prompt != 1000 || *l.Cached != 100 {
			t.Errorf("%+v", l)
		}
		go func() {
			time.Sleep(time.Second)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.prompt, c.cached = 3000, 1900
		}()
		busy, err := Advise(ctx, AdviseOptions{Target: target, Watch: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if l := busy.Live; l.Seconds != 2 || l.Prompt != 2000 || *l.Cached != 1800 || *l.Queued != 3 {
			t.Errorf("%+v", l)
		}
		if r := suggestion(t, busy, "prefix cache"); r.Value != "on" || r.Basis != Counted || !strings.Contains(r.Because, "90.0 %") {
			t.Errorf("%+v", r)
		}
	})
}
