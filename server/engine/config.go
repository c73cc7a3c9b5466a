package engine

import (
	"errors"

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

func (c Config) sched() sched.Config {
	return sched.Config{Pages: c.Pages, PageSize: c.PageSize, MaxSeqs: c.MaxSeqs, ChunkTokens: c.ChunkTokens,
		MaxPrefillTokens: c.MaxPrefillTokens, ContextLength: c.ContextLength, Policy: c.Policy,
		Conservativeness: c.Conservativeness, Seed: c.Seed, DisableRadix: c.DisableRadix}
}

// MaxStepTokens bounds the positions of one batch, for sizing the runner's activations.
func (c Config) MaxStepTokens() int { return c.sched().MaxStepTokens() }
