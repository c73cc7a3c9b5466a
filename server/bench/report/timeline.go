package report

import (
	"fmt"
	"strings"

	"radish/server/bench"
)

// timelines has a picture for the first repeat of each level.
func timelines(res *bench.Result) []Chart {
	var all []Chart
	for _, l := range ordered(res) {
		if len(l.Repeats) == 0 {
			continue
		}
		name := levelName(l)
		r := &l.Repeats[0]
		c := Chart{
			Name:    "timeline-" + strings.NewReplacer(" ", "-", "/s", "-per-second").Replace(name),
			Title:   "Course of the load, " + name,
			Caption: fmt.Sprintf("Repeat 1 of %d, warm-up and drain included; the steady window is shaded. Figures of the server are those of its /metrics.", len(l.Repeats)),
			Panels:  []Panel{requests(r), tokens(r)},
		}
		for i := range gauges {
			c.Panels = append(c.Panels, gauges[i].panel(r))
		}
		for i := range c.Panels {
			c.Panels[i].X = "seconds since the load began"
			if r.Closed > r.Opened {
				c.Panels[i].Window = []float64{r.Opened, r.Closed}
			}
		}
		all = append(all, c)
	}
	return all
}

// series finds what was read beside the load.
func series(r *bench.Repeat, name string) *bench.Series {
	for i := range r.Telemetry {
		if r.Telemetry[i].Name == name {
			return &r.Telemetry[i]
		}
	}
	return nil
}

func requests(r *bench.Repeat) Panel {
	flight, wait := Line{Name: "in flight (client)", Style: Steps}, Line{Name: "before first token (client)", Style: Steps}
	for _, s := range r.Timeline {
		flight.add(s.Time, s.InFlight)
		wait.add(s.Time, s.Waiting)
	}
	lines := []Line{flight, wait}
	for _, n := range []struct{ series, name string }{{"running", "running (server)"}, {"queued", "queued (server)"}} {
		if s := series(r, n.series); s != nil {
			lines = append(lines, Line{Name: n.name, Style: Plain, X: s.Times, Y: s.Values})
		}
	}
	return Panel{Y: "requests", Lines: keep(lines)}
}

func tokens(r *bench.Repeat) Panel {
	seen := Line{Name: "output (client)", Style: Steps}
	for _, s := range r.Timeline {
		seen.add(s.Time, s.Output)
	}
	lines := []Line{seen}
	if s := series(r, "output_tokens"); s != nil {
		lines = append(lines, slope(s, "output (server)"))
	}
	return Panel{Y: "tokens/s", Lines: keep(lines)}
}

// slope is a counter's growth per second between neighbouring readings. A counter that falls was set back by a restart.
func slope(s *bench.Series, name string) Line {
	l := Line{Name: name, Style: Plain}
	for i := 1; i < len(s.Times); i++ {
		dt, dv := s.Times[i]-s.Times[i-1], s.Values[i]-s.Values[i-1]
		if dt > 0 && dv >= 0 {
			l.add((s.Times[i]+s.Times[i-1])/2, dv/dt)
		}
	}
	return l
}

// gauge is a series that has a panel to itself.
type gauge struct {
	series, label, name string
	scale               float64
}

var gauges = []gauge{
	{"kv_usage", "KV pool in use, %", "pool (server)", 100},
	{"power", "power, W", "device", 1},
}

func (g *gauge) panel(r *bench.Repeat) Panel {
	s := series(r, g.series)
	if s == nil {
		return Panel{}
	}
	line := Line{Name: g.name, Style: Plain}
	for i := range s.Times {
		line.add(s.Times[i], s.Values[i]*g.scale)
	}
	return Panel{Y: g.label, Lines: keep([]Line{line})}
}
