package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/server/bench"
	benchreport "radish/server/bench/report"
)

// benchRadixFlags are one experiment of prefix caching.
type benchRadixFlags struct {
	opts   bench.RadixOptions
	words  int
	seed   uint64
	only   []string
	output string
	report string
	asJSON bool
}

func newBenchRadixCommand(term *ui.Terminal) *cobra.Command {
	f := &benchRadixFlags{}
	c := &cobra.Command{
		Use:   "radix",
		Short: "what the prefix cache of a running server is worth, on and off in turn",
		Long: `Load a server with prompts that share nothing, with prompts that share 80 and 95 % (documents before a question), and
with conversations of five turns; each with the prefix cache on and off, in pairs whose order alternates, and print the
ratios on / off of throughput and of the time to the first token.

Off is found out by asking: radish's "cache_prompt": false computes a request exactly as under --disable-radix-cache; on
other servers a cache_salt of its own for each request, or a random first word. The result says which it was. The cache
is emptied before each run where the server lets it (/flush_cache), so do not point this at a server that others use.

  radish bench radix --url http://127.0.0.1:30000
  radish bench radix --users 100 --input-words 400 --output-len 8 --pairs 3 --json > radix.json

Exit status is 1 when no scenario was valid, or when the server reuses no prefixes.
` + exitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.Context(), term) },
	}
	fs, t := c.Flags(), &f.opts.Target
	fs.StringVar(&t.URL, "url", "http://127.0.0.1:30000", "the server, without /v1")
	fs.StringVar(&t.Key, "api-key", os.Getenv("RADISH_API_KEY"), "the server's API key")
	fs.StringVar(&t.Model, "model", "", "name of the model to ask; empty: the first that the server lists")
	fs.DurationVar(&t.Timeout, "timeout", 10*time.Minute, "of one request")
	fs.IntVar(&t.MaxTokens, "output-len", 16, "tokens of an answer")
	fs.IntVar(&f.opts.Users, "users", 16, "users at once")
	fs.IntVar(&f.opts.Pairs, "pairs", 3, "pairs of runs, on and off, of each scenario")
	fs.IntVar(&f.opts.Requests, "requests", 0, "measured requests of one run (default: two for each user)")
	fs.IntVar(&f.words, "input-words", 256, "words of a prompt; of a conversation's last one")
	fs.Uint64Var(&f.seed, "seed", 1, "of the prompts")
	fs.StringSliceVar(&f.only, "only", nil, "scenarios to run, by the beginning of their names (default: all)")
	fs.StringVar(&f.output, "output", "", "write the result to this JSON file")
	fs.StringVar(&f.report, "report", "", "write a plot (PNG) and report.html, which stands alone, into this directory")
	fs.BoolVar(&f.asJSON, "json", false, "print the result as JSON")
	return c
}

func (f *benchRadixFlags) run(ctx context.Context, term *ui.Terminal) (err error) {
	if f.opts.Scenarios, err = bench.Scenarios(f.words, f.seed); err != nil {
		return asUsage(err)
	}
	if err := f.choose(); err != nil {
		return err
	}
	if f.opts.Requests == 0 {
		f.opts.Requests = 2 * f.opts.Users
	}
	f.opts.Observe = func(name string, pair int, on bool, r bench.RadixRun) {
		term.Say("%s, pair %d of %d, cache %s: %.1f output tok/s, %d answers in %.1f s",
			name, pair+1, f.opts.Pairs, onOff(on), r.Output, r.Complete, r.Window)
	}
	res, err := bench.RunRadix(ctx, f.opts)
	if errors.Is(err, bench.ErrNoCache) {
		return advise(err, noCacheAdvice)
	}
	if err != nil {
		return asUsage(err)
	}
	if err := writeResult(f.output, res); err != nil {
		return err
	}
	if f.report != "" {
		page, err := benchreport.WriteRadix(f.report, res)
		if err != nil {
			return err
		}
		term.Say("report: %s", page)
	}
	if err := f.print(term, res); err != nil {
		return err
	}
	for _, s := range res.Scenarios {
		if s.Valid {
			return nil
		}
	}
	return advise(errNotValid, "radish bench serve --url %s", res.URL)
}

const noCacheAdvice = "start radish serve without --disable-radix-cache; SGLang with --enable-cache-report; vLLM with --enable-prompt-tokens-details"

// choose keeps the scenarios that --only names.
func (f *benchRadixFlags) choose() error {
	all := f.opts.Scenarios
	for _, name := range f.only {
		if !slices.ContainsFunc(all, func(s bench.Scenario) bool { return strings.HasPrefix(s.Name, name) }) {
			return &usageError{err: fmt.Errorf("read only: no scenario begins with %q", name)}
		}
	}
	if len(f.only) > 0 {
		f.opts.Scenarios = slices.DeleteFunc(all, func(s bench.Scenario) bool {
			return !slices.ContainsFunc(f.only, func(name string) bool { return strings.HasPrefix(s.Name, name) })
		})
	}
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// offWords say what "off" was.
var offWords = map[bench.OffMode]string{
	bench.OffByFlag:  `"cache_prompt": false in each request (radish: as under --disable-radix-cache)`,
	bench.OffBySalt:  "a cache_salt of its own for each request: nothing is found, but the cache still works; a ratio near 1 says nothing about its cost",
	bench.OffByNonce: "a random word before each prompt: nothing is found, but the cache still works; a ratio near 1 says nothing about its cost",
}

func (f *benchRadixFlags) print(term *ui.Terminal, res *bench.RadixResult) error {
	if f.asJSON {
		return term.JSON(res)
	}
	rows := [][]string{{"scenario", "cached", "implied", "tok/s off", "tok/s on", "on/off", "ttft p50 off", "on", "on/off", "valid"}}
	for i := range res.Scenarios {
		rows = append(rows, radixRow(&res.Scenarios[i]))
	}
	if err := ui.Table(term.Out, rows); err != nil {
		return err
	}
	for _, s := range res.Scenarios {
		for _, why := range s.Reasons {
			term.Say("%s: %s", s.Name, why)
		}
	}
	term.Say("off: %s", offWords[res.Off])
	if !res.Flushed {
		term.Say("the server does not empty its cache: each run had prompts of its own")
	}
	for _, name := range []string{"throughput_ratio", "ttft_p50_ratio", "cached_ratio", "implied_ratio"} {
		term.Say("%s: %s", name, res.Definitions[name])
	}
	return nil
}

func radixRow(s *bench.RadixScenario) []string {
	on, off := s.Medians()
	return []string{
		s.Name, percent(s.CachedOn), percent(&s.Implied),
		fmt.Sprintf("%.1f", off.Output), fmt.Sprintf("%.1f", on.Output), ratio(s.Throughput),
		millis(off.TTFT), millis(on.TTFT), ratio(s.TTFT), fmt.Sprint(s.Valid),
	}
}

func ratio(r *bench.Ratio) string {
	if r == nil {
		return "n/a"
	}
	return fmt.Sprintf("%.3f (%.3f-%.3f)", r.Median, r.Min, r.Max)
}

func millis(seconds *float64) string {
	if seconds == nil {
		return "n/a"
	}
	return fmt.Sprintf("%.1f ms", *seconds*1e3)
}
