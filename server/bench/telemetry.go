package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// servers are those whose metrics are known, in the order in which they are looked for: radish exposes SGLang's names
// beside its own.
var servers = []struct{ name, prefix string }{
	{"radish", "radish_"}, {"sglang", "sglang:"}, {"vllm", "vllm:"}, {"lmdeploy", "lmdeploy:"},
}

// metric is a figure and its name at each server, with older names after newer ones. Names as of 2026-11.
type metric struct {
	name, unit string
	counter    bool
	theirs     map[string][]string
}

// scraped is the table of what is read from a server.
var scraped = []metric{
	{"running", "requests", false, map[string][]string{
		"radish": {"radish_running_requests"}, "sglang": {"sglang:num_running_reqs"},
		"vllm": {"vllm:num_requests_running"}, "lmdeploy": {"lmdeploy:num_requests_running"}}},
	{"queued", "requests", false, map[string][]string{
		"radish": {"radish_queued_requests"}, "sglang": {"sglang:num_queue_reqs"},
		"vllm": {"vllm:num_requests_waiting"}, "lmdeploy": {"lmdeploy:num_requests_waiting"}}},
	{"kv_usage", "ratio", false, map[string][]string{
		"radish": {"radish_kv_usage_ratio"}, "sglang": {"sglang:token_usage"},
		"vllm": {"vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"}, "lmdeploy": {"lmdeploy:gpu_cache_usage_perc"}}},
	{"output_tokens", "tokens", true, map[string][]string{
		"radish": {"radish_generation_tokens_total"}, "sglang": {"sglang:generation_tokens_total"},
		"vllm": {"vllm:generation_tokens_total"}, "lmdeploy": {"lmdeploy:generation_tokens_total"}}},
	{"prompt_tokens", "tokens", true, map[string][]string{
		"radish": {"radish_prompt_tokens_total"}, "sglang": {"sglang:prompt_tokens_total"},
		"vllm": {"vllm:prompt_tokens_total"}, "lmdeploy": {"lmdeploy:prompt_tokens_total"}}},
	{"cached_tokens", "tokens", true, map[string][]string{
		"radish": {"radish_cached_tokens_total"}, "sglang": {"sglang:cached_tokens_total"},
		"vllm": {"vllm:prefix_cache_hits_total", "vllm:prefix_cache_hits"}, "lmdeploy": {"lmdeploy:cached_tokens_total"}}},
	{"generation_throughput", "tokens/s", false, map[string][]string{
		"radish": {"radish_generation_throughput"}, "sglang": {"sglang:gen_throughput"}}},
	{"retracted", "requests", true, map[string][]string{
		"sglang": {"sglang:num_retracted_requests_total"}, "vllm": {"vllm:num_preemptions_total"}}},
}

const (
	scrapeTimeout = 2 * time.Second
	scrapeLimit   = 8 << 20 // bytes
)

type families = map[string]*dto.MetricFamily

// scrape reads the server's metrics.
func (a *asker) scrape(ctx context.Context) (families, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.metricsURL, nil)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	a.authorize(req)
	res, err := a.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read metrics: status %d", res.StatusCode)
	}
	return ParseMetrics(io.LimitReader(res.Body, scrapeLimit))
}

// ParseMetrics reads the Prometheus text format.
func ParseMetrics(in io.Reader) (map[string]*dto.MetricFamily, error) {
	p := expfmt.NewTextParser(model.UTF8Validation)
	f, err := p.TextToMetricFamilies(in)
	if err != nil {
		return nil, fmt.Errorf("parse metrics: %w", err)
	}
	return f, nil
}

// serverOf names the first server whose metrics are there; empty: none.
func serverOf(f families) string {
	for _, s := range servers {
		for name := range f {
			if strings.HasPrefix(name, s.prefix) {
				return s.name
			}
		}
	}
	return ""
}

// find reads a metric under the first of the server's names that is there.
func (m *metric) find(server string, f families) (value float64, source string, ok bool) {
	for _, name := range m.theirs[server] {
		if family := f[name]; family != nil && len(family.Metric) > 0 {
			return m.fold(family), name, true
		}
	}
	return 0, "", false
}

// fold makes one figure of a family's members (ranks, engines): a ratio is the highest, all else a sum.
func (m *metric) fold(family *dto.MetricFamily) float64 {
	total := 0.0
	for _, x := range family.Metric {
		v := 0.0
		switch {
		case x.Gauge != nil:
			v = x.Gauge.GetValue()
		case x.Counter != nil:
			v = x.Counter.GetValue()
		case x.Untyped != nil:
			v = x.Untyped.GetValue()
		}
		if m.unit == "ratio" {
			total = max(total, v)
		} else {
			total += v
		}
	}
	return total
}

// readings are the series read so far, in the order of scraped.
type readings struct {
	of     [16]*Series
	misses int // in a row
}

func (r *readings) add(server string, f families, at float64) {
	for i := range scraped {
		m := &scraped[i]
		v, source, ok := m.find(server, f)
		if !ok {
			continue
		}
		if r.of[i] == nil {
			r.of[i] = &Series{Name: m.name, Unit: m.unit, Source: source, Counter: m.counter}
		}
		r.of[i].Times = append(r.of[i].Times, at)
		r.of[i].Values = append(r.of[i].Values, v)
	}
}

func (r *readings) list() []Series {
	list := []Series{}
	for _, s := range r.of {
		if s != nil {
			list = append(list, *s)
		}
	}
	return list
}
