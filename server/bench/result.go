package bench

import (
	"net/url"
	"runtime"
	"time"
)

// Schema is the version of Result's JSON form, described in schema/result.json. Fields may be added under the same
// version; it changes when a field goes or means something else. The key is in no part of it.
const Schema = 1

// Result is a run's outcome. Times are seconds, rates per second, shares 0 to 1; null means not known, never zero.
type Result struct {
	Schema      int               `json:"schema"`
	Started     time.Time         `json:"started"`
	Version     string            `json:"version"` // of the program that measured
	Valid       bool              `json:"valid"`   // at least one level is valid
	Reasons     []string          `json:"reasons,omitempty"`
	Endpoint    Endpoint          `json:"endpoint"`
	Plan        Plan              `json:"plan"`
	Workload    Asked             `json:"workload"`
	Client      Machine           `json:"client"`
	Device      *Device           `json:"device"` // null: not told, so no MFU, MBU or roofline
	Levels      []Level           `json:"levels"`
	Saturation  *Saturation       `json:"saturation"`         // null in an open loop
	Raw         string            `json:"raw_file,omitempty"` // the file of Requests, one a line
	Definitions map[string]string `json:"definitions"`
}

// Endpoint is who was asked and how.
type Endpoint struct {
	URL       string `json:"url"` // without user and password
	Model     string `json:"model"`
	Server    string `json:"server,omitempty"` // radish, sglang, vllm or lmdeploy, as its metrics say
	MaxTokens int    `json:"max_tokens"`
	Natural   bool   `json:"natural"` // the model stops where it wants; false: ignore_eos
}

// Plan is the load that was asked for.
type Plan struct {
	Loop       string    `json:"loop"` // closed or open
	Users      []int     `json:"users,omitempty"`
	Rates      []float64 `json:"rates,omitempty"`      // requests per second
	Burstiness float64   `json:"burstiness,omitempty"` // shape of the gamma arrivals; 1 is Poisson
	Requests   int       `json:"requests,omitempty"`
	Duration   float64   `json:"duration_seconds,omitempty"`
	Repeats    int       `json:"repeats"`
	Cache      string    `json:"cache"` // "flushed" before each level, or "kept"
	SLO        SLO       `json:"slo"`
	Seed       uint64    `json:"seed"`
}

// SLO is what an answer must keep to count as goodput, in seconds; 0 asks nothing.
type SLO struct {
	TTFT float64 `json:"ttft_seconds,omitempty"`
	TPOT float64 `json:"tpot_seconds,omitempty"`
	E2E  float64 `json:"e2e_seconds,omitempty"`
}

// Asked identifies the workload.
type Asked struct {
	*Workload
	Hash   string  `json:"hash"`   // Workload.Hash
	Shared float64 `json:"shared"` // Workload.Shared
}

// Machine is the client's.
type Machine struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"` // that this process may use
	Go   string `json:"go"`
}

// Level is one load, over all its repeats: counts and times pooled, rates over the sum of the windows.
type Level struct {
	Users   int      `json:"users,omitempty"` // closed loop
	Rate    float64  `json:"rate,omitempty"`  // open loop
	Valid   bool     `json:"valid"`           // every repeat is
	Reasons []string `json:"reasons,omitempty"`
	Measures
	Efficiency *float64            `json:"scaling_efficiency"`
	Intervals  map[string]Interval `json:"intervals,omitempty"` // by the figure's name; two repeats or more
	Repeats    []Repeat            `json:"repeats"`
}

// Repeat is one measurement of a level.
type Repeat struct {
	Number  int      `json:"number"`
	Start   float64  `json:"start_seconds"` // since Result.Started; times in it are since here
	Valid   bool     `json:"valid"`
	Reasons []string `json:"reasons,omitempty"` // why not valid, or what to know
	Opened  float64  `json:"window_opened_seconds"`
	Closed  float64  `json:"window_closed_seconds"`
	Measures
	Batches   []float64 `json:"output_batches"` // output tok/s in ten equal parts of the window
	Drift     *float64  `json:"drift"`          // of output tok/s, second half against first; null: too few answers
	Timeline  []Sample  `json:"timeline"`
	Telemetry []Series  `json:"telemetry"`
}

// Measures are figures of a steady window.
type Measures struct {
	Window      float64        `json:"window_seconds"`
	Counts      Counts         `json:"counts"`
	Failures    map[string]int `json:"failures,omitempty"` // by status or reason
	Concurrency Concurrency    `json:"concurrency"`
	Rates       Rates          `json:"rates"`
	Latency     Latency        `json:"latency"`
	Tokens      *TokenCheck    `json:"token_check"` // null: no tokenizer here
	Roofline    *Roofline      `json:"roofline"`    // null: no device told
	Energy      *Energy        `json:"energy"`      // null: no energy counter
	Health      *Health        `json:"client"`
}

// Counts are requests sent inside the window.
type Counts struct {
	Measured   int `json:"measured"`
	Complete   int `json:"complete"`
	Incomplete int `json:"incomplete"`
	Failed     int `json:"failed"`
	Refused    int `json:"refused"`  // of the failed: status 429
	Streamed   int `json:"streamed"` // of the complete
	WarmUp     int `json:"warm_up"`  // sent outside the window
}

