package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"radish/server/bench"
)

// Chart is one picture as data. Panels are painted below each other.
type Chart struct {
	Name    string  `json:"name"` // of its file, without .png
	Title   string  `json:"title"`
	Caption string  `json:"caption"` // what to know when reading it
	Panels  []Panel `json:"panels"`
}

// Panel is a pair of axes.
type Panel struct {
	X      string    `json:"x"` // label, with the unit
	Y      string    `json:"y"`
	LogX   bool      `json:"log_x,omitempty"`
	Names  []string  `json:"names,omitempty"` // of places 0, 1, 2 ... on the x axis, for bars
	Lines  []Line    `json:"lines"`
	Window []float64 `json:"window,omitempty"` // the steady window: from, to on the x axis
}

// Line is what is drawn of one figure. Low and High are a band around it, or nil.
type Line struct {
	Name  string    `json:"name"`
	Style Style     `json:"style"`
	X     []float64 `json:"x"`
	Y     []float64 `json:"y"`
	Low   []float64 `json:"low,omitempty"`
	High  []float64 `json:"high,omitempty"`
}

// Style is how a line is drawn.
type Style string

// The styles.
const (
	Plain   Style = "line"
	Marked  Style = "line and points"
	Points  Style = "points"
	Crosses Style = "crosses" // not valid
	Dashed  Style = "dashed"
	Steps   Style = "steps"
	Bars    Style = "bars"
)

// Charts are the pictures that a result has data for.
func Charts(res *bench.Result) []Chart {
	var all []Chart
	for _, c := range append([]Chart{throughput(res), latency(res), distribution(res)}, timelines(res)...) {
		c.Panels = slices.DeleteFunc(c.Panels, func(p Panel) bool { return len(p.Lines) == 0 })
		if len(c.Panels) > 0 {
			all = append(all, c)
		}
	}
	return all
}

// open reports whether the load was a rate rather than users.
func open(res *bench.Result) bool { return res.Plan.Loop == "open" }

// levelName is a level's name in a legend.
func levelName(l *bench.Level) string {
	switch {
	case l.Users == 1:
		return "1 user"
	case l.Users > 0:
		return fmt.Sprintf("%d users", l.Users)
	}
	return fmt.Sprintf("%.4g requests/s", l.Rate)
}

// ordered are the levels by load; a run may have measured them in any order.
func ordered(res *bench.Result) []*bench.Level {
	var levels []*bench.Level
	for i := range res.Levels {
		levels = append(levels, &res.Levels[i])
	}
	slices.SortStableFunc(levels, func(a, b *bench.Level) int {
		return cmp.Or(cmp.Compare(a.Users, b.Users), cmp.Compare(a.Rate, b.Rate))
	})
	return levels
}

// asked is a level's place on the x axis.
func asked(l *bench.Level) float64 {
	if l.Users > 0 {
		return float64(l.Users)
	}
	return l.Rate
}

func askedLabel(res *bench.Result) string {
	if open(res) {
		return "requests per second, asked"
	}
	return "users"
}

func throughput(res *bench.Result) Chart {
	if open(res) {
		return openThroughput(res)
	}
	c := Chart{Name: "throughput", Title: "Throughput against users"}
	p := Panel{X: "requests in flight, achieved", Y: "output tokens/s"}
	good, bad := Line{Name: "one repeat", Style: Points}, Line{Name: "not valid", Style: Crosses}
	mean := Line{Name: "mean", Style: Plain}
	for _, l := range ordered(res) {
		for i := range l.Repeats {
			r := &l.Repeats[i]
			if r.Valid {
				good.add(r.Concurrency.Achieved, r.Rates.Output)
			} else {
				bad.add(r.Concurrency.Achieved, r.Rates.Output)
			}
		}
		if l.Valid {
			mean.band(l.Concurrency.Achieved, l.Rates.Output, l.Intervals["output_tokens_per_second"])
		}
	}
	switch s := res.Saturation; {
	case s != nil && s.Identifiable:
		p.Lines = append(p.Lines, fitted(s))
		c.Caption = fmt.Sprintf("Fit V u / (K + u): V %.4g tokens/s (95 %%: %.4g to %.4g), K %.3g in flight (%.3g to %.3g). It is drawn no further than the highest load.",
			s.V.Value, s.V.Low, s.V.High, s.K.Value, s.K.Low, s.K.High)
	default:
		p.Lines = append(p.Lines, mean)
		c.Caption = "The band is the 95 % interval over the repeats."
		if len(mean.Low) == 0 {
			c.Caption = "One repeat of each level: no interval."
		}
		if s != nil && s.Why != "" {
			c.Caption += " No saturation fit, " + s.Why + "."
		}
	}
	p.Lines = keep(append(p.Lines, good, bad))
	c.Panels = []Panel{p}
	return c
}

// fitted is the saturation curve and its band.
func fitted(s *bench.Saturation) Line {
	l := Line{Name: "fit, 95 % band", Style: Plain}
	for _, b := range s.Band {
		l.add(b.Load, b.Value)
		l.Low, l.High = append(l.Low, b.Low), append(l.High, b.High)
	}
	return l
}

