package bench

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"time"
)

// Result is a run's outcome. Its JSON form is versioned by Schema. The key is in no part of it.
type Result struct {
	Schema      int               `json:"schema"`
	Started     time.Time         `json:"started"`
	URL         string            `json:"url"` // without user and password
	Model       string            `json:"model"`
	MaxTokens   int               `json:"max_tokens"`
	Natural     bool              `json:"natural"`
	Loop        string            `json:"loop"` // closed or open
	Rate        float64           `json:"rate,omitempty"`
	Seed        uint64            `json:"seed"`
	Workload    *Workload         `json:"workload"`
	Hash        string            `json:"workload_hash"`
	Shared      float64           `json:"workload_shared"` // Workload.Shared
	SLO         SLO               `json:"slo"`
	Levels      []Level           `json:"levels"`
	Definitions map[string]string `json:"definitions"`
}

// Level is what one level measured. Times are seconds, rates per second.
type Level struct {
	Users    int            `json:"users,omitempty"`
	Valid    bool           `json:"valid"`
	Reasons  []string       `json:"reasons,omitempty"` // why not valid, or what to know
	Window   float64        `json:"window_seconds"`
	Counts   Counts         `json:"counts"`
	Failures map[string]int `json:"failures,omitempty"`
	Busy     float64        `json:"concurrency"` // achieved, time-weighted
	Rates    Rates          `json:"rates"`
	TTFT     *Spread        `json:"ttft_seconds"` // null: n/a
	TPOT     *Spread        `json:"tpot_seconds"`
	ITL      *Spread        `json:"itl_seconds"`
	ICL      *Spread        `json:"icl_seconds"`
	E2E      *Spread        `json:"e2e_seconds"`
}

// Counts are requests sent inside the window.
type Counts struct {
	Measured   int `json:"measured"`
	Complete   int `json:"complete"`
	Incomplete int `json:"incomplete"`
	Failed     int `json:"failed"`
	WarmUp     int `json:"warm_up"` // sent before it
}

// Rates are per second of the steady window. Cached is null where the server does not say.
type Rates struct {
	Output     float64   `json:"output_tokens_per_second"`
	PerUser    float64   `json:"output_tokens_per_second_per_request"` // mean of tokens / E2E
	Input      float64   `json:"input_tokens_per_second"`
	Requests   float64   `json:"requests_per_second"`
	Goodput    float64   `json:"goodput_per_second"`
	Cached     *float64  `json:"cached_ratio"`
	Efficiency *float64  `json:"scaling_efficiency,omitempty"` // per-user output against the first level's
	Batches    []float64 `json:"output_batches"`               // Output in ten equal parts of the window
}

// Spread is a distribution of N values.
type Spread struct {
	N    int     `json:"n"`
	Mean float64 `json:"mean"`
	SD   float64 `json:"sd"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
}

// Definitions are printed beside the numbers.
var Definitions = map[string]string{
	"ttft":        "first non-empty content delta minus the send (open loop: the intended send)",
	"tpot":        "(e2e - ttft) / (output tokens - 1), per answer",
	"itl":         "gaps between chunks, pooled, where a chunk is a token within 5 %",
	"icl":         "gaps between chunks, pooled",
	"e2e":         "end of the answer minus the send (open loop: the intended send)",
	"output":      "output tokens of complete answers that arrived inside the steady window, per second of it",
	"input":       "prompt tokens, counted at the first token, inside the window",
	"goodput":     "complete answers that keep every SLO, per second of the window",
	"concurrency": "requests in flight, weighted by time, inside the window",
	"cached":      "cached prompt tokens / prompt tokens, as usage says",
	"efficiency":  "(output / users) / (output / users of the first level)",
}

func newResult(o *Options) *Result {
	r := &Result{
		Schema: Schema, Started: time.Now().UTC(), Model: o.Target.Model, MaxTokens: o.Target.MaxTokens,
		Natural: o.Target.Natural, Loop: "closed", Rate: o.Rate, Seed: o.Seed, Workload: o.Workload,
		Hash: o.Workload.Hash(), Shared: o.Workload.Shared(), SLO: o.SLO, Definitions: Definitions,
	}
	if o.Rate > 0 {
		r.Loop = "open"
	}
	if u, err := url.Parse(o.Target.URL); err == nil {
		r.URL = u.Scheme + "://" + u.Host + u.Path
	}
	return r
}

// finish fills what needs all levels.
func (r *Result) finish() {
	if len(r.Levels) < 2 || r.Levels[0].Rates.Output == 0 {
		return
	}
	one := r.Levels[0].Rates.Output / float64(r.Levels[0].Users)
	for i := range r.Levels {
		e := r.Levels[i].Rates.Output / float64(r.Levels[i].Users) / one
		r.Levels[i].Rates.Efficiency = &e
	}
}

// NewSpread sorts values and reads percentiles by the nearest rank; nil where there are none.
func NewSpread(v []float64) *Spread {
	if len(v) == 0 {
		return nil
	}
	slices.Sort(v)
	at := func(p float64) float64 { return v[max(0, int(math.Ceil(p*float64(len(v))))-1)] }
	s := &Spread{N: len(v), P50: at(.5), P90: at(.9), P95: at(.95), P99: at(.99), Max: v[len(v)-1]}
	for _, x := range v {
		s.Mean += x / float64(len(v))
	}
	if len(v) > 1 {
		for _, x := range v {
			s.SD += (x - s.Mean) * (x - s.Mean) / float64(len(v)-1)
		}
		s.SD = math.Sqrt(s.SD)
	}
	return s
}

func (l *Level) because(format string, args ...any) {
	l.Reasons = append(l.Reasons, fmt.Sprintf(format, args...))
}

func (l *Level) invalid(format string, args ...any) {
	l.Valid = false
	l.because(format, args...)
}
