package cuda

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"radish/kernels/cuda/driver"
)

// clock measures with events on the device how long submissions take and how long the device waits between two of them.
// It is off unless Options.Clock asks for it.
type clock struct {
	on         bool
	marks      [stageCount + 1]mark
	mu         sync.Mutex // guards the sums: flights may be waited for on any goroutine
	last       uint64     // the submission measured last
	busy, idle time.Duration
}

// mark is the begin and end of one submission; the ring is one longer than the flights that can be in the air, so that
// the end of the one before is still there when a flight is measured.
type mark struct{ begin, end *driver.Event }

func (c *clock) open(on bool) (err error) {
	if c.on = on; !on {
		return nil
	}
	for i := range c.marks {
		if c.marks[i].begin, err = driver.NewEvent(true); err != nil {
			return err
		}
		if c.marks[i].end, err = driver.NewEvent(true); err != nil {
			return err
		}
	}
	return nil
}

func (c *clock) close() error {
	var errs []error
	for _, m := range c.marks {
		for _, e := range []*driver.Event{m.begin, m.end} {
			if e != nil {
				errs = append(errs, e.Close())
			}
		}
	}
	return errors.Join(errs...)
}

func (c *clock) at(number uint64) mark { return c.marks[number%uint64(len(c.marks))] }

// count adds a finished flight.
func (b *Backend) count(number uint64) error {
	c := &b.clock
	if !c.on {
		return nil
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := b.context.Use(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now, before := c.at(number), c.at(number-1)
	took, err := now.end.Since(now.begin)
	if err != nil {
		return err
	}
	c.busy += took
	if c.last == number-1 && c.last > 0 {
		waited, err := now.begin.Since(before.end)
		if err != nil {
			return err
		}
		c.idle += max(0, waited)
	}
	c.last = number
	return nil
}

// Clock is how long the device worked on submissions, and how long it waited between two that followed each other, since
// the last call. Both are zero without Options.Clock.
func (b *Backend) Clock() (busy, idle time.Duration) {
	c := &b.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	busy, idle = c.busy, c.idle
	c.busy, c.idle, c.last = 0, 0, 0
	return busy, idle
}
