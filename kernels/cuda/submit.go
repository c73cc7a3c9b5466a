package cuda

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"radish/kernels"
	"radish/kernels/cuda/driver"
)

// flight is a submitted command list.
type flight struct {
	b      *Backend
	number uint64
	after  []func()
}

// Run submits what is queued and waits for it.
func (b *Backend) Run() error {
	f, err := b.Submit()
	if err != nil {
		return err
	}
	return f.Wait()
}

// flagArgs is the parameter of kernel mark in rows.cu.
type flagArgs struct{ flag, number uint64 }

// Submit hands the queued operations to the device and returns. Up to stageCount-1 flights may be in the air; one more
// waits for the oldest.
func (b *Backend) Submit() (kernels.Flight, error) {
	l := &b.list
	l.number++
	s := &l.stages[l.stage]
	s.number = l.number
	f := &flight{b: b, number: l.number, after: l.after}
	err := errors.Join(l.err, b.mem.land(), b.send(s))
	l.head, l.body, l.tail, l.params = l.head[:0], l.body[:0], l.tail[:0], l.params[:0]
	l.plain, l.after, l.err = false, nil, nil
	b.step.placed = false
	if err != nil {
		return nil, fmt.Errorf("submit step: %w", named(err))
	}
	return f, b.nextStage()
}

// send is what Submit does on the stream: the tables as one copy, uploads, kernels (as a graph when they were seen
// before), results, and the flag.
func (b *Backend) send(s *stage) error {
	l := &b.list
	if s.arenaUsed > 0 {
		l.head = append(l.head, driver.Op{Kind: driver.ToDevice, Dst: uint64(l.arena), Src: address(s.arena), Bytes: uint64(s.arenaUsed)})
	}
	if b.clock.on {
		l.head = append(l.head, b.clock.at(l.number).begin.Op())
		l.head[0], l.head[len(l.head)-1] = l.head[len(l.head)-1], l.head[0] // the order of the copies is free
		l.tail = append(l.tail, b.clock.at(l.number).end.Op())
	}
	if err := b.stream.Exec(l.head, nil); err != nil {
		return err
	}
	if g := b.graphs.find(b); g != nil {
		if err := b.stream.Launch(g); err != nil {
			return err
		}
	} else if err := b.stream.Exec(l.body, l.params); err != nil {
		return err
	}
	l.body, l.params = l.body[:0], l.params[:0]
	launch(b, "mark", grid{x: 1, threads: 1}, flagArgs{address(l.flagMem), l.number})
	return b.stream.Exec(append(l.tail, l.body...), l.params)
}

// flush runs what is queued so far, because the next operation needs the tables for itself.
func (b *Backend) flush() {
	f, err := b.Submit()
	if err == nil {
		err = f.Wait()
	}
	b.list.err = err
}

// nextStage takes the next stage and waits until its last user is done.
func (b *Backend) nextStage() error {
	l := &b.list
	l.stage = (l.stage + 1) % stageCount
	s := &l.stages[l.stage]
	if err := b.await(s.number); err != nil {
		return err
	}
	for _, m := range s.spill {
		if err := driver.HostFree(m); err != nil {
			return err
		}
	}
	s.used, s.arenaUsed, s.spill = 0, 0, nil
	return nil
}

// Wait returns when the flight's operations have ended, with the first error. Results that the host asked for are valid
// afterwards.
func (f *flight) Wait() error {
	if err := f.b.await(f.number); err != nil {
		return fmt.Errorf("wait for step: %w", named(err))
	}
	if err := f.b.count(f.number); err != nil {
		return fmt.Errorf("time step: %w", named(err))
	}
	for _, do := range f.after {
		do()
	}
	f.after = nil
	return nil
}

const (
	spin = 60 * time.Microsecond // a wait polls this long without pause: a small model's step ends within it
	ask  = 20 * time.Millisecond // a device that failed raises no flag, so the driver is asked now and then
)

// await polls the flag that the last kernel of a submission raises: it spins shortly, then sleeps in short naps.
func (b *Backend) await(number uint64) error {
	began := time.Now()
	asked := began
	for atomic.LoadUint64(b.list.flag) < number {
		now := time.Now()
		if now.Sub(began) < spin {
			runtime.Gosched()
			continue
		}
		if now.Sub(asked) > ask {
			asked = now
			if err := b.failed(); err != nil {
				return err
			}
		}
		doze()
	}
	return nil
}

// doze gives the processor away for some 70 microseconds. time.Sleep would do it for a millisecond: Go's poller rounds up
// to that when nothing else runs.
func doze() {
	t := syscall.NsecToTimespec(20_000)
	syscall.Nanosleep(&t, nil) // a signal ends it early, which is as good
}

// failed asks the driver whether the stream's work has run into an error. Any goroutine may ask.
func (b *Backend) failed() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := b.context.Use(); err != nil {
		return err
	}
	return b.stream.Failed()
}
