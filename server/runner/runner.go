// Package runner is the device side of the engine: it implements engine.Runner over any kernels.Backend.
//
// A Runner owns the packed weights, the paged key-value memory, the workspace of one step and the sampling state of
// every slot. All of it belongs to one goroutine, locked to its thread, which the constructor starts:
//
//	Launch(batch) --steps--> worker: copy pages, forward, sample, submit --frames--> lander: wait, answer --results--> Collect()
//
// so Launch never waits for the device. On a kernels.Pipeline the worker submits a step while the one before it still
// runs, and the device finds its next work queued; a row without tokens finds its token in the slot's place of a device
// tensor, where the step before left it. Penalties are the exception: they hang on the tokens themselves, so a step with
// one waits until the steps before it have landed.
//
// A step scores and samples through slices of Workspace.LogitRows rows: the final norm and the output head run on the rows
// that somebody asked for, and a scored prompt of any length never needs more logits than that.
//
// What is drawn for a position depends on the sequence's seed and that position alone (see uniform), and backends keep
// rows independent; so the same request gives the same tokens in any batch, chunking or cache state.
package runner

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"radish/kernels"
	"radish/server/model"
	"radish/server/seq"
	"radish/server/weights"
)

// MaxInFlight is the most steps launched and not collected.
const MaxInFlight = 2

// Errors of the calling order.
var (
	ErrInFlight = errors.New("too many steps in flight")
	ErrIdle     = errors.New("no step in flight")
	ErrClosed   = errors.New("runner is closed")
)

// Options say what to run and how much memory to reserve.
type Options struct {
	Open        func() (kernels.Backend, error) // called on the worker's thread; the runner closes what it returns
	Spec        *model.Spec
	Source      weights.Source // read during New only; the caller closes it
	Pages       int            // pages of the pool, >= 1
	PageSize    int            // positions of a page, >= 1
	MaxSeqs     int            // slots, >= 1
	ChunkTokens int            // most prefill tokens of a step; a step has room for ChunkTokens+MaxSeqs rows
	LogitRows   int            // rows whose logits exist at one time; 0: model.LogitRows
}

// Memory is what was really allocated, in bytes.
type Memory struct{ Weights, KV, Workspace int64 }

// Total is the sum.
func (m Memory) Total() int64 { return m.Weights + m.KV + m.Workspace }

// Runner implements engine.Runner. Launch, Collect and Close may be called from different goroutines.
type Runner struct {
	steps   chan *seq.Batch
	results chan outcome
	flying  atomic.Int32
	stopped chan struct{} // closed when the worker has ended
	mu      sync.Mutex    // guards closed, and steps against being closed during a send
	closed  bool
	backend kernels.Backend // the worker's; for what may be asked from anywhere
	memory  Memory
	err     error // of closing the backend; read after stopped
}

// outcome is what Collect returns.
type outcome struct {
	result *seq.Result
	err    error
}

// New loads the model, reserves everything that steps will need, and starts the worker. The backend is closed when it
// fails.
func New(o Options) (*Runner, error) {
	r := &Runner{
		steps:   make(chan *seq.Batch, MaxInFlight),
		results: make(chan outcome, MaxInFlight),
		stopped: make(chan struct{}),
	}
	ready := make(chan error)
	go r.work(o, ready)
	if err := <-ready; err != nil {
		return nil, err
	}
	return r, nil
}

// Name describes the backend.
func (r *Runner) Name() string { return r.backend.Name() }

// Clock is how long the device worked and waited between steps since the last call, where the backend measures it.
func (r *Runner) Clock() (busy, idle time.Duration) {
	if c, ok := r.backend.(kernels.Clocked); ok {
		return c.Clock()
	}
	return 0, 0
}

// Memory is what New allocated.
func (r *Runner) Memory() Memory { return r.memory }

// Launch queues a step. The batch must not change until the step is collected.
func (r *Runner) Launch(b *seq.Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fmt.Errorf("launch step %d: %w", b.Step, ErrClosed)
	}
	if r.flying.Add(1) > MaxInFlight {
		r.flying.Add(-1)
		return fmt.Errorf("launch step %d: %w", b.Step, ErrInFlight)
	}
	r.steps <- b // has room: it holds MaxInFlight
	return nil
}

// Collect waits for the oldest step. An error, which may be a panic inside the step, is final: every later step ends
// with it as well.
func (r *Runner) Collect() (*seq.Result, error) {
	if r.flying.Load() == 0 {
		return nil, fmt.Errorf("collect step: %w", ErrIdle)
	}
	out := <-r.results
	r.flying.Add(-1)
	return out.result, out.err
}

// Close waits for the launched steps and frees the device. It may be called again.
func (r *Runner) Close() error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.steps)
	}
	r.mu.Unlock()
	<-r.stopped
	return r.err
}

// work is the worker goroutine. It keeps its thread, because a device's context may belong to the thread.
func (r *Runner) work(o Options, ready chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(r.stopped)
	b, err := o.Open()
	if err != nil {
		ready <- err
		return
	}
	w, err := newWorker(b, o)
	if err != nil {
		ready <- errors.Join(err, b.Close())
		return
	}
	r.memory, r.backend = w.memory(), b
	frames := make(chan *frame, MaxInFlight)
	landed := make(chan struct{})
	go func() {
		defer close(landed)
		w.land(frames, r.results)
	}()
	ready <- nil
	for batch := range r.steps {
		frames <- w.launch(batch)
	}
	close(frames)
	<-landed
	r.err = b.Close()
}
