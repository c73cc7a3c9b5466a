package bench

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

// TestTelemetryNames reads the same facts from each server's own text.
func TestTelemetryNames(t *testing.T) {
	want := map[string]float64{"running": 3, "queued": 2, "kv_usage": 0.25, "output_tokens": 1200, "prompt_tokens": 4000, "cached_tokens": 1000}
	more := map[string]map[string]float64{
		"radish": {"generation_throughput": 88.5}, "sglang": {"generation_throughput": 88.5, "retracted": 7},
		"vllm": {"retracted": 7}, "lmdeploy": {},
	}
	for _, s := range servers {
		in, err := os.Open("testdata/metrics/" + s.name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		f, err := ParseMetrics(in)
		in.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := serverOf(f); got != s.name {
			t.Errorf("%s is called %q", s.name, got)
		}
		var r readings
		r.add(s.name, f, 1.5)
		got := r.list()
		if len(got) != len(want)+len(more[s.name]) {
			t.Errorf("%s: %d series", s.name, len(got))
		}
		for _, x := range got {
			w, ok := want[x.Name]
			if !ok {
				w = more[s.name][x.Name]
			}
			if x.Values[0] != w || x.Times[0] != 1.5 || x.Source == "" || x.Unit == "" {
				t.Errorf("%s: %+v, want %v", s.name, x, w)
			}
		}
	}
	if _, err := ParseMetrics(strings.NewReader("<html>not metrics</html>")); err == nil {
		t.Error("a page is metrics")
	}
	if serverOf(families{"go_goroutines": nil}) != "" {
		t.Error("any program is a known server")
	}
}

func TestTelemetryBesideTheLoad(t *testing.T) {
	f := &fake{}
	f.metrics = func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		return fmt.Sprintf("# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running %d\n", f.now)
	}
	o := Options{Users: []int{6}, Duration: 10 * time.Second}
	o.Beside.Telemetry = true
	l, res := measure(t, f, o)
	if res.Endpoint.Server != "vllm" || len(l.Repeats[0].Telemetry) != 1 {
		t.Fatalf("%q %+v", res.Endpoint.Server, l.Repeats[0].Telemetry)
	}
	s := l.Repeats[0].Telemetry[0]
	if n := len(s.Values); n < 20 || n > 24 || s.Values[0] != 0 || s.Values[n/2] != 6 || s.Values[n-1] != 0 {
		t.Errorf("%+v", s)
	}
	gone := &fake{} // no metrics: asked three times, then no more
	if l, _ := measure(t, gone, o); !l.Valid || len(l.Repeats[0].Telemetry) != 0 {
		t.Errorf("%+v", l.Reasons)
	}
}

func TestEnergy(t *testing.T) {
	f := &fake{}
	o := Options{Users: []int{10}, Duration: 20 * time.Second, Repeats: 2}
	o.Beside.Meter = func() (float64, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.spend(), nil
	}
	l, _ := measure(t, f, o)
	e := l.Energy
	if e == nil {
		t.Fatal("no energy")
	}
	near(t, "idle", *e.IdleWatts, 50)
	near(t, "watts", e.Watts, 250)
	near(t, "joules", e.Joules, 250*40)
	near(t, "tok/J", *e.TokensJoule, l.Rates.Output/250)
	near(t, "J/tok", *e.JoulesToken, 250/l.Rates.Output)
	near(t, "J/tok above idle", *e.AboveIdle, 200/l.Rates.Output)
	o.Beside.Meter = func() (float64, error) { return 0, errors.New("no counter") }
	if l, _ := measure(t, f, o); l.Energy != nil || !l.Valid {
		t.Error("a broken meter has energy")
	}
}

