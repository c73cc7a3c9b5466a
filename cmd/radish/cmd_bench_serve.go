package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/server/bench"
)

// benchServeFlags are one load measurement of an endpoint.
type benchServeFlags struct {
	opts     bench.Options
	workload string
	prompts  string
	words    int
	overlap  float64
	output   string
	raw      string
	asJSON   bool
}

func newBenchServeCommand(term *ui.Terminal) *cobra.Command {
	f := &benchServeFlags{}
	c := &cobra.Command{
		Use:   "serve",
		Short: "throughput and latency of any OpenAI-compatible endpoint, under load",
		Long: `Load an endpoint and measure it. --users keeps that many users asking, one level after another. --rate sends at
random times whatever the server does, and counts latency from the time a request should have been sent.

  radish bench serve --url http://127.0.0.1:30000 --users 10,50,100
  radish bench serve --url http://127.0.0.1:30000 --rate 4 --duration 60s --workload rag --overlap 0.8
  radish bench serve --url http://127.0.0.1:30000 --users 8 --prompts prompts.jsonl --output a.json --raw a.jsonl

Exit status is 1 when no level was valid.
` + exitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.Context(), term) },
	}
	f.add(c)
	return c
}

func (f *benchServeFlags) add(c *cobra.Command) {
	fs, t := c.Flags(), &f.opts.Target
	fs.StringVar(&t.URL, "url", "http://127.0.0.1:30000", "the server, without /v1")
	fs.StringVar(&t.Key, "api-key", os.Getenv("RADISH_API_KEY"), "the server's API key")
	fs.StringVar(&t.Model, "model", "", "name of the model to ask; empty: the first that the server lists")
	fs.IntVar(&t.MaxTokens, "output-len", 128, "tokens of an answer")
	fs.BoolVar(&t.Natural, "natural", false, "let the model stop where it wants, instead of ignore_eos")
	fs.DurationVar(&t.Timeout, "timeout", 10*time.Minute, "of one request")
	fs.IntSliceVar(&f.opts.Users, "users", nil, "closed loop: users at once, one level each")
	fs.Float64Var(&f.opts.Rate, "rate", 0, "open loop: requests per second")
	fs.IntVar(&f.opts.Requests, "requests", 0, "measured requests of a level; 0: until --duration")
	fs.DurationVar(&f.opts.Duration, "duration", 0, "steady window of a level (30s when --requests is not given either)")
	fs.DurationVar(&f.opts.SLO.TTFT, "slo-ttft", 0, "goodput: longest time to the first token")
	fs.DurationVar(&f.opts.SLO.TPOT, "slo-tpot", 0, "goodput: longest time per further token")
	fs.Uint64Var(&f.opts.Seed, "seed", 1, "of prompts and send times")
	fs.StringVar(&f.workload, "workload", bench.Diverse, "diverse, rag or multiturn")
	fs.StringVar(&f.prompts, "prompts", "", `JSONL file of {"prompt": "..."} instead`)
	fs.IntVar(&f.words, "input-words", 256, "words of a prompt; multi-turn: of a turn")
	fs.Float64Var(&f.overlap, "overlap", 0.8, "rag: share of a prompt that all have in common, 0.30 to 0.95")
	fs.StringVar(&f.output, "output", "", "write the result to this JSON file")
	fs.StringVar(&f.raw, "raw", "", "write one line per request to this JSONL file")
	fs.BoolVar(&f.asJSON, "json", false, "print the result as JSON")
}

var errNotValid = errors.New("no level is valid")

