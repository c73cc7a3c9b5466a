package supervise

import "time"

// clock counts the time that the supervisor has really watched. It is told the time at every tick; what lies between
// two ticks counts for at most two ticks' length and never for less than nothing. So a clock that is set, a machine that
// was frozen, or a supervisor that was stopped itself never adds up to a silence of the worker.
type clock struct {
	tick    time.Duration
	last    time.Time
	elapsed time.Duration
}

// advance returns how much time has passed since the call before.
func (c *clock) advance(now time.Time) time.Duration {
	var d time.Duration
	if !c.last.IsZero() {
		d = min(max(now.Sub(c.last), 0), 2*c.tick)
	}
	c.last = now
	c.elapsed += d
	return d
}