// TestOthersOnTheServer: its counter says more than came here.
func TestOthersOnTheServer(t *testing.T) {
	for _, c := range []struct {
		factor float64
		others bool
	}{{1, false}, {1.5, true}} {
		f := &fake{}
		f.metrics = func() string {
			f.mu.Lock()
			defer f.mu.Unlock()
			return fmt.Sprintf("# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total %v\n", 7000+c.factor*float64(len(f.gap)+len(f.ttft)))
		}
		o := Options{Users: []int{6}, Duration: 10 * time.Second}
		o.Beside.Telemetry = true
		l, _ := measure(t, f, o)
		if said := strings.Contains(strings.Join(l.Reasons, ";"), "others use it"); said != c.others || !l.Valid {
			t.Errorf("%v times the tokens: %v", c.factor, l.Reasons)
		}
	}
}

// a40 is the source document's: 8.03e9 parameters in bf16.
func a40() *Device {
	p, _ := FindPeak("NVIDIA A40")
	return &Device{Peak: p, Count: 1, Model: Shape{Parameters: 8.03e9, WeightBytes: 16.06e9, KVBytes: 131072, Attention: 32 * 32 * 128}}
}

// TestRoofline repeats the arithmetic of the source document's figures: 1,637.6 tok/s at 17.6 % MFU is possible, 2,418
// tok/s with 11 running is not.
func TestRoofline(t *testing.T) {
	m := Measures{Concurrency: Concurrency{Peak: 100}, Rates: Rates{Output: 1637.6}}
	d := a40()
	d.Model.Attention = 0
	r := d.roofline(&m, contexts{output: 200})
	if math.Abs(*r.MFU-0.1757) > 1e-4 || math.Abs(r.MaxUser-43.3) > 0.1 || len(r.Impossible) > 0 || r.MBU != nil {
		t.Errorf("mfu %v, max %v, %v", *r.MFU, r.MaxUser, r.Impossible)
	}
	m = Measures{Concurrency: Concurrency{Peak: 11}, Rates: Rates{Output: 2418, PerUser: 220}}
	if r = d.roofline(&m, contexts{output: 200}); len(r.Impossible) != 2 {
		t.Errorf("%v", r.Impossible)
	}
	// One sequence at 40 tok/s reads the weights 40 times a second.
	m = Measures{Concurrency: Concurrency{Peak: 1}, Rates: Rates{Output: 40}, Latency: Latency{TPOT: &Spread{Mean: 0.025, P50: 0.025}}}
	if r = d.roofline(&m, contexts{output: 1000}); math.Abs(*r.MBU-(16.06e9*40+40*1000*131072)/696e9) > 1e-9 || len(r.Impossible) > 0 {
		t.Errorf("mbu %v, %v", *r.MBU, r.Impossible)
	}
}

// TestRooflineOfAnH200 repeats figures worked out by hand for Llama-3-8B in bf16: one 8k prompt a second is 114.4 + 17.6
// TFLOP; 100 sequences at 1k read 28.4 GB a step, so that 16,900 tok/s are the whole bandwidth.
func TestRooflineOfAnH200(t *testing.T) {
	p, _ := FindPeak("NVIDIA H200")
	d := &Device{Peak: p, Count: 1, Model: Shape{Parameters: 7.505e9, Head: 0.525e9, WeightBytes: 15.01e9, KVBytes: 131072, Attention: 32 * 32 * 128}}
	m := Measures{Rates: Rates{Input: 8192}}
	if r := d.roofline(&m, contextsOf(8192, 0, 0)); math.Abs(r.FLOPS/132e12-1) > 0.002 {
		t.Errorf("%v FLOP/s", r.FLOPS)
	}
	half := 0.5 // the second half attends to three quarters on average
	m.Rates.Cached = &half
	if r := d.roofline(&m, contextsOf(8192, 0, half)); math.Abs(r.FLOPS/(114.4e12/2+17.6e12*3/4)-1) > 0.002 {
		t.Errorf("half cached: %v FLOP/s", r.FLOPS)
	}
	step := 100 / 16900.0
	m = Measures{Concurrency: Concurrency{Peak: 100}, Rates: Rates{Output: 16900}, Latency: Latency{TPOT: &Spread{Mean: step, P50: step}}}
	if r := d.roofline(&m, contexts{output: 1024}); math.Abs(*r.MBU-1) > 0.005 || len(r.Impossible) > 0 || math.Abs(r.MaxUser-319.8) > 0.1 {
		t.Errorf("mbu %v, %v tok/s a sequence, %v", *r.MBU, r.MaxUser, r.Impossible)
	}
	m.Rates.Output, m.Latency.TPOT = 20000, &Spread{Mean: 0.005, P50: 0.005}
	if r := d.roofline(&m, contexts{output: 1024}); len(r.Impossible) != 1 || !strings.Contains(r.Impossible[0], "bytes/s moved") {
		t.Errorf("%v", r.Impossible)
	}
}

