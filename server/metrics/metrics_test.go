package metrics

import (
	"bytes"
	"io"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"radish/server/engine"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func filled(t *testing.T) *Metrics {
	t.Helper()
	m := New(Options{Model: "tiny", Context: 4096})
	m.Watch(func() engine.Stats {
		return engine.Stats{Running: 3, Queued: 2, GenThroughput: 12.5,
			Pages:  engine.PageStats{Size: 16, Total: 100, Free: 50, Cached: 25, Held: 25},
			Tokens: engine.TokenStats{Prompt: 200, Cached: 50, Computed: 150, Generated: 70}}
	})
	m.Step(engine.StepInfo{Device: 2 * time.Second})
	m.Done(engine.RequestInfo{Reason: engine.ReasonStop, Prompt: 10, Output: 3, Queue: time.Millisecond,
		TTFT: 50 * time.Millisecond, E2E: time.Second, ITL: []time.Duration{time.Millisecond, time.Second}})
	m.Done(engine.RequestInfo{Reason: engine.ReasonAbort, E2E: time.Second})
	m.Answered("/v1/completions", 200, time.Second)
	m.Cut("slow_reader")
	return m
}

// The parser and linter of the Prometheus project judge the exposition. SGLang's names have a colon, which the linter
// reserves for recording rules; nothing else may be wrong with ours.
func TestExpositionIsClean(t *testing.T) {
	problems, err := testutil.GatherAndLint(filled(t).registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !strings.HasPrefix(p.Metric, "sglang:") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestFiguresUnderBothNames(t *testing.T) {
	rec := httptest.NewRecorder()
	filled(t).Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	text := rec.Body.String()
	for _, want := range []string{
		`radish_running_requests{model_name="tiny"} 3`,
		`sglang:num_running_reqs{model_name="tiny"} 3`,
		`sglang:num_queue_reqs{model_name="tiny"} 2`,
		`sglang:gen_throughput{model_name="tiny"} 12.5`,
		`sglang:token_usage{model_name="tiny"} 0.25`,
		`sglang:cache_hit_rate{model_name="tiny"} 0.25`,
		`sglang:context_len{model_name="tiny"} 4096`,
		`radish_cached_tokens_total{model_name="tiny"} 50`,
		`sglang:cached_tokens_total{model_name="tiny"} 50`,
		`sglang:max_total_num_tokens{model_name="tiny"} 1600`,
		`radish_time_to_first_token_seconds_count{model_name="tiny"} 1`,
		`sglang:time_to_first_token_seconds_bucket{model_name="tiny",le="0.04"} 0`,
		`sglang:time_to_first_token_seconds_bucket{model_name="tiny",le="0.06"} 1`,
		`sglang:inter_token_latency_seconds_count{model_name="tiny"} 2`,
		`sglang:e2e_request_latency_seconds_sum{model_name="tiny"} 2`,
		`radish_requests_total{model_name="tiny",reason="abort"} 1`,
		`radish_http_requests_total{model_name="tiny",route="/v1/completions",status="200"} 1`,
		`radish_connections_cut_total{model_name="tiny",reason="slow_reader"} 1`,
		`radish_device_seconds_total{model_name="tiny"} 2`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("missing %s", want)
		}
	}
}

// The patterns are written from SGLang's lines of the current and the older form, not from this package.
var patterns = []string{
	`Prefill batch.*#new-seq: 2, #new-token: 100, #cached-token: 32, token usage: 0\.25, #running-req: 3, #queue-req: 1, `,
	`Prefill batch.*#pending-token: 7, cuda graph: False, input throughput \(token/s\): 200\.00`,
	`Decode batch.*#running-req: 3, #token: 400, token usage: 0\.25, cuda graph: False, gen throughput \(token/s\): 6\.00, #queue-req: 1`,
	`Decode batch.*gen throughput \(token/s\): (\d+\.\d+), #queue-req: (\d+), `,
}

func TestLinesReadLikeSGLangs(t *testing.T) {
	r, w := io.Pipe()
	l := NewLines(w, 2, false)
	pages := engine.PageStats{Size: 16, Total: 100, Held: 25}
	l.step(engine.StepInfo{NewSeqs: 2, PrefillRows: 2, PrefillTokens: 100, CachedTokens: 32, QueuedTokens: 7,
		Running: 3, Queued: 1, Pages: pages, Wall: 500 * time.Millisecond})
	for range 3 {
		l.step(engine.StepInfo{DecodeRows: 3, Running: 3, Queued: 1, Pages: pages, Wall: 250 * time.Millisecond})
	}
	buf := make([]byte, 0, 4096)
	for bytes.Count(buf, []byte("\n")) < 2 {
		chunk := make([]byte, 1024)
		n, err := r.Read(chunk)
		if err != nil {
			t.Fatal(err)
		}
		buf = append(buf, chunk[:n]...)
	}
	for _, p := range patterns {
		if !regexp.MustCompile(`(?m)^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] ` + p).Match(buf) {
			t.Errorf("no line like %s in\n%s", p, buf)
		}
	}
	if n := bytes.Count(buf, []byte("Decode batch")); n != 1 {
		t.Errorf("%d decode lines for 3 steps at interval 2, want 1", n)
	}
}

// A sink that never takes anything must not stop the loop.
func TestSlowSinkDropsLines(t *testing.T) {
	_, w := io.Pipe()
	l := NewLines(w, 1, false)
	for range 200 {
		l.step(engine.StepInfo{DecodeRows: 1, Wall: time.Millisecond})
	}
	if l.dropped.Load() == 0 {
		t.Error("nothing was dropped")
	}
}
