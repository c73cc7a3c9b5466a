package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/server/supervise"
)

type stopFlags struct {
	instance
	now     bool
	timeout time.Duration
}

func newStopCommand(term *ui.Terminal) *cobra.Command {
	f := &stopFlags{}
	c := &cobra.Command{
		Use:   "stop",
		Short: "drain an instance, stop it, and see that nothing of it is left",
		Long: `Stop an instance: new requests are refused, the running ones finish within the drain timeout that it was
started with, then every process that came from it is ended and the GPU's memory is seen back where it was.

  radish stop
  radish stop --name small
  radish stop --now          running requests are cut; also ends a supervisor that does not answer
` + actionExitStatus + `  124  it did not end within --timeout; it goes on stopping
`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runStop(c.Context(), term, f) },
	}
	f.add(c)
	c.Flags().BoolVar(&f.now, "now", false, "do not let requests finish")
	c.Flags().DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long to wait for the end")
	return c
}

func runStop(ctx context.Context, term *ui.Terminal, f *stopFlags) error {
	p, err := f.place()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	verb := supervise.VerbStop
	if f.now {
		verb = supervise.VerbStopNow
	}
	st, err := supervise.Ask(ctx, p, verb)
	switch {
	case errors.Is(err, supervise.ErrUnreachable) && f.now:
		if err := supervise.Rescue(ctx, p); err != nil {
			return err
		}
		term.Say("stopped: the supervisor did not answer and was ended, with everything that it had started")
		return nil
	case errors.Is(err, supervise.ErrEnded):
		return sayStopped(ctx, term, p) // of itself, while it was asked to
	case errors.Is(err, supervise.ErrNotRunning):
		return f.notRunning(ctx, term, p)
	case err != nil:
		return adviseDaemon(err, f.name)
	}
	return waitStopped(ctx, term, p, st)
}

// notRunning still ends what a killed supervisor has left.
func (f *stopFlags) notRunning(ctx context.Context, term *ui.Terminal, p supervise.Place) error {
	st, err := supervise.Look(ctx, p)
	if err != nil {
		return err
	}
	if st.State == supervise.Lost {
		if err := supervise.Rescue(ctx, p); err != nil {
			return err
		}
		term.Say("stopped: the supervisor was gone, its worker %d was ended", st.Worker.PID)
		return nil
	}
	return adviseDaemon(supervise.ErrNotRunning, f.name)
}

// exitTimeout is timeout(1)'s code.
const exitTimeout = 124

// waitStopped follows the end, and passes on what the supervisor warns of.
func waitStopped(ctx context.Context, term *ui.Terminal, p supervise.Place, st *supervise.Status) error {
	told := newProgress(term)
	for {
		next, err := supervise.Ask(ctx, p, supervise.VerbStatus)
		switch {
		case errors.Is(err, supervise.ErrNotRunning):
			return sayStopped(ctx, term, p)
		case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
			term.Problem(fmt.Errorf("stop %s: it is still %s", st.Name, st.State), "radish stop --now --name "+st.Name)
			return exitCodeOnly(exitTimeout)
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			st = next
			told.tell(st)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func sayStopped(ctx context.Context, term *ui.Terminal, p supervise.Place) error {
	st, err := supervise.Look(ctx, p)
	if err != nil {
		return err
	}
	for _, w := range st.Warnings {
		term.Say("warning: %s", w)
	}
	term.Say("stopped")
	return nil
}