// Concurrency is the number of requests in flight.
type Concurrency struct {
	Asked    int     `json:"asked,omitempty"` // closed loop
	Achieved float64 `json:"achieved"`        // weighted by time, inside the window
	Peak     int     `json:"peak"`
}

// Rates are per second of the steady window.
type Rates struct {
	Output   float64  `json:"output_tokens_per_second"`
	PerUser  float64  `json:"output_tokens_per_second_per_user"` // mean of an answer's tokens / E2E
	Input    float64  `json:"input_tokens_per_second"`
	Requests float64  `json:"requests_per_second"`
	Sent     float64  `json:"sent_per_second"`
	Goodput  float64  `json:"goodput_per_second"`
	Good     float64  `json:"goodput_ratio"` // of the measured requests
	Cached   *float64 `json:"cached_ratio"`  // null: the server does not say
}

// Latency is distributions in seconds; null: n/a.
type Latency struct {
	TTFT   *Spread `json:"ttft_seconds"`
	TPOT   *Spread `json:"tpot_seconds"`
	ITL    *Spread `json:"itl_seconds"`
	ICL    *Spread `json:"icl_seconds"`
	E2E    *Spread `json:"e2e_seconds"`
	Jitter *Spread `json:"jitter_seconds"`
}

// Spread is a distribution of N values. Quantiles are those at 0, 1, 2 ... 100 %, for a level and not for a repeat.
type Spread struct {
	N         int       `json:"n"`
	Mean      float64   `json:"mean"`
	SD        float64   `json:"sd"`
	P50       float64   `json:"p50"`
	P90       float64   `json:"p90"`
	P95       float64   `json:"p95"`
	P99       float64   `json:"p99"`
	Max       float64   `json:"max"`
	Quantiles []float64 `json:"quantiles,omitempty"`
}

// Interval is a mean over N repeats and its 95 % confidence interval (Student).
type Interval struct {
	N    int     `json:"n"`
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Sample is what the client saw in one part of a repeat, from Time until Time plus Width.
type Sample struct {
	Time     float64 `json:"time_seconds"`
	Width    float64 `json:"width_seconds"`
	InFlight float64 `json:"in_flight"` // mean
	Waiting  float64 `json:"waiting"`   // of those, before their first token
	Output   float64 `json:"output_tokens_per_second"`
}

// Series is something read beside the load, every half second or so: the server's metrics, a device's power.
type Series struct {
	Name    string    `json:"name"`    // running, queued, kv_usage, output_tokens, power ...
	Unit    string    `json:"unit"`    // requests, ratio, tokens, watts
	Source  string    `json:"source"`  // the metric's own name, or nvml
	Counter bool      `json:"counter"` // only grows: its slope is the figure
	Times   []float64 `json:"times_seconds"`
	Values  []float64 `json:"values"`
}

// TokenCheck compares the server's count of output tokens with the model's own tokenizer on a sample of answers.
type TokenCheck struct {
	Answers int `json:"answers"`
	Said    int `json:"said_tokens"`
	Counted int `json:"counted_tokens"`
}

// Energy is what the device used inside the windows.
type Energy struct {
	Joules      float64  `json:"joules"`
	Watts       float64  `json:"watts"`
	IdleWatts   *float64 `json:"idle_watts"` // before the first level; null: not measured
	TokensJoule *float64 `json:"tokens_per_joule"`
	JoulesToken *float64 `json:"joules_per_token"`
	AboveIdle   *float64 `json:"joules_per_token_above_idle"`

	seconds, tokens float64 // of the windows
}

// Health says whether the client itself kept up.
type Health struct {
	CPU        float64  `json:"cpu"`              // busy share of the processors it may use
	GCPause    float64  `json:"gc_pause_seconds"` // the longest
	GCShare    float64  `json:"gc_cpu"`           // of its processor time
	LagP99     float64  `json:"lag_p99_seconds"`  // how late a sleeping goroutine woke
	LagMax     float64  `json:"lag_max_seconds"`
	SendLag    *float64 `json:"send_lag_p99_seconds"` // open loop: sent minus intended
	Resident   int64    `json:"resident_bytes"`       // the process's peak
	Bottleneck bool     `json:"bottleneck"`
	Why        string   `json:"why,omitempty"`
}

func newResult(o *Options) *Result {
	r := &Result{
		Schema: Schema, Started: time.Now().UTC(), Version: o.Version, Device: o.Beside.Device, Definitions: definitions(),
		Endpoint: Endpoint{URL: publicURL(o.Target.URL), Model: o.Target.Model, MaxTokens: o.Target.MaxTokens, Natural: o.Target.Natural},
		Plan: Plan{
			Loop: "closed", Users: o.Users, Rates: o.Rates, Requests: o.Requests, Duration: o.Duration.Seconds(),
			Repeats: o.Repeats, Cache: "kept", SLO: o.SLO, Seed: o.Seed,
		},
		Workload: Asked{Workload: o.Workload, Hash: o.Workload.Hash(), Shared: o.Workload.Shared()},
		Client:   Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.GOMAXPROCS(0), Go: runtime.Version()},
		Raw:      o.Raw,
	}
	if len(o.Rates) > 0 {
		r.Plan.Loop, r.Plan.Burstiness = "open", o.Burstiness
	}
	if o.Flush {
		r.Plan.Cache = "flushed"
	}
	return r
}

// publicURL is an address without user, password and query.
func publicURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.Path
}
