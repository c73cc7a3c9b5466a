// Package metrics counts what the engine and the HTTP side tell it, and shows it in two forms: Prometheus exposition
// (Handler) and telemetry lines in SGLang's format (Lines).
//
// Every figure is kept once and shown under its radish_ name and, where SGLang has a name for it, under sglang: too,
// so that dashboards written for SGLang work unchanged. Counters and histograms come from the engine's observer calls,
// gauges from its Stats at the time of a scrape. Labels: model_name alone; no label ever carries what a client sent.
//
// Prefix-cache hits are counters (radish_cached_tokens_total over radish_prompt_tokens_total is the honest hit rate);
// sglang:cache_hit_rate is that quotient since the start.
package metrics

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"radish/server/engine"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options configure New.
type Options struct {
	Model   string // value of the label model_name
	Context int    // tokens, for sglang:context_len
	Lines   *Lines // telemetry lines; nil: none
}

// Metrics implements engine.Observer and the API's recorder. All methods may be called from any goroutine.
type Metrics struct {
	registry *prometheus.Registry
	lines    *Lines
	context  int
	stats    atomic.Pointer[func() engine.Stats]

	ttft, itl, e2e, queue, prompt twin
	requests                      *prometheus.CounterVec
	http                          *prometheus.CounterVec
	cut                           *prometheus.CounterVec
	device                        prometheus.Counter
}

var _ engine.Observer = (*Metrics)(nil)

// Buckets in seconds: from a cached first token on a GPU to a long queue on a CPU.
var (
	ttftBuckets  = []float64{.005, .01, .02, .04, .06, .1, .2, .4, .6, 1, 2, 4, 6, 10, 20, 40, 80, 160}
	itlBuckets   = []float64{.002, .004, .006, .008, .01, .015, .02, .03, .04, .06, .08, .1, .15, .2, .3, .5, 1, 2}
	e2eBuckets   = []float64{.05, .1, .2, .4, .8, 1.5, 3, 5, 10, 20, 40, 60, 100, 200, 400, 800, 1600}
	queueBuckets = []float64{.001, .005, .01, .05, .1, .2, .5, 1, 2, 5, 10, 20, 50, 100, 200}
	tokenBuckets = []float64{1, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072}
)

// New makes a registry of its own, so that nothing else of the process shows up in it.
func New(o Options) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), lines: o.Lines, context: o.Context}
	reg := prometheus.WrapRegistererWith(prometheus.Labels{"model_name": o.Model}, m.registry)
	m.ttft = newTwin(reg, "time_to_first_token_seconds", "Time from arrival to the first token.", ttftBuckets)
	m.itl = newTwin(reg, "inter_token_latency_seconds", "Time between tokens of a request.", itlBuckets)
	m.e2e = newTwin(reg, "e2e_request_latency_seconds", "Time from arrival to the end.", e2eBuckets)
	m.queue = newTwin(reg, "queue_time_seconds", "Time from arrival to admission.", queueBuckets)
	m.prompt = newTwin(reg, "prompt_length_tokens", "Prompt lengths in tokens.", tokenBuckets)
	m.requests = counters("radish_requests_total", "Requests by the reason of their end.", "reason")
	m.http = counters("radish_http_requests_total", "HTTP answers.", "route", "status")
	m.cut = counters("radish_connections_cut_total", "Connections given up, by reason.", "reason")
	m.device = prometheus.NewCounter(prometheus.CounterOpts{Name: "radish_device_seconds_total",
		Help: "Time the device was busy with steps."})
	reg.MustRegister(m.requests, m.http, m.cut, m.device, collector{m})
	if m.lines != nil {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "radish_log_lines_dropped_total",
			Help: "Telemetry lines that a slow sink made room for."}, func() float64 { return float64(m.lines.dropped.Load()) }))
	}
	return m
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// twin is one histogram under two names.
type twin [2]prometheus.Histogram

func newTwin(reg prometheus.Registerer, name, help string, buckets []float64) twin {
	var t twin
	theirs := "sglang:" + name
	if name == "prompt_length_tokens" {
		theirs = "sglang:prompt_tokens_histogram" // the one name that we do not share
	}
	for i, full := range []string{"radish_" + name, theirs} {
		t[i] = prometheus.NewHistogram(prometheus.HistogramOpts{Name: full, Help: help, Buckets: buckets})
		reg.MustRegister(t[i])
	}
	return t
}

func (t twin) observe(x float64) {
	t[0].Observe(x)
	t[1].Observe(x)
}

// Watch sets where gauges and totals come from, usually the engine's Stats; until then they are absent.
func (m *Metrics) Watch(stats func() engine.Stats) { m.stats.Store(&stats) }

// Handler serves the exposition.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Step implements engine.Observer.
func (m *Metrics) Step(i engine.StepInfo) {
	m.device.Add(i.Device.Seconds())
	if m.lines != nil {
		m.lines.step(i)
	}
}

// Done implements engine.Observer. A request that never ran counts in the queue time only.
func (m *Metrics) Done(i engine.RequestInfo) {
	m.requests.WithLabelValues(i.Reason.String()).Inc()
	m.queue.observe(i.Queue.Seconds())
	m.e2e.observe(i.E2E.Seconds())
	m.prompt.observe(float64(i.Prompt))
	if i.TTFT > 0 {
		m.ttft.observe(i.TTFT.Seconds())
	}
	for _, d := range i.ITL {
		m.itl.observe(d.Seconds())
	}
}

// Answered counts an HTTP answer; status 0 means that the client left before there was one.
func (m *Metrics) Answered(route string, status int, _ time.Duration) {
	m.http.WithLabelValues(route, strconv.Itoa(status)).Inc()
}

// Cut counts a connection that was given up.
func (m *Metrics) Cut(reason string) { m.cut.WithLabelValues(reason).Inc() }
