// Package engine is the server's loop: it admits requests, launches steps on a Runner one step ahead of what it has
// read, and turns sampled tokens into events.
package engine

import (
	"context"
	"errors"
	"time"

	"radish/server/sched"
	"radish/server/seq"
)

// Errors of Submit and Flush, for errors.Is.
var (
	ErrQueueFull = errors.New("queue is full")          // 429, see RetryAfter
	ErrTooLong   = sched.ErrTooLong                     // the prompt can never fit
	ErrDraining  = errors.New("engine is draining")     // 503
	ErrClosed    = errors.New("engine is not running")  // 503
	ErrInvalid   = errors.New("request is invalid")     // empty prompt, negative lengths
	ErrBusy      = errors.New("requests run or wait")   // Flush
	ErrStuck     = errors.New("runner does not answer") // Run, after its context ended
)

// Config sizes an Engine. Zero values of the fields that say so mean a default.
type Config struct {
	Pages            int          // of the KV pool, >= 1
	PageSize         int          // positions per page, >= 1
	MaxSeqs          int          // sequences that run at once = slots of the runner, >= 1
	MaxQueued        int          // requests that may wait beyond those; 0: 1024
	ChunkTokens      int          // prefill tokens per step, decode rows counted against them; <= 0: prompts are not cut
	MaxPrefillTokens int          // bound on one step's prefill tokens when prompts are not cut; 0: 16384
	ContextLength    int          // prompt and output together, >= 1
	Policy           sched.Policy // order of the queue
	Conservativeness float64      // scales the share of max_tokens that admission reserves; 0: 1
	Seed             uint64       // of the random policy
	DisableRadix     bool         // no prefix reuse
	EOS              []seq.Token  // ends every request that does not ignore them
}

// Request is what Submit takes. The engine keeps Prompt and the slices of Params: do not change them afterwards.
type Request struct {
	Key      string // the caller's name for it, for Abort; need not be unique, "" has none
	Prompt   []seq.Token
	Params   seq.Params // Stop need not hold the model's end-of-sequence ids: Config.EOS is added
	Domain   string     // cache domain: prefixes are shared only within one
	Priority int        // for the priority policy, higher first, clamped to [-100, 100]
}

// Reason is why a request ended.
type Reason uint8

// The four ends.
const (
	ReasonStop   Reason = iota + 1 // a stop token was sampled
	ReasonLength                   // MaxTokens or the context were reached
	ReasonAbort                    // cancelled, or the engine shut down
	ReasonError                    // Finish.Err says why
)

// String is the word that logs and metrics use.
func (r Reason) String() string {
	switch r {
	case ReasonStop:
		return "stop"
	case ReasonLength:
		return "length"
	case ReasonAbort:
		return "abort"
	case ReasonError:
		return "error"
	}
	return "none"
}

// Finish is the terminal event's cause.
type Finish struct {
	Reason Reason
	Stop   seq.Token // the token that ended it, when Reason is ReasonStop
	Err    error     // when Reason is ReasonError
}

// Event is what happened to a request since the event before. Its slices are valid until the next call of Next.
type Event struct {
	Tokens []seq.Scored // sampled tokens; a stop token that ends the request is the last of them
	Prompt []seq.Scored // scores of prompt tokens 1, 2, ..., when asked for
	Cached int          // prompt tokens taken from the prefix cache
	Finish *Finish      // set on the last event, and only there
}

// Stats is a snapshot of the engine.
type Stats struct {
	Running, Queued int
	Pages           PageStats
	Tokens          TokenStats
	Requests        RequestStats
	Sched           sched.Stats
	Steps           uint64
	Draining        bool
	GenThroughput   float64 // sampled tokens per second over the last second or so; 0 when idle
	InThroughput    float64 // computed prompt tokens per second, likewise
}

// PageStats counts pages of the KV pool: Total = Free + Cached + Held. Held pages are those of running sequences,
// whether or not the prefix cache has them too; Cached ones belong to the prefix cache alone and can be evicted.
type PageStats struct{ Size, Total, Free, Cached, Held int }

// Usage is the part of the pool that running sequences hold, 0 to 1 (SGLang's "token usage").
func (p PageStats) Usage() float64 {
	if p.Total == 0 {
		return 0
	}
	return float64(p.Held) / float64(p.Total)
}

