package supervise

import (
	"fmt"
	"slices"
	"syscall"
	"time"
)

// Exit is one end of a worker that nobody had asked for.
type Exit struct {
	Time   time.Time    `json:"time"`
	Code   int          `json:"code"`             // -1 after a signal
	Signal string       `json:"signal,omitempty"` // that ended it
	Reason string       `json:"reason"`
	Ran    float64      `json:"ran"`   // seconds
	Ready  bool         `json:"ready"` // it had been ready
	Cause  *Explanation `json:"cause,omitempty"`
}

// mostHistory bounds the exits that are told.
const mostHistory = 20

// restarts decides what follows a failure: a pause, or parking. Its times are watched time (see clock).
type restarts struct {
	policy   Policy
	jitter   func() float64 // in [0,1)
	failures []time.Duration
	everUp   bool // ready at least once
	total    int
	history  []Exit
}

// failed notes a failure at the time now, after the worker had been ready for readyFor, and gives the pause before the
// next start, or the reason for parking.
func (r *restarts) failed(now, readyFor time.Duration) (pause time.Duration, park string) {
	p := r.policy
	if readyFor >= p.Reset {
		r.failures = nil
	}
	r.everUp = r.everUp || readyFor > 0
	r.failures = append(r.failures, now)
	r.failures = slices.DeleteFunc(r.failures, func(t time.Duration) bool { return now-t > p.Window })
	n := len(r.failures)
	if !r.everUp && n >= p.NeverReady {
		return 0, fmt.Sprintf("it ended %d times and was never ready", n)
	}
	if n >= p.Failures {
		return 0, fmt.Sprintf("it ended %d times within %s", n, p.Window)
	}
	pause = p.FirstDelay
	for range n - 1 {
		pause = min(2*pause, p.MostDelay)
	}
	return min(time.Duration(float64(pause)*(0.8+0.4*r.jitter())), p.MostDelay), ""
}

// forget is what a person's restart does.
func (r *restarts) forget() { r.failures = nil }

func (r *restarts) note(e Exit) {
	r.history = append(r.history, e)
	if n := len(r.history) - mostHistory; n > 0 {
		r.history = slices.Delete(r.history, 0, n)
	}
}

func (r *restarts) facts(nextIn time.Duration) Restarts {
	return Restarts{Total: r.total, InWindow: len(r.failures), NextIn: max(0, nextIn.Seconds()), History: slices.Clone(r.history)}
}

// ending is how a worker's process ended.
type ending struct {
	code     int
	signal   syscall.Signal // 0: none
	reported bool           // there had been a report
	oomKills int64          // that the kernel counted meanwhile
	ours     string         // why we killed it; "": we did not
}

// verdict says whether to try again, and the reason in words.
func (e ending) verdict(table map[int]Verdict) Verdict {
	const killed = 128 + int(syscall.SIGKILL) // what a shell makes of it
	switch {
	case e.ours != "":
		return Verdict{Retry: true, Reason: "killed by the supervisor: " + e.ours}
	case e.oomKills > 0 && (e.signal == syscall.SIGKILL || e.code == killed):
		return Verdict{Retry: true, Reason: "out of memory: the kernel killed it"}
	case e.signal == syscall.SIGKILL || e.code == killed:
		return Verdict{Retry: true, Reason: "killed with signal 9: by the kernel for memory, or by somebody"}
	case e.signal != 0:
		return Verdict{Retry: true, Reason: fmt.Sprintf("ended by signal %d (%s)", int(e.signal), e.signal)}
	}
	v, ok := table[e.code]
	switch {
	case ok && !(v.Early && e.reported):
		return v
	case e.code == 0:
		return Verdict{Retry: true, Reason: "it ended by itself with status 0"}
	case e.code == 2:
		return Verdict{Retry: true, Reason: "it crashed: exit status 2 after it had begun to work"}
	}
	return Verdict{Retry: true, Reason: fmt.Sprintf("exit status %d", e.code)}
}
