package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"radish/server/seq"
)

// grace is how long Run waits for launched steps after its context ended.
const grace = 10 * time.Second

var errStranded = errors.New("no room can be made for the sequence")

// Run is the loop. It returns when ctx ends (with its error) or the runner breaks (with that); every request has its
// terminal event then. It does not close the runner. An engine runs once.
func (e *Engine) Run(ctx context.Context) (err error) {
	go e.collector()
	defer close(e.ask)
	fin := Finish{Reason: ReasonAbort}
	defer func() {
		e.shut(fin)
		e.mirror.snapshot(e)
	}()
	if err = e.loop(ctx); ctx.Err() == nil {
		fin = Finish{Reason: ReasonError, Err: err}
		return err
	}
	e.shut(fin)
	if late := e.runOut(); late != nil {
		return late
	}
	return fmt.Errorf("run engine: %w", ctx.Err())
}

// loop returns when ctx ends or with what broke.
func (e *Engine) loop(ctx context.Context) (err error) {
	defer contain(&err, "run loop")
	for ctx.Err() == nil {
		e.turn()
		if err := e.advance(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-e.door.wake:
		case c := <-e.got:
			e.collecting = false
			if err := e.read(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// contain turns a panic into an error.
func contain(err *error, doing string) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s: panic: %v", doing, p)
	}
}

// turn takes what lies at the door.
func (e *Engine) turn() {
	d := &e.door
	d.mu.Lock()
	arrivals, cancels := d.arrivals, d.cancels
	d.arrivals, d.cancels = nil, nil
	if len(d.alive) > 0 {
		d.refuseFlushes(ErrBusy) // a request overtook them
	}
	d.waiting = e.sched.Waiting() + len(arrivals)
	d.free = e.cfg.MaxSeqs - e.sched.RunningCount()
	d.mu.Unlock()
	for _, r := range arrivals {
		e.checked = false
		e.live[r.task.ID] = r
		if err := e.sched.Add(&r.task); err != nil {
			delete(e.live, r.task.ID)
			e.say(r, Finish{Reason: ReasonError, Err: err})
		}
	}
	for _, r := range cancels {
		if !r.task.Ended() {
			e.end(r, Finish{Reason: ReasonAbort})
		}
	}
}

// advance launches what can be launched and asks for the oldest step's result. When nothing is launched after that,
// there is nothing to do.
func (e *Engine) advance() error {
	if e.collecting {
		return nil
	}
	for {
		for e.sched.Launched() < 2 {
			ok, err := e.launch()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
		}
		if e.sched.Launched() > 0 {
			e.collecting = true
			e.ask <- struct{}{}
			return nil
		}
		t := e.sched.Stuck()
		if t == nil {
			return e.rest()
		}
		e.end(e.live[t.ID], Finish{Reason: ReasonError, Err: errStranded})
	}
}

// launch builds a step and queues it on the runner.
func (e *Engine) launch() (ok bool, err error) {
	defer contain(&err, "launch step")
	b := &e.batches[0]
	if old := e.sched.Oldest(); old != nil && b.Step == old.Number {
		b = &e.batches[1]
	}
	if !e.sched.Next(b) {
		return false, nil
	}
	e.noteAdmissions(b)
	e.tally.launched(e.sched.Launched())
	e.mirror.launched(e)
	if err := e.runner.Launch(b); err != nil {
		return false, fmt.Errorf("launch step: %w", err)
	}
	return true, nil
}

// noteAdmissions writes down when requests left the queue for the first time.
func (e *Engine) noteAdmissions(b *seq.Batch) {
	for i := range b.Rows {
		if row := &b.Rows[i]; row.Fresh != nil && len(row.Fresh.History) == row.Fresh.Prompt {
			if r := e.live[row.ID]; r.admitted.IsZero() {
				r.admitted = time.Now()
			}
		}
	}
}

// rest is reached when nothing is left to do: flushes are served and every page is accounted for.
func (e *Engine) rest() error {
	d := &e.door
	d.mu.Lock()
	flushes := d.flushes
	d.flushes = nil
	d.waiting, d.free = len(d.arrivals), e.cfg.MaxSeqs
	d.mu.Unlock()
	if len(flushes) > 0 {
		e.sched.Flush()
		e.checked = false
	}
	if !e.checked {
		if err := e.sched.Check(); err != nil {
			return err
		}
		e.checked = true
	}
	e.tally.rest()
	e.mirror.snapshot(e)
	for _, done := range flushes {
		done <- nil
	}
	return nil
}

// collector waits for steps, one at a time, when asked.
func (e *Engine) collector() {
	for range e.ask {
		e.got <- e.collect()
	}
}

func (e *Engine) collect() (c collected) {
	defer contain(&c.err, "collect step")
	c.res, c.err = e.runner.Collect()
	return c
}

// shut closes the door and ends every request that is alive.
func (e *Engine) shut(fin Finish) {
	d := &e.door
	d.mu.Lock()
	d.closed = true
	arrivals := d.arrivals
	d.arrivals, d.cancels = nil, nil
	d.refuseFlushes(ErrClosed)
	d.mu.Unlock()
	for _, r := range e.live {
		if fin.Reason == ReasonError { // the scheduler may be what broke: leave it alone
			delete(e.live, r.task.ID)
			e.say(r, fin)
			continue
		}
		e.end(r, fin)
	}
	for _, r := range arrivals {
		e.say(r, fin)
	}
}

// runOut waits for the launched steps, so that the runner can be closed and every page is back.
func (e *Engine) runOut() (err error) {
	defer contain(&err, "stop engine")
	late := time.NewTimer(grace)
	defer late.Stop()
	for e.sched.Launched() > 0 {
		if !e.collecting {
			e.collecting = true
			e.ask <- struct{}{}
		}
		select {
		case c := <-e.got:
			e.collecting = false
			if err := e.read(c); err != nil {
				return err
			}
		case <-late.C:
			return fmt.Errorf("stop engine: %w", ErrStuck)
		}
	}
	return e.sched.Check()
}

// end ends r: in the scheduler, then for the caller.
func (e *Engine) end(r *request, fin Finish) {
	delete(e.live, r.task.ID)
	e.sched.Finish(&r.task)
	e.say(r, fin)
}

// say tells everyone that r ended.
func (e *Engine) say(r *request, fin Finish) {
	e.tally.ended(time.Now())
	r.stream.finish(fin, r.task.Cached)
	if e.obs != nil {
		e.obs.Done(r.info(fin.Reason, time.Now()))
	}
	e.door.ended(r, fin.Reason)
}

func (r *request) info(why Reason, now time.Time) RequestInfo {
	info := RequestInfo{Key: r.key, Reason: why, Prompt: r.task.Prompt, Cached: r.task.Cached,
		Output: r.task.Generated(), Retracts: r.task.Retracts, Queue: now.Sub(r.task.Arrived),
		E2E: now.Sub(r.task.Arrived), ITL: r.itl}
	if !r.admitted.IsZero() {
		info.Queue = r.admitted.Sub(r.task.Arrived)
	}
	if !r.first.IsZero() {
		info.TTFT = r.first.Sub(r.task.Arrived)
	}
	return info
}
