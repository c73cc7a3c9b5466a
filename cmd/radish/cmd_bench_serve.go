package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/server/bench"
	benchreport "radish/server/bench/report"
)

// benchServeFlags are one load measurement of an endpoint.
type benchServeFlags struct {
	opts     bench.Options
	device   benchDeviceFlags
	slo      struct{ ttft, tpot, e2e time.Duration }
	workload string
	prompts  string
	sharegpt string
	turns    int
	words    int
	overlap  float64
	noTele   bool
	define   bool
	output   string
	raw      string
	report   string
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
  radish bench serve --url http://gpu:30000 --users 1,8,64 --gpu "H100 SXM" --model-path /models/Llama-3.1-8B-Instruct
  radish bench serve --url http://127.0.0.1:30000 --users 1,2,4,8,16,32 --repeat 3 --report report
  radish bench serve --definitions

Exit status is 1 when no level was valid, or a figure is impossible on the device.
` + exitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.Context(), term) },
	}
	f.add(c)
	f.device.add(c)
	return c
}

func (f *benchServeFlags) add(c *cobra.Command) {
	fs, t := c.Flags(), &f.opts.Target
	fs.StringVar(&t.URL, "url", "http://127.0.0.1:30000", "the server, without /v1")
	fs.StringVar(&t.Key, "api-key", os.Getenv("RADISH_API_KEY"), "the server's API key")
	fs.StringVar(&t.Model, "model", "", "name of the model to ask; empty: the first that the server lists")
	fs.IntVar(&t.MaxTokens, "output-len", 128, "tokens of an answer")
	fs.BoolVar(&t.Natural, "natural", false, "let the model stop where it wants, instead of ignore_eos")
	fs.BoolVar(&t.Obey, "obey-retry-after", false, "closed loop: a refused user waits as long as the server says")
	fs.DurationVar(&t.Timeout, "timeout", 10*time.Minute, "of one request")
	fs.IntSliceVar(&f.opts.Users, "users", nil, "closed loop: users at once, one level each")
	fs.Float64SliceVar(&f.opts.Rates, "rate", nil, "open loop: requests per second, one level each")
	fs.Float64Var(&f.opts.Burstiness, "burstiness", 1, "open loop: shape of the gamma-distributed gaps; 1 is Poisson, less is burstier")
	fs.IntVar(&f.opts.Repeats, "repeat", 1, "measure each level so often; two or more give confidence intervals")
	fs.BoolVar(&f.opts.Flush, "flush", false, "empty the server's prefix cache before each level (radish, SGLang)")
	fs.IntVar(&f.opts.Requests, "requests", 0, "measured requests of a level; 0: until --duration")
	fs.DurationVar(&f.opts.Duration, "duration", 0, "steady window of a level (30s when --requests is not given either)")
	fs.DurationVar(&f.slo.ttft, "slo-ttft", 0, "goodput: longest time to the first token")
	fs.DurationVar(&f.slo.tpot, "slo-tpot", 0, "goodput: longest time per further token")
	fs.DurationVar(&f.slo.e2e, "slo-e2e", 0, "goodput: longest time of an answer")
	fs.Uint64Var(&f.opts.Seed, "seed", 1, "of prompts and send times")
	fs.StringVar(&f.workload, "workload", bench.Diverse, "diverse, rag, multiturn or json (answers held to a schema; natural length)")
	fs.StringVar(&f.prompts, "prompts", "", `JSONL file of {"prompt": "..."} or {"turns": ["...", ...]} instead`)
	fs.StringVar(&f.sharegpt, "sharegpt", "", "ShareGPT file instead")
	fs.IntVar(&f.turns, "turns", 1, "sharegpt: user turns of a conversation, at most")
	fs.IntVar(&f.words, "input-words", 256, "words of a prompt; multi-turn: of a turn")
	fs.Float64Var(&f.overlap, "overlap", 0.8, "rag: share of a prompt that all have in common, 0.30 to 0.95")
	fs.StringVar(&f.opts.Beside.MetricsURL, "metrics-url", "", "the server's metrics; empty: --url + /metrics")
	fs.BoolVar(&f.noTele, "no-telemetry", false, "do not read the server's metrics")
	fs.BoolVar(&f.define, "definitions", false, "say what each figure is, and end")
	fs.StringVar(&f.output, "output", "", "write the result to this JSON file")
	fs.StringVar(&f.raw, "raw", "", "write one line per request to this JSONL file")
	fs.StringVar(&f.report, "report", "", "write plots (PNG) and report.html, which stands alone, into this directory")
	fs.BoolVar(&f.asJSON, "json", false, "print the result as JSON")
}

var errNotValid = errors.New("the result is not valid")

func (f *benchServeFlags) run(ctx context.Context, term *ui.Terminal) (err error) {
	if f.define {
		return printDefinitions(term)
	}
	if err := f.complete(); err != nil {
		return asUsage(err)
	}
	endMeter, err := f.device.fill(term, &f.opts.Beside, f.opts.Target.URL)
	if err != nil {
		return err
	}
	defer endMeter()
	if f.raw != "" {
		end, rawErr := f.record()
		if rawErr != nil {
			return rawErr
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	if !f.asJSON {
		f.opts.Hooks.Progress = benchProgress(term)
	}
	res, err := bench.Run(ctx, f.opts)
	if res == nil {
		return asUsage(err)
	}
	if len(res.Levels) > 0 { // what an interrupted run has measured is kept
		err = errors.Join(err, f.write(term, res))
	}
	if err != nil || res.Valid {
		return err
	}
	return advise(errNotValid, "radish doctor; curl %s/health", res.Endpoint.URL)
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
	f.opts.Version, f.opts.Beside.Telemetry = version, !f.noTele
	f.opts.SLO = bench.SLO{TTFT: f.slo.ttft.Seconds(), TPOT: f.slo.tpot.Seconds(), E2E: f.slo.e2e.Seconds()}
	if f.raw != "" {
		f.opts.Raw = filepath.Base(f.raw)
	}
	f.opts.Workload, err = f.makeWorkload()
	if err == nil && f.opts.Workload.Kind == bench.JSON {
		f.opts.Target.Natural = true
	}
	return err
}

func (f *benchServeFlags) makeWorkload() (*bench.Workload, error) {
	if f.prompts == "" && f.sharegpt == "" {
		return bench.NewWorkload(f.workload, f.words, f.overlap, f.opts.Seed)
	}
	return openWorkload(f.prompts, f.sharegpt, f.turns, f.opts.Seed)
}

// openWorkload reads a file of prompts, of one form or the other.
func openWorkload(prompts, sharegpt string, turns int, seed uint64) (*bench.Workload, error) {
	if prompts != "" && sharegpt != "" {
		return nil, fmt.Errorf("%w: give either prompts or a ShareGPT file", bench.ErrOptions)
	}
	in, err := os.Open(cmp.Or(prompts, sharegpt))
	if err != nil {
		return nil, fmt.Errorf("open prompts: %w", err)
	}
	defer in.Close()
	if sharegpt != "" {
		return bench.ReadShareGPT(in, turns, seed)
	}
	return bench.ReadWorkload(in)
}

// record writes each request to the raw file; the answer ends it.
func (f *benchServeFlags) record() (func() error, error) {
	file, err := os.Create(f.raw)
	if err != nil {
		return nil, fmt.Errorf("create raw file: %w", err)
	}
	w := bufio.NewWriter(file)
	enc := json.NewEncoder(w)
	f.opts.Hooks.Observe = func(r bench.Request) { err = errors.Join(err, enc.Encode(r)) }
	return func() error { return errors.Join(err, w.Flush(), file.Close()) }, nil
}

func (f *benchServeFlags) write(term *ui.Terminal, res *bench.Result) error {
	if err := writeResult(f.output, res); err != nil {
		return err
	}
	if f.report != "" {
		page, err := benchreport.Write(f.report, res)
		if err != nil {
			return err
		}
		term.Say("report: %s", page)
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
