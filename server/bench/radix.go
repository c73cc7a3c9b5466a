package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// RadixOptions are the experiment of prefix caching: each scenario with the cache on and off, in pairs, on one server.
type RadixOptions struct {
	Target    Target // its Edit is the experiment's own
	Scenarios []Scenario
	Users     int
	Pairs     int                                                    // of each scenario; the order within a pair alternates
	Requests  int                                                    // measured requests of one run
	Observe   func(scenario string, pair int, on bool, run RadixRun) // called after each run; may be nil
}

// Scenario is a workload with a name for the table.
type Scenario struct {
	Name     string
	Workload *Workload
}

// Scenarios are those of the experiment: nothing shared, a long shared beginning (80 and 95 % of the prompt), and
// conversations of five turns. words is the length of a prompt, in a conversation of the last one.
func Scenarios(words int, seed uint64) ([]Scenario, error) {
	var all []Scenario
	for _, s := range []struct {
		name, kind string
		words      int
		overlap    float64
	}{
		{"diverse", Diverse, words, 0},
		{"rag 80 %", RAG, words, 0.80},
		{"rag 95 %", RAG, words, 0.95},
		{"multi-turn x 5", MultiTurn, max(1, words/turnsOfMultiTurn), 0},
	} {
		w, err := NewWorkload(s.kind, s.words, s.overlap, seed)
		if err != nil {
			return nil, err
		}
		all = append(all, Scenario{s.name, w})
	}
	return all, nil
}

// RadixResult is the experiment's outcome. Ratios are on / off of the two runs of one pair.
type RadixResult struct {
	Schema      int               `json:"schema"`
	Started     time.Time         `json:"started"`
	URL         string            `json:"url"`
	Model       string            `json:"model"`
	Users       int               `json:"users"`
	MaxTokens   int               `json:"max_tokens"`
	Requests    int               `json:"requests"`
	Off         OffMode           `json:"off"`
	Flushed     bool              `json:"flushed"` // the server empties its cache before each run; else prompts differ between runs
	Scenarios   []RadixScenario   `json:"scenarios"`
	Definitions map[string]string `json:"definitions"`
}

// RadixScenario is one row of the table.
type RadixScenario struct {
	Name       string      `json:"name"`
	Workload   *Workload   `json:"workload"`
	Hash       string      `json:"workload_hash"`
	Implied    float64     `json:"implied_ratio"` // the cached share that the workload implies, see Workload.Reuse
	Valid      bool        `json:"valid"`
	Reasons    []string    `json:"reasons,omitempty"`
	Pairs      []RadixPair `json:"pairs"`
	CachedOn   *float64    `json:"cached_ratio_on"` // medians over the pairs
	CachedOff  *float64    `json:"cached_ratio_off"`
	Throughput *Ratio      `json:"throughput_ratio"` // output tokens/s; null without a valid pair
	TTFT       *Ratio      `json:"ttft_p50_ratio"`   // null without TTFT
}

// RadixPair is two runs of the same prompts, one after the other.
type RadixPair struct {
	OnFirst bool     `json:"on_first"`
	On      RadixRun `json:"on"`
	Off     RadixRun `json:"off"`
}

// RadixRun is what is kept of one run.
type RadixRun struct {
	Valid    bool     `json:"valid"`
	Reasons  []string `json:"reasons,omitempty"`
	Window   float64  `json:"window_seconds"`
	Complete int      `json:"complete"`
	Busy     float64  `json:"concurrency"` // achieved
	Output   float64  `json:"output_tokens_per_second"`
	Input    float64  `json:"input_tokens_per_second"` // cached ones included
	Cached   *float64 `json:"cached_ratio"`
	TTFT     *Spread  `json:"ttft_seconds"`
	E2E      *Spread  `json:"e2e_seconds"`
}

