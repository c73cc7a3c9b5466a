package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"
)

// Basis says how a recommendation is known.
type Basis string

// The bases. Computed figures say what an unlimited cache would save in prompt tokens, not what that is worth in time.
const (
	Measured Basis = "measured" // the server was loaded with the workload, cache on and off
	Counted  Basis = "counted"  // by the server's own counters
	Computed Basis = "computed" // from the prompts' text
)

// Advice is what a workload's overlap implies.
type Advice struct {
	Schema      int              `json:"schema"`
	Workload    *Workload        `json:"workload"` // null: live
	Hash        string           `json:"workload_hash,omitempty"`
	Overlap     *Overlap         `json:"overlap"`         // of the prompts; null: live
	TokenBytes  *float64         `json:"bytes_per_token"` // null: not counted
	PoolTokens  *float64         `json:"kv_pool_tokens"`  // of the server; null: not known
	Live        *Live            `json:"live"`            // the server's counters; null: not read
	Measured    *RadixScenario   `json:"measured"`        // null: not measured
	Off         OffMode          `json:"off,omitempty"`   // how it was measured
	Suggestions []Recommendation `json:"recommendations"`
}

// Recommendation is a setting, the value for this workload, and why.
type Recommendation struct {
	Setting string `json:"setting"`
	Value   string `json:"value"`
	Basis   Basis  `json:"basis"`
	Because string `json:"because"`
}

// Live is what a server's counters say of the prompts that it served.
type Live struct {
	Server  string   `json:"server"`
	Seconds float64  `json:"seconds"` // between two readings; 0: since the server's start, for want of traffic
	Prompt  float64  `json:"prompt_tokens"`
	Cached  *float64 `json:"cached_tokens"` // null: no such counter
	Queued  *float64 `json:"queued_requests"`
	Running *float64 `json:"running_requests"`
}

// AdviseOptions say where the workload is known from: its text, or a live server.
type AdviseOptions struct {
	Target   Target
	Workload *Workload             // nil: read the server's counters
	Watch    time.Duration         // between the two readings of a live server
	Ask      bool                  // with a workload: the target is there, and may be asked about its tokens and pool
	Measure  *RadixOptions         // with a workload: load the target, cache on and off; its Target and Scenarios are filled
	Count    func(text string) int // the model's tokenizer; nil: none
}

// Advise measures a workload's overlap and says what it implies.
func Advise(ctx context.Context, o AdviseOptions) (*Advice, error) {
	a := &Advice{Schema: Schema, Workload: o.Workload}
	opts := Options{Target: o.Target, Workload: o.Workload}
	asker, err := newAsker(&opts)
	if err != nil && (o.Workload == nil || o.Ask) {
		return nil, err
	}
	if o.Workload == nil {
		if a.Live, err = asker.live(ctx, o.Watch); err != nil {
			return nil, err
		}
		a.Suggestions = a.Live.suggest()
		return a, nil
	}
	a.Hash = o.Workload.Hash()
	sent := o.Workload.exchanges(o.Workload.distinct())
	overlap := MeasureOverlap(sent)
	a.Overlap = &overlap
	if o.Ask {
		asker.name(ctx)
		a.PoolTokens = asker.pool(ctx)
	}
	if a.TokenBytes, err = tokenBytes(ctx, &o, asker, sent); err != nil {
		return nil, err
	}
	if o.Measure != nil {
		if err := a.measure(ctx, &o, len(sent)); err != nil {
			return nil, err
		}
	}
	a.Suggestions = a.suggest()
	return a, nil
}

// fewest is how many requests a file must hold to be measured with one user.
const fewest = 8