func TestImpossibleIsNotValid(t *testing.T) {
	o := Options{Users: []int{4}, Requests: 20}
	o.Beside.Device = a40() // at most 43 tok/s a sequence; the fake has 100
	l, res := measure(t, &fake{}, o)
	if l.Valid || res.Valid || l.Roofline == nil || !strings.Contains(res.Reasons[0], "in one sequence, 43.3 possible") {
		t.Errorf("%v %v %v", l.Valid, res.Valid, res.Reasons)
	}
	o.Beside.Device.Bytes = 0
	if _, err := measureUntil(t, &fake{}, o, 0); !errors.Is(err, ErrOptions) {
		t.Errorf("a device without bandwidth: %v", err)
	}
}

func TestPeaks(t *testing.T) {
	for name, want := range map[string]string{
		"NVIDIA H200": "H200", "NVIDIA H100 80GB HBM3": "H100 SXM", "NVIDIA H100 PCIe": "H100 PCIe", "NVIDIA A40": "A40", "NVIDIA A4000": "",
		"NVIDIA A100-SXM4-80GB": "A100 80GB SXM", "NVIDIA A100 80GB PCIe": "A100 80GB PCIe", "NVIDIA A100-PCIE-40GB": "A100 40GB",
		"NVIDIA GeForce RTX 4090": "RTX 4090", "NVIDIA L40S": "L40S", "NVIDIA L40": "L40", "NVIDIA L4": "L4", "Tesla T4": "T4", "a40": "A40", "cpu": "",
	} {
		p, ok := FindPeak(name)
		if p.Name != want || ok != (want != "") || (ok && (p.FLOPS < 1e13 || p.Bytes < 1e11 || p.Source == "" || p.Date == "")) {
			t.Errorf("%q is %+v, want %q", name, p, want)
		}
	}
}

func TestClientVerdict(t *testing.T) {
	late := 0.02
	m := &Measures{Latency: Latency{TTFT: &Spread{P50: 0.15}, ICL: &Spread{P50: 0.01}, E2E: &Spread{P50: 0.34}}}
	for _, c := range []struct {
		h   Health
		why string
	}{
		{Health{CPU: 0.5, LagP99: 0.0009, LagMax: 0.3}, ""},
		{Health{CPU: 0.95}, "busy"},
		{Health{LagP99: 0.002}, "woke 2.0 ms late"},
		{Health{SendLag: &late}, "sent 20.0 ms late"},
		{Health{GCPause: 0.05}, "collector"},
	} {
		h := c.h
		h.judge(m)
		if h.Bottleneck != (c.why != "") || !strings.Contains(h.Why, c.why) {
			t.Errorf("%+v: %q", c.h, h.Why)
		}
	}
	worst := (&Health{CPU: 0.1, LagP99: 0.1}).worse(&Health{CPU: 0.95, Bottleneck: true, Why: "x"})
	if worst.CPU != 0.95 || worst.LagP99 != 0.1 || worst.Why != "x" {
		t.Errorf("%+v", worst)
	}
}
