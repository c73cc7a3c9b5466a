package runner

import (
	"errors"
	"fmt"
	"time"

	"radish/kernels"
	"radish/server/seq"
)

// errBroken is what a step ends with after one before it failed.
var errBroken = errors.New("an earlier step failed")

// frame is one step from its launch to the counting of its tokens.
type frame struct {
	batch  *seq.Batch
	asks   asks
	began  time.Time
	flight kernels.Flight // nil when the launch failed
	err    error
	landed chan struct{} // closed when asks.out is filled
}

// launch builds a step and submits it. What went wrong, a panic included, is in the frame.
func (w *worker) launch(b *seq.Batch) (f *frame) {
	f = &w.frames[w.next]
	w.next = (w.next + 1) % len(w.frames)
	w.count(w.penalised(b))
	f.batch, f.began, f.flight, f.err, f.landed = b, time.Now(), nil, nil, make(chan struct{})
	defer func() {
		if p := recover(); p != nil {
			f.err = fmt.Errorf("run step %d: panic: %v", b.Step, p)
		}
		if f.err != nil {
			w.broken.Store(true)
		}
	}()
	if w.broken.Load() {
		f.err = fmt.Errorf("run step %d: %w", b.Step, errBroken)
		return f
	}
	if err := w.submit(f); err != nil {
		f.err = fmt.Errorf("run step %d: %w", b.Step, err)
		return f
	}
	w.behind = append(w.behind, f)
	return f
}

// submit queues one batch from its page copies to its choices and hands it to the device.
func (w *worker) submit(f *frame) (err error) {
	if err := w.check(f.batch); err != nil {
		return err
	}
	w.copyPages(f.batch.Copies)
	f.asks.clear()
	if len(f.batch.Rows) > 0 {
		w.layOut(f.batch)
		w.forward()
		w.ask(f)
		w.score(&f.asks)
	}
	if p, ok := w.b.(kernels.Pipeline); ok {
		f.flight, err = p.Submit()
		return err
	}
	f.flight = done{}
	return w.b.Run()
}

// done is the flight of a backend that has no other way than to run a step to its end.
type done struct{}

func (done) Wait() error { return nil }

// penalised reports whether a row of the batch is chosen by the tokens before it.
func (w *worker) penalised(b *seq.Batch) bool {
	for i := range b.Rows {
		row := &b.Rows[i]
		if row.Fresh != nil && penalised(&row.Fresh.Params) {
			return true
		}
		if row.Slot >= 0 && row.Slot < len(w.slots) && penalised(&w.slots[row.Slot].params) {
			return true
		}
	}
	return false
}

// count takes the tokens of the steps that have landed into the slots' counts, and with wait set of all steps. A slot
// may serve another sequence by then; that is no harm, since a step that begins a penalised one waits first and one
// without penalties counts nothing.
func (w *worker) count(wait bool) {
	for len(w.behind) > 0 {
		f := w.behind[0]
		if wait {
			<-f.landed
		}
		select {
		case <-f.landed:
		default:
			return
		}
		for i, slot := range f.asks.slots {
			if slot >= 0 && penalised(&w.slots[slot].params) {
				w.slots[slot].count(seq.Token(f.asks.out[i].Token), false)
			}
		}
		w.behind = append(w.behind[:0], w.behind[1:]...)
	}
}

// land waits for the frames in their order and says what they made. Once one failed, all later ones do.
func (w *worker) land(frames <-chan *frame, results chan<- outcome) {
	var broken error
	last := time.Now()
	for f := range frames {
		var result *seq.Result
		err := f.err
		if err == nil {
			result, err = w.arrive(f, last)
		}
		last = time.Now()
		if err != nil {
			w.broken.Store(true)
		}
		if broken == nil {
			broken = err
		}
		close(f.landed)
		if broken != nil {
			result = nil
		}
		results <- outcome{result, broken}
	}
}

// arrive waits for one frame; last is when the one before it landed, which is when the device began with this one if it
// was queued by then.
func (w *worker) arrive(f *frame, last time.Time) (result *seq.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			result, err = nil, fmt.Errorf("run step %d: panic: %v", f.batch.Step, p)
		}
	}()
	if err := f.flight.Wait(); err != nil {
		return nil, fmt.Errorf("run step %d: %w", f.batch.Step, err)
	}
	began := f.began
	if last.After(began) {
		began = last
	}
	return &seq.Result{Step: f.batch.Step, Outputs: f.answer(), Device: time.Since(began)}, nil
}
