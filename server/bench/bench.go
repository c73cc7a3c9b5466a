// Package bench measures an OpenAI-compatible endpoint over HTTP, so that the numbers cannot mislead. It knows nothing
// of any engine.
//
// A run has levels. A closed-loop level keeps a number of users busy, each asking again when answered. An open-loop
// level sends at Poisson times drawn beforehand and counts latency from the intended time, so that a stalled server
// cannot hide behind a client that politely waits (coordinated omission).
//
// What counts:
//
//   - The steady window opens when every user has its first answer (open loop: after a tenth of the arrivals) and closes
//     when no further request is sent. Rates are taken inside it; latencies are of the requests sent inside it.
//   - TTFT is the first non-empty content delta minus the send (open loop: the intended send). An answer that was not
//     streamed has none.
//   - TPOT is (E2E - TTFT) / (output tokens - 1) of one answer. ICL are the gaps between chunks, pooled. ITL are the same
//     gaps where a chunk is a token, within 5 %; otherwise it is not given.
//   - Tokens are those the server's usage says; without it there are no token rates and the level is not valid.
//   - Failures (by status), incomplete answers and complete ones are counted apart. Only complete ones have latencies.
//   - Concurrency is the time-weighted number of requests in flight inside the window, printed beside the asked one.
//
// Every workload is a pure function of its settings and seed; its hash is in the result.
package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Schema is the version of Result's JSON form. It changes when a field's meaning does.
const Schema = 1

// Limits of a run: what sizes memory.
const (
	MaxUsers    = 10_000
	MaxRequests = 1_000_000
	MaxWords    = 1 << 20
)

// ErrOptions is wrapped by every mistake in Options.
var ErrOptions = errors.New("bad options")

// Options are one run.
type Options struct {
	Target   Target
	Workload *Workload
	Users    []int         // closed loop: one level each
	Rate     float64       // open loop: requests per second; excludes Users
	Requests int           // measured requests of a level; 0: until Duration
	Duration time.Duration // length of the steady window; 0: until Requests
	SLO      SLO
	Seed     uint64
	Observe  func(Request) // called for each finished request, one at a time; may be nil
}

// Target is the endpoint and what each request asks of it.
type Target struct {
	URL       string // without /v1
	Key       string `json:"-"` // never written out
	Model     string // empty: the first that the server lists
	MaxTokens int
	Natural   bool          // stop where the model stops, instead of ignore_eos
	Timeout   time.Duration // of one request; 0: none
	Client    *http.Client  // nil: a client with one connection per stream
	// Edit changes a request's body before it is sent, such as by adding cache_prompt. It is called from many goroutines
	// at once. nil: nothing is changed.
	Edit func(body map[string]any) `json:"-"`
}

// SLO is what a request must keep to count as goodput; 0 asks nothing.
type SLO struct {
	TTFT time.Duration `json:"ttft_ns"`
	TPOT time.Duration `json:"tpot_ns"`
}

func (o *Options) check() error {
	switch {
	case o.Workload == nil:
		return fmt.Errorf("%w: no workload", ErrOptions)
	case (len(o.Users) == 0) == (o.Rate == 0):
		return fmt.Errorf("%w: give either users or a rate", ErrOptions)
	case o.Rate < 0 || o.Rate > 1e5:
		return fmt.Errorf("%w: rate %v is not in 0..1e5", ErrOptions, o.Rate)
	case o.Rate > 0 && o.Workload.Turns > 1:
		return fmt.Errorf("%w: a turn waits for the answer before it: multi-turn needs users, not a rate", ErrOptions)
	case o.Requests < 0 || o.Requests > MaxRequests:
		return fmt.Errorf("%w: requests %d is not in 0..%d", ErrOptions, o.Requests, MaxRequests)
	case o.Requests == 0 && o.Duration <= 0:
		return fmt.Errorf("%w: give requests or a duration", ErrOptions)
	case o.Rate > 0 && o.Requests == 0 && o.Rate*o.Duration.Seconds() > MaxRequests:
		return fmt.Errorf("%w: rate times duration is over %d", ErrOptions, MaxRequests)
	case o.Target.MaxTokens < 1 || o.Target.MaxTokens > MaxWords:
		return fmt.Errorf("%w: output length %d is not in 1..%d", ErrOptions, o.Target.MaxTokens, MaxWords)
	}
	for _, u := range o.Users {
		if u < 1 || u > MaxUsers {
			return fmt.Errorf("%w: %d users is not in 1..%d", ErrOptions, u, MaxUsers)
		}
	}
	return nil
}

// Run measures every level in turn. A server that fails makes a level not valid, with reasons, and is no error here; a
// cancelled context is.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	asker, err := newAsker(o.Target)
	if err != nil {
		return nil, err
	}
	asker.name(ctx)
	o.Target.Model = asker.target.Model
	res := newResult(&o)
	levels := o.Users
	if o.Rate > 0 {
		levels = []int{0}
	}
	for i, users := range levels {
		l := &load{opts: &o, asker: asker, users: users, number: i, start: time.Now()}
		if users > 0 {
			l.closed(ctx)
		} else {
			l.open(ctx)
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("measure level %d: %w", i, err)
		}
		res.Levels = append(res.Levels, summarize(l))
	}
	res.finish()
	return res, nil
}
