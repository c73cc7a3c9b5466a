// Package engine is the server's loop: it admits requests, launches steps on a Runner one step ahead of what it has
// read, and turns sampled tokens into events.
//
// # One step ahead
//
// While the runner works on step n, the loop builds and launches step n+1: rows that continue with a token which step
// n has not sampled yet are told so. Only then does it wait for n:
//
//	device  |---- step n ----|--- step n+1 ---|--- step n+2 ---|
//	loop    build n+1, launch | read n, build n+2, launch | read n+1 ...
//
// A sequence whose stop token is found in n has a row in n+1 already; what that row samples is dropped and counted
// (TokenStats.Wasted). The end by length is known beforehand and wastes nothing.
//
// # Ends
//
// Every submitted request gets exactly one event with Finish: stop, length, abort or error, whatever happens: cancelled
// while queued, running or stalled, runner failure, end of Run's context, drain. A cancelled request leaves the batch
// with the next step that is built, and gets its last event at once; its pages come back when no launched step refers
// to them. A panic of the runner breaks the runner, like an error; a panic while one request's tokens are handled ends
// that request.
//
// # Threads
//
// Run's goroutine owns the scheduler. A second one waits in Runner.Collect, so that cancels and new requests are heard
// during a step; Launch and Collect never overlap. Streams buffer in memory, bounded by MaxTokens, and never block the
// loop. Without work the loop blocks on a channel, after it has checked that every page is accounted for.
package engine

import (
	"fmt"
	"slices"
	"time"

	"radish/server/sched"
	"radish/server/seq"
)

// Engine runs requests on a Runner. All methods may be called from any goroutine.
type Engine struct {
	cfg    Config
	runner Runner
	obs    Observer
	limit  int // prompt and output of one request

	door   door   // shared with callers
	mirror mirror // what callers may see of the loop

	// The rest belongs to the loop.
	sched      *sched.Scheduler
	live       map[seq.ID]*request
	batches    [2]seq.Batch
	collecting bool
	ask        chan struct{}
	got        chan collected
	tally      tally
	checked    bool // nothing happened since the last check
}

type collected struct {
	res *seq.Result
	err error
}

// New checks cfg and makes an engine on r; obs may be nil. Nothing runs until Run.
func New(cfg Config, r Runner, obs Observer) (*Engine, error) {
	if cfg.MaxQueued <= 0 {
		cfg.MaxQueued = 1024
	}
	s, err := sched.New(cfg.sched())
	if err != nil {
		return nil, fmt.Errorf("make engine: %w", err)
	}
	e := &Engine{cfg: cfg, runner: r, obs: obs, limit: s.Limit(), sched: s, live: map[seq.ID]*request{},
		ask: make(chan struct{}, 1), got: make(chan collected, 1), checked: true}
	e.door.init(cfg.MaxSeqs)
	e.mirror.snapshot(e)
	return e, nil
}

// request is one submitted request.
type request struct {
	task   sched.Task
	key    string
	stream Stream
	cached bool // Event.Cached was told

	admitted, first, latest time.Time
	itl                     []time.Duration
}

func (e *Engine) newRequest(req Request, id seq.ID, now time.Time) *request {
	r := &request{key: req.Key}
	p := req.Params
	p.MaxTokens = min(p.MaxTokens, e.limit-len(req.Prompt))
	if p.IgnoreEOS {
		p.Stop = nil
	} else if len(e.cfg.EOS) > 0 {
		p.Stop = slices.Concat(p.Stop, e.cfg.EOS)
	}
	r.task.Seq = seq.Seq{ID: id, Domain: req.Domain, Uncached: req.Uncached, Priority: req.Priority, Arrived: now, Params: p,
		Tokens: slices.Clip(req.Prompt), Prompt: len(req.Prompt), Slot: -1}
	r.stream = Stream{note: make(chan struct{}, 1)}
	r.stream.cancel = func() { e.door.cancel(r) }
	return r
}

// check refuses what can never run.
func (e *Engine) check(req Request) error {
	n, p := len(req.Prompt), req.Params
	switch {
	case n == 0:
		return fmt.Errorf("submit request: %w: the prompt is empty", ErrInvalid)
	case p.MaxTokens < 0 || p.MinTokens < 0:
		return fmt.Errorf("submit request: %w: a number of tokens is negative", ErrInvalid)
	case n+min(1, p.MaxTokens) > e.limit:
		return fmt.Errorf("submit request of %d prompt tokens where %d fit: %w", n, e.limit, ErrTooLong)
	}
	return nil
}
