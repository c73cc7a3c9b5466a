package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"radish/server/bench"
)

var update = flag.Bool("update", false, "write the golden files anew")

func spreadFrom(low, high float64) *bench.Spread {
	s := &bench.Spread{N: 100, Mean: (low + high) / 2}
	at := func(p float64) float64 { return low + (high-low)*p }
	s.P50, s.P90, s.P95, s.P99, s.Max = at(.5), at(.9), at(.95), at(.99), high
	for i := range 101 {
		s.Quantiles = append(s.Quantiles, at(float64(i)/100))
	}
	return s
}

// repeat is a repeat of four seconds whose window is the second and the third.
func repeat(busy, output float64, valid bool) bench.Repeat {
	r := bench.Repeat{Valid: valid, Opened: 1, Closed: 3}
	r.Concurrency.Achieved, r.Rates.Output, r.Window = busy, output, 2
	for i := range 4 {
		r.Timeline = append(r.Timeline, bench.Sample{Time: float64(i), Width: 1, InFlight: busy, Waiting: float64(i), Output: output})
	}
	at := []float64{0, 2, 4}
	r.Telemetry = []bench.Series{
		{Name: "running", Times: at, Values: []float64{1, 2, 1}},
		{Name: "output_tokens", Counter: true, Times: at, Values: []float64{100, 300, 20}}, // restarted after 2 s
		{Name: "kv_usage", Times: at, Values: []float64{0.25, 0.5, 0.75}},
		{Name: "power", Times: at, Values: []float64{90, 300, 310}},
	}
	return r
}

func closed() *bench.Result {
	res := &bench.Result{Schema: bench.Schema, Version: "1.2.3", Valid: true}
	res.Endpoint.Model, res.Endpoint.URL = "a model", "http://host:1"
	res.Plan.Loop, res.Plan.Repeats = "closed", 2
	for i, users := range []int{10, 1} { // not in order
		output := 100 * float64(users)
		l := bench.Level{Users: users, Valid: true, Repeats: []bench.Repeat{repeat(float64(users), output-10, true), repeat(float64(users), output+10, i > 0)}}
		l.Concurrency.Achieved, l.Rates.Output, l.Window = float64(users), output, 4
		l.Latency.TTFT, l.Latency.E2E = spreadFrom(0.1*float64(users), 0.2*float64(users)), spreadFrom(1, 50)
		l.Intervals = map[string]bench.Interval{"output_tokens_per_second": {N: 2, Mean: output, Low: output - 20, High: output + 20}}
		if i > 0 {
			l.Latency.TPOT = spreadFrom(0.01, 0.02)
		}
		res.Levels = append(res.Levels, l)
	}
	res.Saturation = &bench.Saturation{Why: "not identifiable: 2 levels, at least 5 are needed"}
	return res
}

func opened() *bench.Result {
	res := closed()
	res.Plan.Loop, res.Saturation = "open", nil
	for i := range res.Levels {
		l := &res.Levels[i]
		l.Rate, l.Users = float64(l.Users), 0
		l.Rates.Requests, l.Counts.Failed = l.Rate/2, 8
		l.Intervals = nil
	}
	return res
}

func fittedResult() *bench.Result {
	res := closed()
	r2 := 0.99
	res.Saturation = &bench.Saturation{Identifiable: true, V: &bench.Estimate{Value: 2000, Low: 1900, High: 2100}, K: &bench.Estimate{Value: 9, Low: 8, High: 10}, R2: &r2}
	for _, u := range []float64{1, 5, 10} {
		res.Saturation.Band = append(res.Saturation.Band, bench.BandPoint{Load: u, Estimate: bench.Estimate{Value: 100 * u, Low: 90 * u, High: 110 * u}})
	}
	return res
}

