package report

import (
	"fmt"

	"radish/server/bench"
)

// table has a column for each level, and the rows for which some level has a figure.
func table(res *bench.Result) (head []string, rows []row) {
	levels := ordered(res)
	for _, l := range levels {
		head = append(head, levelName(l))
	}
	for _, f := range figures {
		if f.name == goodput && res.Plan.SLO == (bench.SLO{}) {
			continue // every complete answer is good when nothing is asked
		}
		r := row{Name: f.name}
		some := false
		for _, l := range levels {
			cell := f.of(l)
			some = some || cell != ""
			r.Cells = append(r.Cells, orNone(cell))
		}
		if some {
			rows = append(rows, r)
		}
	}
	return head, rows
}

func orNone(cell string) string {
	if cell == "" {
		return "n/a"
	}
	return cell
}

const goodput = "goodput, requests/s"

// figures are the table's rows; an empty cell is a figure that a level does not have.
var figures = []struct {
	name string
	of   func(*bench.Level) string
}{
	{"valid", func(l *bench.Level) string { return map[bool]string{true: "yes", false: "no"}[l.Valid] }},
	{"requests in flight, achieved", func(l *bench.Level) string { return fmt.Sprintf("%.1f", l.Concurrency.Achieved) }},
	{"window, s", func(l *bench.Level) string { return fmt.Sprintf("%.1f", l.Window) }},
	{"answers: complete / incomplete / failed", func(l *bench.Level) string {
		return fmt.Sprintf("%d / %d / %d", l.Counts.Complete, l.Counts.Incomplete, l.Counts.Failed)
	}},
	{"output tokens/s", func(l *bench.Level) string {
		return fmt.Sprintf("%.1f", l.Rates.Output) + interval(l, "output_tokens_per_second")
	}},
	{"output tokens/s of one user", func(l *bench.Level) string { return fmt.Sprintf("%.1f", l.Rates.PerUser) }},
	{"input tokens/s", func(l *bench.Level) string { return fmt.Sprintf("%.1f", l.Rates.Input) }},
	{"requests/s", func(l *bench.Level) string { return fmt.Sprintf("%.2f", l.Rates.Requests) }},
	{goodput, func(l *bench.Level) string { return fmt.Sprintf("%.2f", l.Rates.Goodput) }},
	{"scaling efficiency", func(l *bench.Level) string { return percent(l.Efficiency) }},
	{"prompt tokens cached", func(l *bench.Level) string { return percent(l.Rates.Cached) }},
	{"TTFT p50 / p90 / p95 / p99, ms", func(l *bench.Level) string { return spread(l.Latency.TTFT) }},
	{"TPOT, ms", func(l *bench.Level) string { return spread(l.Latency.TPOT) }},
	{"ITL, ms", func(l *bench.Level) string { return spread(l.Latency.ITL) }},
	{"jitter, ms", func(l *bench.Level) string { return spread(l.Latency.Jitter) }},
	{"whole answer, ms", func(l *bench.Level) string { return spread(l.Latency.E2E) }},
	{"MFU", func(l *bench.Level) string {
		if l.Roofline == nil {
			return ""
		}
		return percent(l.Roofline.MFU)
	}},
	{"MBU", func(l *bench.Level) string {
		if l.Roofline == nil {
			return ""
		}
		return percent(l.Roofline.MBU)
	}},
	{"power, W (idle)", func(l *bench.Level) string {
		switch {
		case l.Energy == nil:
			return ""
		case l.Energy.IdleWatts == nil:
			return fmt.Sprintf("%.0f (n/a)", l.Energy.Watts)
		}
		return fmt.Sprintf("%.0f (%.0f)", l.Energy.Watts, *l.Energy.IdleWatts)
	}},
	{"tokens per joule", func(l *bench.Level) string {
		if l.Energy == nil || l.Energy.TokensJoule == nil {
			return ""
		}
		return fmt.Sprintf("%.3g", *l.Energy.TokensJoule)
	}},
	{"the client was the bottleneck", func(l *bench.Level) string {
		switch {
		case l.Health == nil:
			return ""
		case l.Health.Bottleneck:
			return "yes: " + l.Health.Why
		}
		return "no"
	}},
}

func interval(l *bench.Level, name string) string {
	iv, ok := l.Intervals[name]
	if !ok {
		return ""
	}
	return fmt.Sprintf(" (%.1f to %.1f)", iv.Low, iv.High)
}

func percent(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.1f %%", *v*100)
}

func spread(s *bench.Spread) string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("%.1f / %.1f / %.1f / %.1f", s.P50*1e3, s.P90*1e3, s.P95*1e3, s.P99*1e3)
}
