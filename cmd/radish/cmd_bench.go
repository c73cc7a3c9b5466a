package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/server"
	"radish/server/engine"
	"radish/server/seq"
)

func newBenchCommand(term *ui.Terminal) *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: "measure the engine",
		Long: `Measure the engine.

  radish bench offline --model-path DIR --input-len 512 --output-len 64 --batch-size 1
` + exitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newBenchOfflineCommand(term), newBenchServeCommand(term), newBenchCompareCommand(term),
		newBenchReportCommand(term), newBenchRadixCommand(term), newBenchAdviseCommand(term), newBenchKernelsCommand(term))
	return c
}

// offlineFlags are one offline measurement.
type offlineFlags struct {
	model   modelFlags
	sched   schedFlags
	Input   int
	Output  int
	Batch   int
	Repeats int
	asJSON  bool
}

// offlineAnswer is what bench offline --json prints. Rates are medians over the repeats.
type offlineAnswer struct {
	Version   string  `json:"version"`
	Backend   string  `json:"backend"`
	Model     string  `json:"model"`
	DType     string  `json:"dtype"`
	Input     int     `json:"input_len"`
	Output    int     `json:"output_len"`
	Batch     int     `json:"batch_size"`
	Repeats   int     `json:"repeats"`
	Prefill   float64 `json:"prefill_tokens_per_second"` // all prompts over the time to the last first token
	Decode    float64 `json:"decode_tokens_per_second"`  // while all sequences decode, all together
	TTFT      float64 `json:"ttft_seconds"`              // of the first sequence
	Total     float64 `json:"total_seconds"`
	Idle      float64 `json:"device_idle_share"` // of a GPU between steps, once every prompt had its first token
	LoadTime  float64 `json:"load_seconds"`
	PlanBytes int64   `json:"plan_bytes"`
	RSS       int64   `json:"rss_bytes"` // at the end; 0 where /proc does not say
}

func newBenchOfflineCommand(term *ui.Terminal) *cobra.Command {
	f := &offlineFlags{}
	c := &cobra.Command{
		Use:   "offline",
		Short: "prefill and decode tokens/s of the engine, without HTTP",
		Long: `Run --batch-size prompts of --input-len random tokens, which share nothing, through the engine to --output-len
tokens each, and print prefill and decode tokens/s, the median of --repeats after one warm-up.

  radish bench offline --model-path DIR --input-len 512 --output-len 64
  radish bench offline --model-path DIR --load-format dummy --skip-tokenizer-init --batch-size 16 --json
` + exitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runOffline(c.Context(), term, f) },
	}
	f.model.add(c)
	f.sched.add(c)
	fs := c.Flags()
	fs.IntVar(&f.Input, "input-len", 512, "tokens of a prompt")
	fs.IntVar(&f.Output, "output-len", 32, "tokens of an answer")
	fs.IntVar(&f.Batch, "batch-size", 1, "prompts at once")
	fs.IntVar(&f.Repeats, "repeats", 3, "measured runs")
	fs.BoolVar(&f.asJSON, "json", false, "print one JSON object")
	return c
}

func (f *offlineFlags) check() error {
	for _, b := range []struct {
		name string
		v    int
	}{{"input-len", f.Input}, {"output-len", f.Output}, {"batch-size", f.Batch}, {"repeats", f.Repeats}} {
		if b.v < 1 || b.v > 1<<20 {
			return &usageError{err: fmt.Errorf("read %s: %d is not in 1..%d", b.name, b.v, 1<<20)}
		}
	}
	return nil
}

func runOffline(ctx context.Context, term *ui.Terminal, f *offlineFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	core, load, err := f.load(term)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- core.Run(ctx) }()
	a, err := f.measure(ctx, core)
	cancel()
	<-ended
	a.LoadTime = load.Seconds()
	a.RSS = residentBytes()
	if closeErr := core.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return f.print(term, a)
}

// load sizes the engine for exactly this measurement, unless flags say otherwise.
func (f *offlineFlags) load(term *ui.Terminal) (*server.Core, time.Duration, error) {
	f.model.skipText = true
	if f.model.context == 0 {
		f.model.context = f.Input + f.Output
	}
	if f.sched.MaxRunning == 0 {
		f.sched.MaxRunning = f.Batch
	}
	cfg, err := f.model.config(term, &f.sched)
	if err != nil {
		return nil, 0, err
	}
	cfg.Compute.Clock = true
	start := time.Now()
	plan, err := makePlan(term, cfg)
	if err != nil {
		return nil, 0, err
	}
	core, err := server.NewCore(cfg, plan, nil)
	return core, time.Since(start), err
}

// repeat is the timing of one repeat.
type repeat struct{ prefill, decode, ttft, total, idle float64 }