// measure loads the server with the workload. A file's prompts come only once, or the cache would know them already.
func (a *Advice) measure(ctx context.Context, o *AdviseOptions, sent int) error {
	m := *o.Measure
	m.Target, m.Scenarios = o.Target, []Scenario{{"the workload", o.Workload}}
	if o.Workload.sessions != nil {
		if sent < fewest {
			return fmt.Errorf("%w: %d requests are too few to measure with, %d are needed", ErrOptions, sent, fewest)
		}
		m.Users, m.Requests = min(m.Users, sent/fewest), min(m.Requests, sent/2) // the other half is for the warm-up
	}
	res, err := RunRadix(ctx, m)
	if err != nil {
		return err
	}
	a.Measured, a.Off = &res.Scenarios[0], res.Off
	return nil
}

// distinct is how many sessions a workload's overlap is measured over: all of a file.
func (w *Workload) distinct() int {
	if w.sessions != nil {
		return len(w.sessions)
	}
	return hashed
}

// exchanges are the requests of the first n sessions, in order. Answers are not known.
func (w *Workload) exchanges(n int) []Exchange {
	var sent []Exchange
	for i := range n {
		prompt := ""
		for _, turn := range w.Session(i) {
			prompt += turn + "\n"
			sent = append(sent, Exchange{Prompt: prompt})
		}
	}
	return sent
}

// tokenSamples is how many prompts are counted in tokens.
const tokenSamples = 8

// tokenBytes counts a few prompts, by the tokenizer or by asking the server for one token each.
func tokenBytes(ctx context.Context, o *AdviseOptions, a *asker, sent []Exchange) (*float64, error) {
	bytes, tokens := 0, 0
	for i := range min(tokenSamples, len(sent)) {
		text := sent[i*len(sent)/min(tokenSamples, len(sent))].Prompt
		n := 0
		switch {
		case o.Count != nil:
			n = o.Count(text)
		case o.Ask:
			var r Request
			one := *a
			one.target.MaxTokens, one.target.Edit = 1, OffByFlag.edit()
			one.ask(ctx, []message{{"user", text}}, time.Now(), &r)
			if r.Outcome == Failed {
				return nil, fmt.Errorf("count tokens: the server answers %s", r.Reason)
			}
			n = r.Prompt
		}
		if n > 0 {
			bytes, tokens = bytes+len(text), tokens+n
		}
	}
	if tokens == 0 {
		return nil, nil
	}
	ratio := float64(bytes) / float64(tokens)
	return &ratio, nil
}

// pool asks for the size of the KV pool as SGLang names it; nil where the server does not say.
func (a *asker) pool(ctx context.Context) *float64 {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(a.target.URL, "/")+"/get_server_info", nil)
	if err != nil {
		return nil
	}
	a.authorize(req)
	res, err := a.client.Do(req)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var info struct {
		Tokens float64 `json:"max_total_num_tokens"`
	}
	if json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&info) != nil || info.Tokens <= 0 {
		return nil
	}
	return &info.Tokens
}

// live reads the counters twice.
func (a *asker) live(ctx context.Context, apart time.Duration) (*Live, error) {
	before, err := a.scrape(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(apart):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := a.scrape(ctx)
	if err != nil {
		return nil, err
	}
	l := &Live{Server: serverOf(after), Seconds: apart.Seconds()}
	if l.Server == "" {
		return nil, fmt.Errorf("read metrics: they are of no server that is known here")
	}
	prompt, _ := l.figure(after, "prompt_tokens")
	cached, says := l.figure(after, "cached_tokens")
	was, _ := l.figure(before, "prompt_tokens")
	had, _ := l.figure(before, "cached_tokens")
	if prompt <= was || math.IsNaN(was) {
		l.Seconds, was, had = 0, 0, 0
	}
	l.Prompt = prompt - was
	if says {
		cached -= had
		l.Cached = &cached
	}
	for name, dst := range map[string]**float64{"queued": &l.Queued, "running": &l.Running} {
		if v, ok := l.figure(after, name); ok {
			*dst = &v
		}
	}
	return l, nil
}

func (l *Live) figure(f families, name string) (float64, bool) {
	for i := range scraped {
		if scraped[i].name == name {
			v, _, ok := scraped[i].find(l.Server, f)
			return v, ok
		}
	}
	return 0, false
}
