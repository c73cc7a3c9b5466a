package main

import (
	"context"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/server/supervise"
)

type logsFlags struct {
	instance
	lines  int
	follow bool
	start  bool
}

func newLogsCommand(term *ui.Terminal) *cobra.Command {
	f := &logsFlags{}
	c := &cobra.Command{
		Use:   "logs",
		Short: "show the output of an instance",
		Long: `Show the output of an instance's worker, whether it runs or not, rotated files included. Secrets were masked
when it was written. The first lines of every start are kept apart, because the cause of a failure is at the top.

  radish logs
  radish logs -f
  radish logs --start                 the beginning of the newest start
  radish logs -n 100000 | radish explain -
` + exitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runLogs(c.Context(), term, f) },
	}
	f.add(c)
	c.Flags().IntVarP(&f.lines, "lines", "n", 50, "how many lines from the end")
	c.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on with what comes, until interrupted")
	c.Flags().BoolVar(&f.start, "start", false, "the first lines of the newest start instead")
	return c
}

func runLogs(ctx context.Context, term *ui.Terminal, f *logsFlags) error {
	p, err := f.place()
	if err != nil {
		return err
	}
	var b []byte
	if f.start {
		b, err = supervise.FirstLines(p)
	} else {
		b, err = supervise.Tail(p, f.lines)
	}
	if err != nil {
		return err
	}
	if len(b) == 0 && !f.follow {
		term.Say("instance %s has no output in %s", f.name, p.Logs)
		return nil
	}
	if err := copyAll(term.Out, b); err != nil || !f.follow {
		return err
	}
	if err := supervise.Follow(ctx, p, func(b []byte) { term.Out.Write(b) }); err != nil {
		return err
	}
	return ctx.Err()
}