func (f *offlineFlags) measure(ctx context.Context, core *server.Core) (offlineAnswer, error) {
	a := offlineAnswer{
		Version: version, Backend: core.Backend, Model: f.model.path, DType: core.Plan.Act.String(),
		Input: f.Input, Output: f.Output, Batch: f.Batch, Repeats: f.Repeats, PlanBytes: core.Plan.Total(),
	}
	rng := rand.New(rand.NewPCG(f.model.seed, 1))
	var runs []repeat
	for i := range f.Repeats + 1 {
		r, err := f.once(ctx, core, rng)
		if err != nil {
			return a, err
		}
		if i > 0 { // the first is the warm-up
			runs = append(runs, r)
		}
	}
	median := func(get func(repeat) float64) float64 {
		var v []float64
		for _, r := range runs {
			v = append(v, get(r))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	a.Prefill = median(func(r repeat) float64 { return r.prefill })
	a.Decode = median(func(r repeat) float64 { return r.decode })
	a.TTFT = median(func(r repeat) float64 { return r.ttft })
	a.Total = median(func(r repeat) float64 { return r.total })
	a.Idle = median(func(r repeat) float64 { return r.idle })
	return a, nil
}

// once runs the batch and times first tokens and the end.
func (f *offlineFlags) once(ctx context.Context, core *server.Core, rng *rand.Rand) (repeat, error) {
	start := time.Now()
	streams := make([]*engine.Stream, f.Batch)
	for i := range streams {
		prompt := make([]seq.Token, f.Input)
		for j := range prompt {
			prompt[j] = seq.Token(rng.IntN(core.Plan.Spec.Vocab))
		}
		s, err := core.Engine.Submit(engine.Request{Prompt: prompt, Params: seq.Params{
			MaxTokens: f.Output, TopP: 1, Repetition: 1, IgnoreEOS: true, Logprobs: -1, PromptLogprobs: -1,
		}})
		if err != nil {
			return repeat{}, fmt.Errorf("submit prompt: %w", err)
		}
		streams[i] = s
	}
	times := make(chan streamTimes, f.Batch)
	var firsts atomic.Int64
	first := func() {
		if firsts.Add(1) == int64(f.Batch) {
			core.Clock() // from here on every step decodes
		}
	}
	for _, s := range streams {
		go func() { times <- follow(ctx, s, first) }()
	}
	r, err := f.sum(start, times)
	if busy, idle := core.Clock(); busy > 0 {
		r.idle = idle.Seconds() / (busy + idle).Seconds()
	}
	return r, err
}

// streamTimes are the arrival times of one stream's tokens.
type streamTimes struct {
	at  []time.Time
	err error
}

// follow reads a stream to its end and calls first with its first token.
func follow(ctx context.Context, s *engine.Stream, first func()) streamTimes {
	var st streamTimes
	for {
		ev, err := s.Next(ctx)
		if err != nil {
			st.err = err
			return st
		}
		if len(st.at) == 0 && len(ev.Tokens) > 0 {
			first()
		}
		for range ev.Tokens {
			st.at = append(st.at, time.Now())
		}
		if ev.Finish != nil {
			st.err = ev.Finish.Err
			return st
		}
	}
}

func (f *offlineFlags) sum(start time.Time, times <-chan streamTimes) (repeat, error) {
	var all []time.Time
	var firstFirst, lastFirst, firstEnd, end time.Time
	for range f.Batch {
		st := <-times
		if st.err != nil || len(st.at) == 0 {
			return repeat{}, fmt.Errorf("read stream: %d tokens: %w", len(st.at), st.err)
		}
		all = append(all, st.at...)
		lastFirst = later(lastFirst, st.at[0])
		last := st.at[len(st.at)-1]
		end = later(end, last)
		if firstEnd.IsZero() || last.Before(firstEnd) {
			firstEnd = last
		}
		if firstFirst.IsZero() || st.at[0].Before(firstFirst) {
			firstFirst = st.at[0]
		}
	}
	// Decoding is what happens while all sequences decode: before, some still prefill; after, the batch is smaller.
	decoded := 0
	for _, t := range all {
		if t.After(lastFirst) && !t.After(firstEnd) {
			decoded++
		}
	}
	r := repeat{
		prefill: float64(f.Batch*f.Input) / lastFirst.Sub(start).Seconds(),
		ttft:    firstFirst.Sub(start).Seconds(), total: end.Sub(start).Seconds(),
	}
	if d := firstEnd.Sub(lastFirst).Seconds(); d > 0 {
		r.decode = float64(decoded) / d
	}
	return r, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (f *offlineFlags) print(term *ui.Terminal, a offlineAnswer) error {
	if f.asJSON {
		return term.JSON(a)
	}
	rows := [][]string{
		{"backend", a.Backend},
		{"batch x input + output", fmt.Sprintf("%d x %d + %d", a.Batch, a.Input, a.Output)},
		{"prefill", fmt.Sprintf("%.1f tok/s", a.Prefill)},
		{"decode", fmt.Sprintf("%.1f tok/s", a.Decode)},
		{"first token", fmt.Sprintf("%.1f ms", a.TTFT*1e3)},
		{"load", fmt.Sprintf("%.2f s", a.LoadTime)},
		{"resident", ui.Bytes(a.RSS) + " (plan " + ui.Bytes(a.PlanBytes) + ")"},
	}
	if a.Idle > 0 {
		rows = append(rows, []string{"device idle between steps", fmt.Sprintf("%.2f %%", 100*a.Idle)})
	}
	return ui.Table(term.Out, rows)
}

// residentBytes is the process's VmHWM, the peak of what was resident.
func residentBytes() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	var kib int64
	for line := range slices.Values(splitLines(b)) {
		if n, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 && err == nil {
			return kib << 10
		}
	}
	return 0
}

func splitLines(b []byte) []string {
	var lines []string
	for len(b) > 0 {
		i := slices.Index(b, '\n')
		if i < 0 {
			return append(lines, string(b))
		}
		lines = append(lines, string(b[:i]))
		b = b[i+1:]
	}
	return lines
}
