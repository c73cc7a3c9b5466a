package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/server/bench"
	benchreport "radish/server/bench/report"
)

func newBenchReportCommand(term *ui.Terminal) *cobra.Command {
	dir := ""
	c := &cobra.Command{
		Use:   "report RESULT.json",
		Short: "plots and an HTML page of a result of bench serve",
		Long: `Read what radish bench serve --output wrote, and write report.html, which stands alone, and a PNG for each plot. The
page's path is printed.

  radish bench report result.json
  radish bench report result.json --output /tmp/report
` + exitStatus,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{err: fmt.Errorf("read arguments: one result file is needed, %d were given", len(args))}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return runBenchReport(term, args[0], dir) },
	}
	c.Flags().StringVar(&dir, "output", "", "directory to write to (default: the file's name with -report)")
	return c
}

func runBenchReport(term *ui.Terminal, file, dir string) error {
	res, _, err := readBench(file, "")
	if err != nil {
		return advise(err, "radish bench serve --output %s", file)
	}
	if dir == "" {
		dir = strings.TrimSuffix(file, ".json") + "-report"
	}
	return drawReport(term, dir, res)
}

func drawReport(term *ui.Terminal, dir string, res *bench.Result) error {
	name, err := benchreport.Write(dir, res)
	if err != nil {
		return err
	}
	term.Answer("%s\n", name)
	return nil
}