func runOf(r *Repeat) RadixRun {
	return RadixRun{
		Valid: r.Valid, Reasons: r.Reasons, Window: r.Window, Complete: r.Counts.Complete, Busy: r.Concurrency.Achieved,
		Output: r.Rates.Output, Input: r.Rates.Input, Cached: r.Rates.Cached, TTFT: r.Latency.TTFT, E2E: r.Latency.E2E,
	}
}

// Ratio is on / off over the pairs.
type Ratio struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// RadixDefinitions are printed beside the table.
var RadixDefinitions = map[string]string{
	"throughput_ratio": "output tokens/s with the cache on / off, of two runs in turn; median, smallest and largest over the pairs",
	"ttft_p50_ratio":   "median TTFT on / off, likewise",
	"cached_ratio":     "cached prompt tokens / prompt tokens, as usage says",
	"implied_ratio":    "share of the prompts' bytes that an earlier prompt and its answer began with",
}

// experiment is a running RadixOptions.
type experiment struct {
	RadixOptions
	asker *asker
	res   *RadixResult
	turn  uint64 // runs so far
}

// RunRadix measures every scenario with the prefix cache on and off. It first finds out how this server can be asked to
// go without its cache (OffMode); ErrNoCache says that none was seen to work.
func RunRadix(ctx context.Context, o RadixOptions) (*RadixResult, error) {
	if o.Pairs < 1 || o.Pairs > 1000 || len(o.Scenarios) == 0 {
		return nil, fmt.Errorf("%w: %d pairs of %d scenarios", ErrOptions, o.Pairs, len(o.Scenarios))
	}
	x := &experiment{RadixOptions: o}
	opts := x.options(o.Scenarios[0].Workload)
	asker, err := newAsker(&opts)
	if err != nil {
		return nil, err
	}
	asker.name(ctx)
	o.Target.Model = asker.target.Model
	x.Target, x.asker = o.Target, asker
	for _, s := range o.Scenarios { // mistakes first
		opts := x.options(s.Workload)
		opts.complete()
		if err := opts.check(); err != nil {
			return nil, err
		}
	}
	x.res = &RadixResult{
		Schema: Schema, Started: time.Now().UTC(), URL: publicURL(o.Target.URL), Model: o.Target.Model, Users: o.Users,
		MaxTokens: o.Target.MaxTokens, Requests: o.Requests, Definitions: RadixDefinitions,
	}
	if x.res.Off, err = asker.findOff(ctx); err != nil {
		return nil, err
	}
	unflushed := x.asker.flush(ctx)
	x.res.Flushed = unflushed == nil
	for _, s := range o.Scenarios {
		if s.Workload.sessions != nil && unflushed != nil {
			return nil, fmt.Errorf("measure the prompts of a file again: %w", unflushed)
		}
	}
	for _, s := range o.Scenarios {
		row, err := x.scenario(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("measure %s: %w", s.Name, err)
		}
		x.res.Scenarios = append(x.res.Scenarios, *row)
	}
	return x.res, nil
}

func (x *experiment) options(w *Workload) Options {
	return Options{Target: x.Target, Workload: w, Users: []int{x.Users}, Requests: x.Requests, Seed: w.Seed}
}

func (x *experiment) scenario(ctx context.Context, s Scenario) (*RadixScenario, error) {
	row := &RadixScenario{Name: s.Name, Workload: s.Workload, Hash: s.Workload.Hash(), Implied: s.Workload.Reuse(), Valid: true}
	for i := range x.Pairs {
		pair := RadixPair{OnFirst: i%2 == 0}
		for _, on := range []bool{pair.OnFirst, !pair.OnFirst} {
			run, err := x.once(ctx, s.Workload, on)
			if err != nil {
				return nil, err
			}
			if x.Observe != nil {
				x.Observe(s.Name, i, on, run)
			}
			if on {
				pair.On = run
			} else {
				pair.Off = run
			}
		}
		row.Pairs = append(row.Pairs, pair)
	}
	row.sum(x.res.Off)
	return row, nil
}