func radixResult() *bench.RadixResult {
	run := func(output, ttft float64) bench.RadixRun {
		return bench.RadixRun{Valid: true, Output: output, TTFT: &bench.Spread{P50: ttft}}
	}
	pair := bench.RadixPair{On: run(500, 0.1), Off: run(100, 1)}
	shared := bench.RadixScenario{Name: "rag 95 %", Valid: true, Pairs: []bench.RadixPair{pair, {On: run(700, 0.3), Off: run(100, 1)}},
		Throughput: &bench.Ratio{Median: 6, Min: 5, Max: 7}, TTFT: &bench.Ratio{Median: 0.2, Min: 0.1, Max: 0.3}}
	lost := bench.RadixScenario{Name: "diverse", Reasons: []string{"pair 1, on: no complete answer"}}
	return &bench.RadixResult{Users: 100, Model: "a model", Scenarios: []bench.RadixScenario{lost, shared}, Definitions: bench.RadixDefinitions}
}

// TestRadixReport has a scenario that gave nothing beside one that did.
func TestRadixReport(t *testing.T) {
	c := RadixCharts(radixResult())
	if on := c[0].Panels[0].Lines[1]; fmt.Sprint(c[0].Panels[0].Names, on.Y) != "[rag 95 %\non/off 6.00] [600]" {
		t.Errorf("%q %+v", c[0].Panels[0].Names, on)
	}
	name, err := WriteRadix(t.TempDir(), radixResult())
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"6.000 (5.000 to 7.000)", "no complete answer", "not valid", `src="data:image/png`, "n/a"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if RadixCharts(&bench.RadixResult{}) != nil {
		t.Error("a chart of nothing")
	}
}

// TestChartsGolden holds the numbers that are drawn, not the pixels.
func TestChartsGolden(t *testing.T) {
	for name, charts := range map[string][]Chart{
		"closed": Charts(closed()), "open": Charts(opened()), "fitted": Charts(fittedResult()), "radix": RadixCharts(radixResult()),
	} {
		got, err := json.MarshalIndent(charts, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
		file := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: the charts' data differs from %s (go test -update writes it anew):\n%s", name, file, got)
		}
	}
}