// TokenStats are totals since the start.
type TokenStats struct {
	Prompt    uint64 // of first admissions, cached ones included
	Cached    uint64 // of those, taken from the prefix cache
	Computed  uint64 // prefill positions computed, recomputation after retractions included
	Generated uint64 // delivered in events
	Wasted    uint64 // sampled and dropped, because the request had ended meanwhile
}

// RequestStats are totals since the start. Submitted = Stopped + Length + Aborted + Failed + those alive.
type RequestStats struct{ Submitted, Refused, Stopped, Length, Aborted, Failed uint64 }

// Heartbeat tells a watchdog whether the engine lives.
type Heartbeat struct {
	Last    time.Time     // of the last progress: a step read back, or a turn of the loop that found nothing to do
	Busy    bool          // requests run or wait
	StepAge time.Duration // how long the oldest launched step has been running; 0: none is
}

// Observer is told of steps and ends. It is called from the loop and must not block. What it is given is valid during
// the call only.
type Observer interface {
	Step(StepInfo)
	Done(RequestInfo)
}

// StepInfo describes one step when it was read back.
type StepInfo struct {
	Step          uint64
	NewSeqs       int // sequences admitted in it
	PrefillRows   int
	PrefillTokens int // computed
	CachedTokens  int // prefill tokens that admissions of this step found cached
	DecodeRows    int
	Retracted     int // sequences that lost their pages when it was built
	Running       int
	Queued        int
	QueuedTokens  int // prompt tokens not computed yet, of waiting and running sequences
	Pages         PageStats
	Device        time.Duration // busy time of the device
	Wall          time.Duration // since the step before was read back, or since the launch after idling
}

// RequestInfo describes one request at its end.
type RequestInfo struct {
	Key      string
	Reason   Reason
	Prompt   int // tokens
	Cached   int
	Output   int
	Retracts int
	Queue    time.Duration   // arrival to first admission; to the end if never admitted
	TTFT     time.Duration   // arrival to first token; 0: there was none
	E2E      time.Duration   // arrival to end
	ITL      []time.Duration // between tokens, Output-1 of them
}

// Engine runs requests on a Runner. All methods may be called from any goroutine.
type Engine struct{}

// Stream is one request's events. One goroutine reads it; any may cancel it.
type Stream struct{}

// New checks cfg and makes an engine on r; obs may be nil. Nothing runs until Run.
func New(cfg Config, r Runner, obs Observer) (*Engine, error) { return &Engine{}, nil }

// Run is the loop. It returns when ctx ends (with its error) or the runner breaks (with that); every request has its
// terminal event then. It does not close the runner.
func (e *Engine) Run(ctx context.Context) error { return ErrClosed }

// Submit queues a request. Errors: ErrQueueFull, ErrTooLong, ErrInvalid, ErrDraining, ErrClosed.
func (e *Engine) Submit(req Request) (*Stream, error) { return nil, ErrClosed }

// Abort ends every request of that key and returns how many there were; "" aborts nothing.
func (e *Engine) Abort(key string) int { return 0 }

// AbortAll ends every request and returns how many there were.
func (e *Engine) AbortAll() int { return 0 }

// Flush empties the prefix cache. Errors: ErrBusy while requests run or wait, ErrClosed.
func (e *Engine) Flush() error { return ErrClosed }

// Drain refuses new requests and waits until the others ended. When ctx ends first, it aborts them and returns
// ctx's error.
func (e *Engine) Drain(ctx context.Context) error { return ErrClosed }

// Stats is a cheap snapshot.
func (e *Engine) Stats() Stats { return Stats{} }

// Heartbeat is cheap and never blocks on the loop.
func (e *Engine) Heartbeat() Heartbeat { return Heartbeat{} }

// RetryAfter estimates when a refused request would find room, at least a second.
func (e *Engine) RetryAfter() time.Duration { return time.Second }

// Next blocks until something happened. After the event with Finish it returns io.EOF. When ctx ends it returns
// ctx.Err(), and the request goes on: Cancel ends it.
func (s *Stream) Next(ctx context.Context) (Event, error) { return Event{}, ErrClosed }

// Cancel ends the request with ReasonAbort within one step, unless it has ended. It may be called often.
func (s *Stream) Cancel() {}