// openThroughput has the answers beside the tokens: where they fall behind the dashed line, the server does.
func openThroughput(res *bench.Result) Chart {
	tokens := Line{Name: "output", Style: Marked}
	answers, want := Line{Name: "answers", Style: Marked}, Line{Name: "asked", Style: Dashed}
	failed := Line{Name: "failed or refused", Style: Marked}
	some := false
	for _, l := range ordered(res) {
		tokens.band(l.Rate, l.Rates.Output, l.Intervals["output_tokens_per_second"])
		answers.band(l.Rate, l.Rates.Requests, l.Intervals["requests_per_second"])
		want.add(l.Rate, l.Rate)
		lost := 0.0
		if l.Window > 0 {
			lost = float64(l.Counts.Failed) / l.Window
		}
		some = some || lost > 0
		failed.add(l.Rate, lost)
	}
	rates := []Line{answers, want}
	if some {
		rates = append(rates, failed)
	}
	x := askedLabel(res)
	return Chart{
		Name: "throughput", Title: "Throughput against request rate",
		Caption: "Latency counts from the intended send: a server that falls behind the dashed line shows it there too.",
		Panels: []Panel{
			{X: x, Y: "output tokens/s", Lines: keep([]Line{tokens})},
			{X: x, Y: "requests per second", Lines: keep(rates)},
		},
	}
}

// percentiles of a Spread that are drawn.
var percentiles = []struct {
	name string
	of   func(*bench.Spread) float64
}{
	{"p50", func(s *bench.Spread) float64 { return s.P50 }},
	{"p90", func(s *bench.Spread) float64 { return s.P90 }},
	{"p95", func(s *bench.Spread) float64 { return s.P95 }},
	{"p99", func(s *bench.Spread) float64 { return s.P99 }},
}

func latency(res *bench.Result) Chart {
	c := Chart{Name: "latency", Title: "Time to first token and per token",
		Caption: "Complete answers to requests sent inside the steady window. TTFT is the first non-empty delta minus the send; TPOT is the rest of the answer's time over its other tokens."}
	for _, f := range []struct {
		name string
		of   func(*bench.Latency) *bench.Spread
	}{
		{"TTFT", func(l *bench.Latency) *bench.Spread { return l.TTFT }},
		{"TPOT", func(l *bench.Latency) *bench.Spread { return l.TPOT }},
	} {
		p := Panel{X: askedLabel(res)}
		for i := len(percentiles) - 1; i >= 0; i-- { // the highest first, as the legend is read
			line := Line{Name: percentiles[i].name, Style: Marked}
			for _, l := range ordered(res) {
				if s := f.of(&l.Latency); s != nil {
					line.add(asked(l), percentiles[i].of(s))
				}
			}
			p.Lines = append(p.Lines, line)
		}
		p.Lines = keep(p.Lines)
		p.Y = f.name + ", " + p.inUnits()
		c.Panels = append(c.Panels, p)
	}
	return c
}

// mostLevels is how many levels a picture of lines for each can bear.
const mostLevels = 6

func distribution(res *bench.Result) Chart {
	c := Chart{Name: "distribution", Title: "How latency is distributed",
		Caption: "Share of the answers that took no longer. A level's repeats are pooled."}
	levels := thin(ordered(res))
	for _, f := range []struct {
		name string
		of   func(*bench.Latency) *bench.Spread
	}{
		{"time to first token", func(l *bench.Latency) *bench.Spread { return l.TTFT }},
		{"whole answer", func(l *bench.Latency) *bench.Spread { return l.E2E }},
	} {
		p := Panel{Y: percentLabel}
		for _, l := range levels {
			line := Line{Name: levelName(l), Style: Plain}
			if s := f.of(&l.Latency); s != nil {
				for i, q := range s.Quantiles {
					line.add(q, float64(i))
				}
			}
			p.Lines = append(p.Lines, line)
		}
		p.Lines = keep(p.Lines)
		p.LogX = p.wide()
		p.X = f.name + ", " + p.xInUnits()
		c.Panels = append(c.Panels, p)
	}
	return c
}

// percentLabel is the y axis of a distribution, which ends at 100.
const percentLabel = "% of answers"

// thin keeps at most mostLevels, the first and the last among them.
func thin(levels []*bench.Level) []*bench.Level {
	if len(levels) <= mostLevels {
		return levels
	}
	var few []*bench.Level
	for i := range mostLevels {
		few = append(few, levels[i*(len(levels)-1)/(mostLevels-1)])
	}
	return few
}

func (l *Line) add(x, y float64) { l.X, l.Y = append(l.X, x), append(l.Y, y) }

// band adds a point with its interval where there is one; a line has a band at all of its points or at none.
func (l *Line) band(x, y float64, iv bench.Interval) {
	if iv.N > 1 && len(l.Low) == len(l.X) {
		l.Low, l.High = append(l.Low, max(0, iv.Low)), append(l.High, iv.High)
	} else {
		l.Low, l.High = nil, nil
	}
	l.add(x, y)
}

// keep drops lines without points and values that are no numbers.
func keep(lines []Line) []Line {
	return slices.DeleteFunc(lines, func(l Line) bool {
		bad := func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
		return len(l.X) == 0 || slices.ContainsFunc(l.X, bad) || slices.ContainsFunc(l.Y, bad)
	})
}
