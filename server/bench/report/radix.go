package report

import (
	"fmt"
	"maps"
	"slices"

	"radish/server/bench"
)

// RadixCharts are the pictures of the experiment of prefix caching.
func RadixCharts(res *bench.RadixResult) []Chart {
	rate := Panel{Y: "output tokens/s", Lines: []Line{{Name: "cache off", Style: Bars}, {Name: "cache on", Style: Bars}}}
	ttft := Panel{Lines: []Line{{Name: "cache off", Style: Bars}, {Name: "cache on", Style: Bars}}}
	for _, s := range res.Scenarios {
		on, off := s.Medians()
		if s.Throughput == nil {
			continue
		}
		rate.Names = append(rate.Names, fmt.Sprintf("%s\non/off %.2f", s.Name, s.Throughput.Median))
		x := float64(len(rate.Names) - 1)
		rate.Lines[0].add(x, off.Output)
		rate.Lines[1].add(x, on.Output)
		if s.TTFT != nil {
			ttft.Names = append(ttft.Names, fmt.Sprintf("%s\non/off %.3f", s.Name, s.TTFT.Median))
			x := float64(len(ttft.Names) - 1)
			ttft.Lines[0].add(x, *off.TTFT)
			ttft.Lines[1].add(x, *on.TTFT)
		}
	}
	ttft.Y = "TTFT p50, " + ttft.inUnits()
	c := Chart{
		Name: "radix", Title: fmt.Sprintf("Prefix cache on and off, %d users", res.Users),
		Caption: "Medians over the valid pairs. on/off is the median of the pairs' ratios.",
		Panels:  slices.DeleteFunc([]Panel{rate, ttft}, func(p Panel) bool { return len(p.Names) == 0 }),
	}
	if len(c.Panels) == 0 {
		return nil
	}
	return []Chart{c}
}

func newRadixPage(res *bench.RadixResult) page {
	p := page{
		Title: "radish bench radix: " + res.Model, Valid: true,
		Head: []string{"cached", "implied", "tokens/s off", "on", "on/off", "TTFT p50 off, ms", "on", "on/off", "valid"},
		Facts: []fact{
			{"measured", res.Started.UTC().Format("2006-01-02 15:04:05 UTC")},
			{"endpoint", res.URL}, {"model", res.Model},
			{"load", fmt.Sprintf("%d users, %d requests in a run, %d tokens in an answer", res.Users, res.Requests, res.MaxTokens)},
			{"off is", string(res.Off)},
			{"cache emptied before each run", map[bool]string{true: "yes", false: "no: each run had prompts of its own"}[res.Flushed]},
		},
	}
	for i := range res.Scenarios {
		s := &res.Scenarios[i]
		p.Valid = p.Valid && s.Valid
		p.Rows = append(p.Rows, radixRow(s))
		for _, why := range s.Reasons {
			p.Notes = append(p.Notes, fact{s.Name, why})
		}
	}
	p.Verdict = verdict(p.Valid)
	for _, name := range slices.Sorted(maps.Keys(res.Definitions)) {
		p.Meanings = append(p.Meanings, bench.Definition{Name: name, Text: res.Definitions[name]})
	}
	return p
}

func radixRow(s *bench.RadixScenario) row {
	on, off := s.Medians()
	ms := func(seconds *float64) string {
		if seconds == nil {
			return "n/a"
		}
		return fmt.Sprintf("%.1f", *seconds*1e3)
	}
	ratio := func(r *bench.Ratio) string {
		if r == nil {
			return "n/a"
		}
		return fmt.Sprintf("%.3f (%.3f to %.3f)", r.Median, r.Min, r.Max)
	}
	return row{s.Name, []string{
		orNone(percent(s.CachedOn)), percent(&s.Implied), fmt.Sprintf("%.1f", off.Output), fmt.Sprintf("%.1f", on.Output),
		ratio(s.Throughput), ms(off.TTFT), ms(on.TTFT), ratio(s.TTFT), map[bool]string{true: "yes", false: "no"}[s.Valid],
	}}
}
