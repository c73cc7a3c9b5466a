package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/provision/builtin"
	"radish/server/bench"
	"radish/server/token"
)

// benchAdviseFlags are one question about a workload.
type benchAdviseFlags struct {
	opts     bench.AdviseOptions
	pairs    bench.RadixOptions
	prompts  string
	sharegpt string
	turns    int
	model    string
	measure  bool
	output   string
	asJSON   bool
}

func newBenchAdviseCommand(term *ui.Terminal) *cobra.Command {
	f := &benchAdviseFlags{}
	c := &cobra.Command{
		Use:   "advise",
		Short: "how much of a workload's prompts is shared, and what that implies",
		Long: `Measure how much of each prompt an earlier one began with, and say what that implies for the prefix cache, the schedule
policy and the chunk size. Each line says whether it is computed from the text, counted by the server, or measured.

From a file alone, the figures are computed: what a cache without limit would save. With --measure the server at --url
is loaded with the file, cache on and off in turn (see radish bench radix), for seconds to minutes. Without a file, the
counters of the server at --url are read twice, --watch apart, and nothing is sent.

  radish bench advise --prompts prompts.jsonl --model-path /models/Llama-3.1-8B-Instruct
  radish bench advise --prompts prompts.jsonl --url http://127.0.0.1:30000 --measure
  radish bench advise --url http://127.0.0.1:30000 --watch 60s
` + exitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.Context(), term) },
	}
	fs, t := c.Flags(), &f.opts.Target
	fs.StringVar(&f.prompts, "prompts", "", `JSONL file of {"prompt": "..."} or {"turns": ["...", ...]}, in the order of their arrival`)
	fs.StringVar(&f.sharegpt, "sharegpt", "", "ShareGPT file instead")
	fs.IntVar(&f.turns, "turns", 5, "sharegpt: user turns of a conversation, at most")
	fs.StringVar(&f.model, "model-path", "", "directory of the model, or builtin, whose tokenizer counts tokens")
	fs.StringVar(&t.URL, "url", "", "a server, without /v1")
	fs.StringVar(&t.Key, "api-key", os.Getenv("RADISH_API_KEY"), "the server's API key")
	fs.StringVar(&t.Model, "model", "", "name of the model to ask; empty: the first that the server lists")
	fs.DurationVar(&t.Timeout, "timeout", 10*time.Minute, "of one request")
	fs.DurationVar(&f.opts.Watch, "watch", 10*time.Second, "without a file: time between two readings of the counters")
	fs.BoolVar(&f.measure, "measure", false, "load the server with the file, cache on and off in turn; its cache is emptied")
	fs.IntVar(&t.MaxTokens, "output-len", 16, "measure: tokens of an answer")
	fs.IntVar(&f.pairs.Users, "users", 16, "measure: users at once, at most")
	fs.IntVar(&f.pairs.Pairs, "pairs", 3, "measure: pairs of runs, on and off")
	fs.IntVar(&f.pairs.Requests, "requests", 64, "measure: requests of one run, at most")
	fs.StringVar(&f.output, "output", "", "write the result to this JSON file")
	fs.BoolVar(&f.asJSON, "json", false, "print the result as JSON")
	return c
}

func (f *benchAdviseFlags) run(ctx context.Context, term *ui.Terminal) error {
	if err := f.complete(term); err != nil {
		return asUsage(err)
	}
	a, err := bench.Advise(ctx, f.opts)
	if errors.Is(err, bench.ErrNoCache) {
		return advise(err, noCacheAdvice)
	}
	if err != nil {
		return asUsage(err)
	}
	if err := writeResult(f.output, a); err != nil {
		return err
	}
	if f.asJSON {
		return term.JSON(a)
	}
	return printAdvice(term, a)
}

func (f *benchAdviseFlags) complete(term *ui.Terminal) (err error) {
	file := f.prompts != "" || f.sharegpt != ""
	switch {
	case !file && f.opts.Target.URL == "":
		return fmt.Errorf("%w: give a file of prompts (--prompts, --sharegpt), a server (--url), or both", bench.ErrOptions)
	case f.measure && (!file || f.opts.Target.URL == ""):
		return fmt.Errorf("%w: --measure needs a file of prompts and a server (--url)", bench.ErrOptions)
	}
	if file {
		if f.opts.Workload, err = openWorkload(f.prompts, f.sharegpt, f.turns, 1); err != nil {
			return err
		}
	}
	f.opts.Ask = f.opts.Target.URL != ""
	if f.model != "" {
		if f.opts.Count, err = tokenCounter(f.model); err != nil {
			return err
		}
	}
	if f.measure {
		f.opts.Measure = &f.pairs
		f.pairs.Observe = func(_ string, pair int, on bool, r bench.RadixRun) {
			term.Say("pair %d of %d, cache %s: %.1f output tok/s, %d answers in %.1f s", pair+1, f.pairs.Pairs, onOff(on), r.Output, r.Complete, r.Window)
		}
	}
	return nil
}

// tokenCounter counts with the tokenizer of a model's directory.
func tokenCounter(path string) (func(string) int, error) {
	files := builtin.FS()
	if path != "builtin" {
		files = os.DirFS(path)
	}
	t, err := token.Load(files)
	if err != nil {
		return nil, fmt.Errorf("read tokenizer of %s: %w", path, err)
	}
	return func(text string) int {
		ids, err := t.Encode(text, token.EncodeOptions{})
		if err != nil {
			return 0
		}
		return len(ids)
	}, nil
}

func printAdvice(term *ui.Terminal, a *bench.Advice) error {
	var rows [][]string
	if o := a.Overlap; o != nil {
		rows = append(rows,
			[]string{"requests", fmt.Sprint(o.Requests)},
			[]string{"shared with an earlier prompt", percent(&o.Shared) + " of the bytes"},
			[]string{"requests that share half or more", percent(&o.Hits)})
	}
	if a.TokenBytes != nil {
		rows = append(rows, []string{"bytes of a token", fmt.Sprintf("%.2f", *a.TokenBytes)})
	}
	if a.PoolTokens != nil {
		rows = append(rows, []string{"KV pool", fmt.Sprintf("%.0f tokens", *a.PoolTokens)})
	}
	for _, s := range a.Suggestions {
		rows = append(rows, []string{s.Setting, s.Value + " (" + string(s.Basis) + ")"})
	}
	if err := ui.Table(term.Out, rows); err != nil {
		return err
	}
	for _, s := range a.Suggestions {
		term.Answer("%s: %s\n", s.Setting, s.Because)
	}
	if m := a.Measured; m != nil {
		for _, why := range m.Reasons {
			term.Say("measured: %s", why)
		}
		term.Say("off: %s", offWords[a.Off])
	}
	return nil
}
