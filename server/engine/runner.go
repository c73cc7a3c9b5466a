package engine

import "radish/server/seq"

// Runner is the device side of the engine: weights, KV memory and sampling state for a number of slots.
//
// It is asynchronous. Launch queues a step and returns at once; Collect waits for the oldest launched step. The engine
// keeps at most two steps launched. A row without tokens continues with the token that its slot sampled last, so step
// n+1 can be launched before step n is collected. Launch reads the batch until the step is collected.
//
// Calls never overlap, but Launch and Collect may come from different goroutines.
//
// An error from Launch or Collect is final: the runner is broken and every running sequence ends with it.
type Runner interface {
	Launch(b *seq.Batch) error
	Collect() (*seq.Result, error)
	Close() error
}