func (f *benchServeFlags) run(ctx context.Context, term *ui.Terminal) (err error) {
	if err := f.complete(); err != nil {
		return asUsage(err)
	}
	if f.raw != "" {
		end, rawErr := f.record()
		if rawErr != nil {
			return rawErr
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	res, err := bench.Run(ctx, f.opts)
	if err != nil {
		return asUsage(err)
	}
	if err := f.write(term, res); err != nil {
		return err
	}
	for _, l := range res.Levels {
		if l.Valid {
			return nil
		}
	}
	return advise(errNotValid, "radish doctor; curl %s/health", res.URL)
}

func asUsage(err error) error {
	if errors.Is(err, bench.ErrOptions) {
		return &usageError{err: err}
	}
	return err
}

// complete makes the workload and fills what was left out.
func (f *benchServeFlags) complete() (err error) {
	if f.opts.Requests == 0 && f.opts.Duration == 0 {
		f.opts.Duration = 30 * time.Second
	}
	if f.prompts == "" {
		f.opts.Workload, err = bench.NewWorkload(f.workload, f.words, f.overlap, f.opts.Seed)
		return err
	}
	in, err := os.Open(f.prompts)
	if err != nil {
		return fmt.Errorf("open prompts: %w", err)
	}
	defer in.Close()
	f.opts.Workload, err = bench.ReadWorkload(in)
	return err
}

// record writes each request to the raw file; the answer ends it.
func (f *benchServeFlags) record() (func() error, error) {
	file, err := os.Create(f.raw)
	if err != nil {
		return nil, fmt.Errorf("create raw file: %w", err)
	}
	w := bufio.NewWriter(file)
	enc := json.NewEncoder(w)
	f.opts.Observe = func(r bench.Request) { err = errors.Join(err, enc.Encode(r)) }
	return func() error { return errors.Join(err, w.Flush(), file.Close()) }, nil
}

func (f *benchServeFlags) write(term *ui.Terminal, res *bench.Result) error {
	if err := writeResult(f.output, res); err != nil {
		return err
	}
	if f.asJSON {
		return term.JSON(res)
	}
	return printBench(term, res)
}

// writeResult writes a result to a file as JSON; "" names none.
func writeResult(file string, res any) error {
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(res, "", "  ")
	if err == nil {
		err = os.WriteFile(file, append(b, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// printBench writes a column per level, then what to know, then what the words mean.
func printBench(term *ui.Terminal, res *bench.Result) error {
	rows := make([][]string, len(benchRows))
	for i, row := range benchRows {
		rows[i] = []string{row.name}
		for _, l := range res.Levels {
			rows[i] = append(rows[i], row.value(l))
		}
	}
	if err := ui.Table(term.Out, rows); err != nil {
		return err
	}
	for _, l := range res.Levels {
		for _, why := range l.Reasons {
			term.Say("users %s: %s", usersOf(l), why)
		}
		for what, n := range l.Failures {
			term.Say("users %s: %d x %s", usersOf(l), n, what)
		}
	}
	for _, name := range []string{"ttft", "tpot", "itl", "e2e", "output", "concurrency"} {
		term.Say("%s: %s", name, res.Definitions[name])
	}
	return nil
}

func usersOf(l bench.Level) string {
	if l.Users == 0 {
		return "open"
	}
	return fmt.Sprint(l.Users)
}

// benchRows are the table's rows.
var benchRows = []struct {
	name  string
	value func(bench.Level) string
}{
	{"users", usersOf},
	{"valid", func(l bench.Level) string { return fmt.Sprint(l.Valid) }},
	{"in flight", func(l bench.Level) string { return fmt.Sprintf("%.1f", l.Busy) }},
	{"window s", func(l bench.Level) string { return fmt.Sprintf("%.1f", l.Window) }},
	{"complete/incomplete/failed", func(l bench.Level) string {
		return fmt.Sprintf("%d/%d/%d", l.Counts.Complete, l.Counts.Incomplete, l.Counts.Failed)
	}},
	{"output tok/s", func(l bench.Level) string { return fmt.Sprintf("%.1f", l.Rates.Output) }},
	{"per request tok/s", func(l bench.Level) string { return fmt.Sprintf("%.1f", l.Rates.PerUser) }},
	{"input tok/s", func(l bench.Level) string { return fmt.Sprintf("%.1f", l.Rates.Input) }},
	{"goodput req/s", func(l bench.Level) string { return fmt.Sprintf("%.2f", l.Rates.Goodput) }},
	{"scaling efficiency", func(l bench.Level) string { return percent(l.Rates.Efficiency) }},
	{"prompt cached", func(l bench.Level) string { return percent(l.Rates.Cached) }},
	{"ttft ms p50/p90/p95/p99", func(l bench.Level) string { return spread(l.TTFT) }},
	{"tpot ms", func(l bench.Level) string { return spread(l.TPOT) }},
	{"itl ms", func(l bench.Level) string { return spread(l.ITL) }},
	{"e2e ms", func(l bench.Level) string { return spread(l.E2E) }},
}

func percent(v *float64) string {
	if v == nil {
		return "n/a"
	}
	return fmt.Sprintf("%.1f %%", *v*100)
}

func spread(s *bench.Spread) string {
	if s == nil {
		return "n/a"
	}
	return fmt.Sprintf("%.1f / %.1f / %.1f / %.1f", s.P50*1e3, s.P90*1e3, s.P95*1e3, s.P99*1e3)
}
