package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"radish/server/seq"
)

// door is where callers and the loop meet: what callers want lies here until the loop's next turn.
type door struct {
	mu       sync.Mutex
	wake     chan struct{}
	arrivals []*request
	cancels  []*request
	flushes  []chan error
	alive    map[*request]bool // true: to be cancelled
	keys     map[string][]*request
	lastID   seq.ID
	waiting  int // in the scheduler's queue, after the loop's last turn
	free     int // slots, likewise
	draining bool
	closed   bool
	empty    chan struct{} // closed when nothing is alive; made by who waits for it
	counts   RequestStats
}

func (d *door) init(slots int) {
	d.wake = make(chan struct{}, 1)
	d.alive, d.keys, d.free = map[*request]bool{}, map[string][]*request{}, slots
}

func (d *door) ring() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Submit queues a request. Errors: ErrQueueFull, ErrTooLong, ErrInvalid, ErrDraining, ErrClosed.
func (e *Engine) Submit(req Request) (*Stream, error) {
	if err := e.check(req); err != nil {
		return nil, err
	}
	now := time.Now()
	d := &e.door
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.admits(e.cfg.MaxQueued); err != nil {
		d.counts.Refused++
		return nil, fmt.Errorf("submit request: %w", err)
	}
	d.lastID++
	r := e.newRequest(req, d.lastID, now)
	d.arrivals = append(d.arrivals, r)
	d.alive[r] = false
	if r.key != "" {
		d.keys[r.key] = append(d.keys[r.key], r)
	}
	d.counts.Submitted++
	d.ring()
	return &r.stream, nil
}

// Admits says what Submit would say now to any valid request: nil, ErrQueueFull, ErrDraining or ErrClosed. Asking first
// spares an overloaded server the reading of requests that it must refuse; a refusal counts as one.
func (e *Engine) Admits() error {
	d := &e.door
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.admits(e.cfg.MaxQueued); err != nil {
		d.counts.Refused++
		return fmt.Errorf("admit request: %w", err)
	}
	return nil
}

func (d *door) admits(most int) error {
	switch {
	case d.closed:
		return ErrClosed
	case d.draining:
		return ErrDraining
	case len(d.arrivals)+d.waiting >= most+d.free:
		return ErrQueueFull
	}
	return nil
}

func (d *door) cancel(r *request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mark(r)
}

// mark lists r for cancelling unless it is listed or has ended.
func (d *door) mark(r *request) {
	if listed, alive := d.alive[r]; !alive || listed {
		return
	}
	d.alive[r] = true
	d.cancels = append(d.cancels, r)
	d.ring()
}

// Abort ends every request of that key and returns how many there were; "" aborts nothing.
func (e *Engine) Abort(key string) int {
	e.door.mu.Lock()
	defer e.door.mu.Unlock()
	for _, r := range e.door.keys[key] {
		e.door.mark(r)
	}
	return len(e.door.keys[key])
}

// AbortAll ends every request and returns how many there were.
func (e *Engine) AbortAll() int {
	e.door.mu.Lock()
	defer e.door.mu.Unlock()
	for r := range e.door.alive {
		e.door.mark(r)
	}
	return len(e.door.alive)
}

// Flush empties the prefix cache. Errors: ErrBusy while requests run or wait, ErrClosed.
func (e *Engine) Flush() error {
	d := &e.door
	d.mu.Lock()
	err := error(nil)
	switch {
	case d.closed:
		err = ErrClosed
	case len(d.alive) > 0:
		err = ErrBusy
	}
	if err != nil {
		d.mu.Unlock()
		return fmt.Errorf("flush cache: %w", err)
	}
	done := make(chan error, 1)
	d.flushes = append(d.flushes, done)
	d.ring()
	d.mu.Unlock()
	return <-done
}

// refuseFlushes answers the flushes that wait.
func (d *door) refuseFlushes(why error) {
	for _, done := range d.flushes {
		done <- fmt.Errorf("flush cache: %w", why)
	}
	d.flushes = nil
}

// Drain refuses new requests and waits until the others ended. When ctx ends first, it aborts them and returns
// ctx's error.
func (e *Engine) Drain(ctx context.Context) error {
	d := &e.door
	d.mu.Lock()
	d.draining = true
	if len(d.alive) == 0 {
		d.mu.Unlock()
		return nil
	}
	if d.empty == nil {
		d.empty = make(chan struct{})
	}
	empty := d.empty
	d.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	e.AbortAll()
	<-empty
	return fmt.Errorf("drain engine: %w", ctx.Err())
}

// ended forgets r and counts its end.
func (d *door) ended(r *request, why Reason) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.alive, r)
	if k := d.keys[r.key]; len(k) <= 1 {
		delete(d.keys, r.key)
	} else {
		d.keys[r.key] = slices.DeleteFunc(k, func(x *request) bool { return x == r })
	}
	switch why {
	case ReasonStop:
		d.counts.Stopped++
	case ReasonLength:
		d.counts.Length++
	case ReasonAbort:
		d.counts.Aborted++
	default:
		d.counts.Failed++
	}
	if len(d.alive) == 0 && d.empty != nil {
		close(d.empty)
		d.empty = nil
	}
}