// once is one run, on a cache that holds nothing of the run before.
func (x *experiment) once(ctx context.Context, w *Workload, on bool) (run RadixRun, err error) {
	opts := x.options(w)
	if x.res.Flushed {
		if err := x.asker.flush(ctx); err != nil {
			return run, err
		}
	} else { // other prompts, which no run before left in the cache
		x.turn++
		fresh := *w
		fresh.Seed += x.turn << 32
		opts.Workload = &fresh
	}
	if !on {
		opts.Target.Edit = x.res.Off.edit()
	}
	res, err := Run(ctx, opts)
	if err != nil {
		return run, err
	}
	return runOf(&res.Levels[0].Repeats[0]), nil
}

// sum fills the ratios and the verdict.
func (r *RadixScenario) sum(mode OffMode) {
	var rate, ttft, on, off []float64
	for i, p := range r.Pairs {
		for _, l := range []struct {
			word string
			*RadixRun
		}{{"on", &p.On}, {"off", &p.Off}} {
			if !l.Valid {
				r.Valid = false
				r.Reasons = append(r.Reasons, fmt.Sprintf("pair %d, %s: %s", i+1, l.word, strings.Join(l.Reasons, "; ")))
			}
		}
		if !p.On.Valid || !p.Off.Valid {
			continue
		}
		rate = append(rate, p.On.Output/p.Off.Output)
		if p.On.TTFT != nil && p.Off.TTFT != nil {
			ttft = append(ttft, p.On.TTFT.P50/p.Off.TTFT.P50)
		}
		on, off = appendRatio(on, p.On.Cached), appendRatio(off, p.Off.Cached)
	}
	r.Throughput, r.TTFT = newRatio(rate), newRatio(ttft)
	r.CachedOn, r.CachedOff = median(on), median(off)
	r.judge(mode)
}

// judge compares what was cached with what the workload implies: ratios of runs that did not do what they say are no
// measurement.
func (r *RadixScenario) judge(off OffMode) {
	if r.CachedOff != nil && *r.CachedOff > off.leaves() {
		r.Valid = false
		r.Reasons = append(r.Reasons, fmt.Sprintf("%.1f %% of the prompts came from the cache while it was off", *r.CachedOff*100))
	}
	if r.CachedOn != nil && math.Abs(*r.CachedOn-r.Implied) > 0.1 {
		r.Reasons = append(r.Reasons, fmt.Sprintf("%.1f %% of the prompts were cached, the workload implies %.1f %%: the cache is too small for it, or the chat template adds to it",
			*r.CachedOn*100, r.Implied*100))
	}
}

func appendRatio(v []float64, x *float64) []float64 {
	if x == nil {
		return v
	}
	return append(v, *x)
}

func median(v []float64) *float64 {
	if len(v) == 0 {
		return nil
	}
	v = slices.Sorted(slices.Values(v))
	m := (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	return &m
}

func newRatio(v []float64) *Ratio {
	m := median(v)
	if m == nil {
		return nil
	}
	return &Ratio{Median: *m, Min: slices.Min(v), Max: slices.Max(v)}
}

// Figures are what a table shows of one side.
type Figures struct {
	Output float64  // tokens/s
	TTFT   *float64 // p50, seconds; nil: none
}

// Medians are the medians over the valid pairs, of the cache on and off.
func (r *RadixScenario) Medians() (on, off Figures) {
	of := func(side func(*RadixPair) *RadixRun) (f Figures) {
		var rate, ttft []float64
		for i := range r.Pairs {
			run := side(&r.Pairs[i])
			if !run.Valid {
				continue
			}
			rate = append(rate, run.Output)
			if run.TTFT != nil {
				ttft = append(ttft, run.TTFT.P50)
			}
		}
		if m := median(rate); m != nil {
			f.Output = *m
		}
		f.TTFT = median(ttft)
		return f
	}
	return of(func(p *RadixPair) *RadixRun { return &p.On }), of(func(p *RadixPair) *RadixRun { return &p.Off })
}
