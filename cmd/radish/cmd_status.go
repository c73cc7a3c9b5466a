package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"radish/cmd/internal/ui"
	"radish/server/supervise"
)

type statusFlags struct {
	instance
	json, quiet, all bool
}

func newStatusCommand(term *ui.Terminal) *cobra.Command {
	f := &statusFlags{}
	c := &cobra.Command{
		Use:   "status",
		Short: "say how an instance is: as text, as JSON, or by the exit status alone",
		Long: `Say how an instance is: state, uptime, restarts and their reasons, memory, tokens per second, queue, and how
much of the KV pool running requests hold: below 95 % is healthy, from there to 98 % a warning, above it critical, for
then requests are put back to make room.

  radish status
  radish status --all
  radish status --json | jq .state        schema ` + supervise.Schema + `
  radish status --quiet && echo ready
` + stateExitStatus,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runStatus(c.Context(), term, f) },
	}
	f.add(c)
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON object (with --all: an array)")
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print nothing")
	c.Flags().BoolVar(&f.all, "all", false, "every instance of this user; the exit status is the first one's that is not ready")
	return c
}

// statusAnswer is a status and what follows from it.
type statusAnswer struct {
	*supervise.Status
	ExitCode int    `json:"exit_code"`
	KVBand   string `json:"kv_band,omitempty"`
}

func answerOf(st *supervise.Status) statusAnswer {
	a := statusAnswer{Status: st, ExitCode: st.State.ExitCode()}
	if st.Report != nil && st.Report.Figures != nil {
		a.KVBand = kvBand(st.Report.Figures.KVUsage)
	}
	return a
}

// kvBand names the band of the part of the KV pool that running requests hold.
func kvBand(usage float64) string {
	switch {
	case usage < 0.95:
		return "healthy"
	case usage <= 0.98:
		return "warning"
	}
	return "critical"
}

func runStatus(ctx context.Context, term *ui.Terminal, f *statusFlags) error {
	names := []string{f.name}
	if f.all {
		run, _, err := daemonDirs()
		if err != nil {
			return err
		}
		if names, err = supervise.Names(run); err != nil {
			return err
		}
	}
	answers := []statusAnswer{}
	for _, name := range names {
		st, err := (&instance{name}).look(ctx)
		if err != nil {
			return err
		}
		answers = append(answers, answerOf(st))
	}
	if err := f.print(term, answers); err != nil {
		return err
	}
	for _, a := range answers {
		if a.ExitCode != 0 {
			return exitCodeOnly(a.ExitCode)
		}
	}
	return nil
}

func (f *statusFlags) print(term *ui.Terminal, answers []statusAnswer) error {
	switch {
	case f.quiet:
		return nil
	case f.json && f.all:
		return term.JSON(answers)
	case f.json:
		return term.JSON(answers[0])
	case f.all && len(answers) == 0:
		term.Say("no instance was ever started here: radish start")
		return nil
	case f.all:
		rows := [][]string{{"name", "state", "for", "url", "restarts", "reason"}}
		for _, a := range answers {
			rows = append(rows, []string{a.Name, string(a.State), since(a.Since), urlOf(a.Status), fmt.Sprint(a.Restarts.Total), a.Reason})
		}
		return ui.Table(term.Out, rows)
	}
	term.Answer("%s", statusText(answers[0]))
	return nil
}

func since(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return max(0, time.Since(t)).Round(time.Second).String()
}

func urlOf(st *supervise.Status) string {
	if st.Report == nil || st.Report.URL == "" {
		return "-"
	}
	return st.Report.URL
}

// statusText is an instance for a person.
func statusText(a statusAnswer) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "%s: %s", a.Name, a.State)
	if !a.Since.IsZero() {
		fmt.Fprintf(&b, " for %s", since(a.Since))
	}
	fmt.Fprintf(&b, " (%s)\n", a.Reason)
	if r := a.Report; r != nil {
		reportText(line, r)
	}
	if w := a.Worker; w != nil {
		line("worker", "pid %d, up %s, memory %s", w.PID, seconds(w.Uptime), ui.Bytes(w.RSS))
	}
	if n := a.Restarts.Total; n > 0 || len(a.Restarts.History) > 0 {
		line("restarts", "%d; %d failures count towards parking", n, a.Restarts.InWindow)
	}
	if a.State == supervise.Backoff {
		line("next try", "in %.0f s", a.Restarts.NextIn)
	}
	for _, e := range a.Restarts.History[max(0, len(a.Restarts.History)-3):] {
		line("ended", "%s after %s: %s", e.Time.Format(time.DateTime), seconds(e.Ran), e.Reason)
	}
	if a.Cause != nil {
		line("cause", "%s [%s]", a.Cause.Title, a.Cause.ID)
	}
	for _, w := range a.Warnings {
		line("warning", "%s", w)
	}
	if a.Log.Dropped > 0 {
		line("dropped", "%s of output: %s", ui.Bytes(a.Log.Dropped), orElse(a.Log.Error, "it came too fast for the disk"))
	}
	line("log", "%s", a.Log.Path)
	return b.String()
}

func reportText(line func(name, format string, args ...any), r *supervise.Report) {
	if r.URL != "" {
		line("serves", "%s at %s", r.Model, r.URL)
	}
	if r.Device != "" {
		line("device", "%s (%s)", r.Device, r.Why)
	}
	if r.Phase == supervise.PhaseLoading && r.Total > 0 {
		line("loading", "%s of %s", ui.Bytes(r.Done), ui.Bytes(r.Total))
	}
	if r.Memory > 0 {
		line("planned", "%s for weights, KV pool and workspace", ui.Bytes(r.Memory))
	}
	f := r.Figures
	if f == nil {
		return
	}
	line("load", "%d running, %d queued, %.1f tokens/s out, %.1f tokens/s in", f.Running, f.Queued, f.TokensPerSec, f.InputPerSec)
	line("kv", "%.1f %% of %d tokens held: %s; %.1f %% cached; %d retractions", 100*f.KVUsage, f.KVTokens, kvBand(f.KVUsage), 100*f.KVCached, f.Retracted)
	if f.Prompt > 0 {
		line("prefixes", "%.1f %% of %d prompt tokens came from the cache", 100*float64(f.Cached)/float64(f.Prompt), f.Prompt)
	}
	line("so far", "%d requests, %d tokens made", f.Requests, f.Generated)
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}