func find(t *testing.T, charts []Chart, name string) Chart {
	t.Helper()
	for _, c := range charts {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no chart %s", name)
	return Chart{}
}

// TestChartsSayWhatTheResultSays reads a few numbers back by hand, so that the golden files are not all that is believed.
func TestChartsSayWhatTheResultSays(t *testing.T) {
	charts := Charts(closed())
	through := find(t, charts, "throughput")
	mean, bad := through.Panels[0].Lines[0], through.Panels[0].Lines[2]
	if fmt.Sprint(mean.X, mean.Y, mean.Low, mean.High) != "[1 10] [100 1000] [80 980] [120 1020]" {
		t.Errorf("mean %+v", mean)
	}
	if bad.Style != Crosses || fmt.Sprint(bad.X, bad.Y) != "[10] [1010]" {
		t.Errorf("not valid: %+v", bad)
	}
	if !strings.Contains(through.Caption, "not identifiable") {
		t.Errorf("caption %q does not say why there is no fit", through.Caption)
	}
	ttft := find(t, charts, "latency").Panels[0]
	if p50 := ttft.Lines[3]; ttft.Y != "TTFT, ms" || p50.Name != "p50" || fmt.Sprintf("%.0f %.0f", p50.Y[0], p50.Y[1]) != "150 1500" {
		t.Errorf("%s: %+v", ttft.Y, ttft.Lines)
	}
	if tpot := find(t, charts, "latency").Panels[1]; len(tpot.Lines[0].X) != 1 {
		t.Errorf("a level without TPOT has a point: %+v", tpot.Lines[0])
	}
	if e2e := find(t, charts, "distribution").Panels[1]; e2e.X != "whole answer, s" || !e2e.LogX || e2e.Lines[0].X[50] != 25.5 || e2e.Lines[0].Y[50] != 50 {
		t.Errorf("%s log %v", e2e.X, e2e.LogX)
	}
	line := find(t, charts, "timeline-10-users").Panels[1].Lines[1]
	if fmt.Sprint(line.X, line.Y) != "[1] [100]" {
		t.Errorf("a counter that grows by 200 in 2 s, then restarts, is %+v", line)
	}
	if fit := find(t, Charts(fittedResult()), "throughput").Panels[0].Lines[0]; fit.X[len(fit.X)-1] != 10 || fit.High[1] != 550 {
		t.Errorf("fit %+v", fit)
	}
}

// TestChartsLeaveTheResultAlone: the page's table is made of the same numbers.
func TestChartsLeaveTheResultAlone(t *testing.T) {
	res := closed()
	before, _ := json.Marshal(res)
	Charts(res)
	if after, _ := json.Marshal(res); !bytes.Equal(before, after) {
		t.Error("making charts changes the result")
	}
}

func TestPlotsArePainted(t *testing.T) {
	broken := closed()
	broken.Levels = broken.Levels[:1]
	broken.Levels[0].Rates.Output, broken.Levels[0].Latency = math.NaN(), bench.Latency{}
	for name, res := range map[string]*bench.Result{"fitted": fittedResult(), "open": opened(), "nothing complete": broken} {
		charts := Charts(res)
		if len(charts) == 0 {
			t.Errorf("%s: no chart", name)
		}
		for _, c := range charts[:min(3, len(charts))] { // a picture takes a tenth of a second
			b, err := PNG(c, true)
			if err != nil {
				t.Fatal(err)
			}
			img, err := png.Decode(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if img.Bounds().Dx() != 1440 {
				t.Errorf("%s %s is %v", name, c.Name, img.Bounds())
			}
		}
	}
	if got := Charts(&bench.Result{}); len(got) != 0 {
		t.Errorf("charts of nothing: %+v", got)
	}
}

// TestPageStandsAlone: nothing is fetched, nothing of the server's words becomes markup.
func TestPageStandsAlone(t *testing.T) {
	res := closed()
	res.Endpoint.Model = `<script src="http://evil/x.js"></script>`
	res.Levels[0].Reasons = []string{"a <b>reason</b>"}
	dir := filepath.Join(t.TempDir(), "deep", "report")
	name, err := Write(dir, res)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	if outside := regexp.MustCompile(`(src|href|srcset|action)="?(https?:|//)|<script|<link|@import|url\(|<b>`).FindString(page); outside != "" {
		t.Errorf("the page has %q", outside)
	}
	if strings.Contains(page, "ZgotmplZ") {
		t.Error("an image was refused by the template")
	}
	images := strings.Count(page, `src="data:image/png;base64,`)
	files, _ := filepath.Glob(filepath.Join(dir, "*.png"))
	if images != len(files) || images != strings.Count(page, `srcset="data:image/png;base64,`) || images < 4 {
		t.Errorf("%d images in the page, %d files", images, len(files))
	}
	for _, want := range []string{"&lt;script", "prefers-color-scheme: dark", "not identifiable", "1000.0 (980.0 to 1020.0)"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		want      string
	}{{0, 33, "0 5 10 15 20 25 30"}, {0, 1, "0.0 0.2 0.4 0.6 0.8 1.0"}, {0, 0.07, "0.00 0.01 0.02 0.03 0.04 0.05 0.06 0.07"}, {0, 12345, "0 2000 4000 6000 8000 10000 12000"}} {
		var got []string
		for _, k := range (ticker{}).Ticks(c.low, c.high) {
			got = append(got, k.Label)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v to %v: %v, want %s", c.low, c.high, got, c.want)
		}
	}
	var got []string
	for _, k := range (logTicker{}).Ticks(3, 400) {
		got = append(got, k.Label)
	}
	if strings.Join(got, " ") != "5 10 20 50 100 200" {
		t.Errorf("log: %v", got)
	}
}
