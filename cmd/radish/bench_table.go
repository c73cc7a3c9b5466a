package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"radish/cmd/internal/ui"
	"radish/server/bench"
)

func printDefinitions(term *ui.Terminal) error {
	rows := [][]string{}
	for _, d := range bench.Definitions {
		rows = append(rows, []string{d.Name, d.Text})
	}
	return ui.Table(term.Out, rows)
}

// benchProgress says every few seconds where the run is.
func benchProgress(term *ui.Terminal) func(bench.Progress) {
	const every = 5 * time.Second
	said := time.Now()
	return func(p bench.Progress) {
		if time.Since(said) < every {
			return
		}
		said = time.Now()
		load, phase := fmt.Sprintf("%d users", p.Users), "warming up"
		if p.Users == 0 {
			load = fmt.Sprintf("%g/s", p.Rate)
		}
		if p.Steady {
			phase = "measuring"
		}
		term.Say("level %d of %d (%s), repeat %d of %d: %s, %.0f s, %d answers",
			p.Level+1, p.Levels, load, p.Repeat+1, p.Repeats, phase, p.Seconds, p.Done)
	}
}

// printBench writes a column per level, then what the words mean, and last what to know of these figures.
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
	for _, d := range bench.Definitions {
		term.Say("%s: %s", d.Name, d.Text)
	}
	for _, l := range res.Levels {
		for _, why := range l.Reasons {
			term.Say("%s: %s", loadOf(l), why)
		}
		for _, what := range slices.Sorted(maps.Keys(l.Failures)) {
			term.Say("%s: %d x %s", loadOf(l), l.Failures[what], what)
		}
	}
	printSaturation(term, res.Saturation)
	return nil
}

func printSaturation(term *ui.Terminal, s *bench.Saturation) {
	switch {
	case s == nil || len(s.Points) < 2:
	case !s.Identifiable:
		term.Say("saturation: %s", s.Why)
	default:
		term.Say("saturation: V %.1f tok/s (%.1f to %.1f), K %.1f (%.1f to %.1f)",
			s.V.Value, s.V.Low, s.V.High, s.K.Value, s.K.Low, s.K.High)
	}
}

func loadOf(l bench.Level) string {
	if l.Users == 0 {
		return fmt.Sprintf("%g/s", l.Rate)
	}
	return fmt.Sprint(l.Users)
}

// benchRows are the table's rows.
var benchRows = []struct {
	name  string
	value func(bench.Level) string
}{
	{"users", loadOf},
	{"valid", func(l bench.Level) string { return fmt.Sprint(l.Valid) }},
	{"in flight, peak", func(l bench.Level) string { return fmt.Sprintf("%.1f, %d", l.Concurrency.Achieved, l.Concurrency.Peak) }},
	{"sent, answered /s", func(l bench.Level) string { return fmt.Sprintf("%.2f, %.2f", l.Rates.Sent, l.Rates.Requests) }},
	{"window s", func(l bench.Level) string { return fmt.Sprintf("%.1f", l.Window) }},
	{"complete/incomplete/failed", func(l bench.Level) string {
		return fmt.Sprintf("%d/%d/%d", l.Counts.Complete, l.Counts.Incomplete, l.Counts.Failed)
	}},
	{"output tok/s", func(l bench.Level) string { return within(l, "output_tokens_per_second", l.Rates.Output) }},
	{"per user tok/s", func(l bench.Level) string { return fmt.Sprintf("%.1f", l.Rates.PerUser) }},
	{"input tok/s", func(l bench.Level) string { return fmt.Sprintf("%.1f", l.Rates.Input) }},
	{"goodput req/s", func(l bench.Level) string { return fmt.Sprintf("%.2f", l.Rates.Goodput) }},
	{"scaling efficiency", func(l bench.Level) string { return percent(l.Efficiency) }},
	{"prompt cached", func(l bench.Level) string { return percent(l.Rates.Cached) }},
	{"ttft ms p50/p90/p95/p99", func(l bench.Level) string { return spread(l.Latency.TTFT) }},
	{"tpot ms", func(l bench.Level) string { return spread(l.Latency.TPOT) }},
	{"itl ms", func(l bench.Level) string { return spread(l.Latency.ITL) }},
	{"e2e ms", func(l bench.Level) string { return spread(l.Latency.E2E) }},
	{"jitter ms", func(l bench.Level) string { return spread(l.Latency.Jitter) }},
	{"mfu", func(l bench.Level) string { return roof(l, func(r *bench.Roofline) *float64 { return r.MFU }) }},
	{"mbu", func(l bench.Level) string { return roof(l, func(r *bench.Roofline) *float64 { return r.MBU }) }},
	{"tok/J, J/tok, idle W", energyOf},
	{"server running, queued", func(l bench.Level) string { return meanOf(l, "running") + ", " + meanOf(l, "queued") }},
	{"client cpu, lag p99 ms", func(l bench.Level) string {
		return fmt.Sprintf("%.0f %%, %.1f", l.Health.CPU*100, l.Health.LagP99*1e3)
	}},
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

// within is a rate and half its 95 % interval, where repeats gave one.
func within(l bench.Level, name string, v float64) string {
	iv, ok := l.Intervals[name]
	if !ok {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.1f +- %.1f", v, iv.High-iv.Mean)
}

func roof(l bench.Level, of func(*bench.Roofline) *float64) string {
	if l.Roofline == nil {
		return "n/a"
	}
	return percent(of(l.Roofline))
}

func energyOf(l bench.Level) string {
	e := l.Energy
	if e == nil || e.TokensJoule == nil {
		return "n/a"
	}
	idle := "n/a"
	if e.IdleWatts != nil {
		idle = fmt.Sprintf("%.0f", *e.IdleWatts)
	}
	return fmt.Sprintf("%.2f, %.3f, %s", *e.TokensJoule, *e.JoulesToken, idle)
}

// meanOf is the mean of what the server said of itself inside the windows.
func meanOf(l bench.Level, name string) string {
	sum, n := 0.0, 0
	for _, r := range l.Repeats {
		for _, s := range r.Telemetry {
			for i, at := range s.Times {
				if s.Name == name && at >= r.Opened && at <= r.Closed {
					sum, n = sum+s.Values[i], n+1
				}
			}
		}
	}
	if n == 0 {
		return "n/a"
	}
	return fmt.Sprintf("%.1f", sum/float64(n))
}
