package metrics

import (
	"radish/server/engine"

	"github.com/prometheus/client_golang/prometheus"
)

// reading is one figure of a snapshot and its names; an empty name is not shown.
type reading struct {
	radish, sglang string
	help           string
	counter        bool
	value          func(s *engine.Stats) float64
}

// readings is the table of all gauges and totals.
var readings = []reading{
	{"radish_running_requests", "sglang:num_running_reqs", "Requests running.", false,
		func(s *engine.Stats) float64 { return float64(s.Running) }},
	{"radish_queued_requests", "sglang:num_queue_reqs", "Requests waiting.", false,
		func(s *engine.Stats) float64 { return float64(s.Queued) }},
	{"radish_generation_throughput", "sglang:gen_throughput", "Tokens per second, lately.", false,
		func(s *engine.Stats) float64 { return s.GenThroughput }},
	{"radish_input_throughput", "", "Computed prompt tokens per second, lately.", false,
		func(s *engine.Stats) float64 { return s.InThroughput }},
	{"radish_kv_usage_ratio", "sglang:token_usage", "Part of the KV pool that running requests hold.", false,
		func(s *engine.Stats) float64 { return s.Pages.Usage() }},
	{"radish_kv_pages", "sglang:num_pages", "Pages of the KV pool.", false,
		func(s *engine.Stats) float64 { return float64(s.Pages.Total) }},
	{"radish_kv_page_size_tokens", "sglang:page_size", "Tokens in a page.", false,
		func(s *engine.Stats) float64 { return float64(s.Pages.Size) }},
	{"radish_kv_tokens", "sglang:max_total_num_tokens", "Tokens that the KV pool holds.", false,
		func(s *engine.Stats) float64 { return float64(s.Pages.Total * s.Pages.Size) }},
	{"radish_kv_used_tokens", "sglang:num_used_tokens", "Tokens of pages that running requests hold.", false,
		func(s *engine.Stats) float64 { return float64(s.Pages.Held * s.Pages.Size) }},
	{"radish_kv_free_tokens", "sglang:kv_available_tokens", "Tokens of free pages.", false,
		func(s *engine.Stats) float64 { return float64(s.Pages.Free * s.Pages.Size) }},
	{"radish_kv_cached_tokens", "sglang:kv_evictable_tokens", "Tokens that only the prefix cache keeps.", false,
		func(s *engine.Stats) float64 { return float64(s.Pages.Cached * s.Pages.Size) }},
	{"", "sglang:cache_hit_rate", "Cached part of all prompt tokens since the start.", false, hitRate},
	{"radish_prompt_tokens_total", "sglang:prompt_tokens_total", "Prompt tokens, cached ones included.", true,
		func(s *engine.Stats) float64 { return float64(s.Tokens.Prompt) }},
	{"radish_cached_tokens_total", "sglang:cached_tokens_total", "Prompt tokens from the prefix cache.", true,
		func(s *engine.Stats) float64 { return float64(s.Tokens.Cached) }},
	{"radish_computed_tokens_total", "", "Prefill positions computed, recomputation included.", true,
		func(s *engine.Stats) float64 { return float64(s.Tokens.Computed) }},
	{"radish_generation_tokens_total", "sglang:generation_tokens_total", "Tokens delivered.", true,
		func(s *engine.Stats) float64 { return float64(s.Tokens.Generated) }},
	{"radish_wasted_tokens_total", "", "Tokens sampled for requests that had ended.", true,
		func(s *engine.Stats) float64 { return float64(s.Tokens.Wasted) }},
	{"radish_steps_total", "", "Steps of the engine.", true,
		func(s *engine.Stats) float64 { return float64(s.Steps) }},
	{"radish_retractions_total", "", "Times that a running request lost its pages to others.", true,
		func(s *engine.Stats) float64 { return float64(s.Sched.Retracts) }},
	{"radish_submitted_requests_total", "sglang:num_requests_total", "Requests taken.", true,
		func(s *engine.Stats) float64 { return float64(s.Requests.Submitted) }},
	{"radish_refused_requests_total", "", "Requests that found the queue full or the engine closing.", true,
		func(s *engine.Stats) float64 { return float64(s.Requests.Refused) }},
}

func hitRate(s *engine.Stats) float64 {
	if s.Tokens.Prompt == 0 {
		return 0
	}
	return float64(s.Tokens.Cached) / float64(s.Tokens.Prompt)
}

// collector reads one snapshot for each scrape, so that its figures belong together.
type collector struct{ m *Metrics }

// shown is a reading's name and description.
type shown struct {
	desc *prometheus.Desc
	row  *reading
}

var descs = func() []shown {
	var out []shown
	for i := range readings {
		r := &readings[i]
		for _, name := range []string{r.radish, r.sglang} {
			if name != "" {
				out = append(out, shown{prometheus.NewDesc(name, r.help, nil, nil), r})
			}
		}
	}
	return out
}()

var contextDesc = prometheus.NewDesc("sglang:context_len", "Tokens of prompt and output together.", nil, nil)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descs {
		ch <- d.desc
	}
	ch <- contextDesc
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	stats := c.m.stats.Load()
	if stats == nil {
		return
	}
	snapshot := (*stats)()
	for _, d := range descs {
		kind := prometheus.GaugeValue
		if d.row.counter {
			kind = prometheus.CounterValue
		}
		ch <- prometheus.MustNewConstMetric(d.desc, kind, d.row.value(&snapshot))
	}
	ch <- prometheus.MustNewConstMetric(contextDesc, prometheus.GaugeValue, float64(c.m.context))
}
