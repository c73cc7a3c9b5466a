package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/server/bench"
)

// benchCompareFlags are one comparison of two results.
type benchCompareFlags struct {
	rawA, rawB string
	force      bool
	asJSON     bool
}

func newBenchCompareCommand(term *ui.Terminal) *cobra.Command {
	f := &benchCompareFlags{}
	c := &cobra.Command{
		Use:   "compare A.json B.json",
		Short: "two results of bench serve side by side, with a word for what the difference means",
		Long: `Compare two results of bench serve, load by load, and say of each difference whether it is one: better, worse, no
difference seen, or that the files cannot say.

Three repeats or more of both are tested as such (Welch). Otherwise the requests themselves are, where the raw file of
each lies beside its result or is named; that covers what differs within a run and not what differs between runs.
Results of different workloads, output lengths or loops are refused, unless forced.

  radish bench serve --users 10,50 --repeat 3 --output a.json --raw a.jsonl
  radish bench compare a.json b.json
  radish bench compare a.json b.json --force --json
` + exitStatus,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return &usageError{err: fmt.Errorf("compare two results, not %d", len(args))}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return f.run(term, args[0], args[1]) },
	}
	fs := c.Flags()
	fs.StringVar(&f.rawA, "raw-a", "", "A's raw file; empty: the one that A names, beside it")
	fs.StringVar(&f.rawB, "raw-b", "", "B's raw file, likewise")
	fs.BoolVar(&f.force, "force", false, "compare what was not measured alike, and say so")
	fs.BoolVar(&f.asJSON, "json", false, "print the comparison as JSON")
	return c
}

func (f *benchCompareFlags) run(term *ui.Terminal, fileA, fileB string) error {
	a, rawA, err := readBench(fileA, f.rawA)
	if err != nil {
		return err
	}
	b, rawB, err := readBench(fileB, f.rawB)
	if err != nil {
		return err
	}
	c, err := bench.Compare(a, b, rawA, rawB, f.force)
	if errors.Is(err, bench.ErrIncomparable) && !f.force {
		return advise(err, "measure both alike, or add --force")
	}
	if err != nil {
		return err
	}
	if f.asJSON {
		return term.JSON(c)
	}
	return printComparison(term, c)
}

// readBench reads a result and its raw file. A raw file that was not asked for may be missing.
func readBench(file, rawFile string) (*bench.Result, bench.Raw, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, nil, fmt.Errorf("open result: %w", err)
	}
	defer in.Close()
	res, err := bench.ReadResult(in)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	if rawFile == "" && res.Raw == "" {
		return res, nil, nil
	}
	lines, err := os.Open(cmp.Or(rawFile, filepath.Join(filepath.Dir(file), filepath.Base(res.Raw))))
	if rawFile == "" && errors.Is(err, fs.ErrNotExist) {
		return res, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open raw records: %w", err)
	}
	defer lines.Close()
	raw, err := bench.ReadRaw(lines)
	return res, raw, err
}

func printComparison(term *ui.Terminal, c *bench.Comparison) error {
	rows := [][]string{{"load", "figure", "A", "B", "change", "word", "by"}}
	for _, l := range c.Levels {
		load := fmt.Sprint(l.Users)
		if l.Users == 0 {
			load = fmt.Sprintf("%g/s", l.Rate)
		}
		for _, x := range l.Figures {
			change := "n/a"
			if x.Change != nil {
				change = fmt.Sprintf("%+.1f %%", *x.Change*100)
			}
			rows = append(rows, []string{load, x.Name, number(x.A), number(x.B), change, string(x.Word), cmp.Or(x.By, "-")})
		}
	}
	if err := ui.Table(term.Out, rows); err != nil {
		return err
	}
	for _, d := range c.Differences {
		term.Say("forced: %s", d)
	}
	for _, n := range c.Notes {
		term.Say("%s", n)
	}
	term.Say("words are at 95 %%: of twenty about nothing, one is chance")
	return nil
}

func number(v *float64) string {
	if v == nil {
		return "n/a"
	}
	return fmt.Sprintf("%.4g", *v)
}
