package supervise

import (
	"fmt"
	"time"
)

// health is the watchdog's judgement.
type health int

const (
	fine    health = iota
	suspect        // something is wrong and may pass
	wedged         // nothing will come of waiting
)

// watch tells a busy worker from a wedged one. It is given reports, evidence from /proc and the time that passed, and
// holds no clock of its own:
//
//	not ready   no progress of any kind (reports, output, bytes read, CPU) for LoadStall
//	ready       no report for Silence: the process is stopped or hangs as a whole
//	ready       work, reports, and no step for Stall; while CPU is burned, time counts a quarter, because one step of a
//	            large model on a CPU may take minutes
//
// An idle worker is never suspected while it reports.
type watch struct {
	policy   Policy
	ready    bool
	steps    uint64
	busy     bool
	quiet    time.Duration // without a report
	stuck    time.Duration // busy without a step
	idleLoad time.Duration // without progress before ready
	last     Report
}

// report takes in what the worker says.
func (w *watch) report(r Report) {
	w.quiet = 0
	if r.Phase != w.last.Phase || r.Done != w.last.Done || r.Note != w.last.Note {
		w.idleLoad = 0
	}
	w.last = r
	if r.Figures == nil {
		return
	}
	if r.Figures.Steps != w.steps || !r.Figures.Busy {
		w.stuck = 0
	}
	w.steps, w.busy = r.Figures.Steps, r.Figures.Busy
}

// evidence is what can be seen of a process from outside.
type evidence struct {
	progress bool // it wrote, read or computed
	cpu      bool // it computed
}

// pass lets time go by.
func (w *watch) pass(d time.Duration, e evidence) {
	w.quiet += d
	w.idleLoad += d
	if e.progress {
		w.idleLoad = 0
	}
	switch {
	case !w.busy:
		w.stuck = 0
	case e.cpu:
		w.stuck += d / 4
	default:
		w.stuck += d
	}
}

// judge says how the worker is, and why if it is not fine.
func (w *watch) judge() (health, string) {
	p := w.policy
	if !w.ready {
		if w.idleLoad >= p.LoadStall {
			return wedged, fmt.Sprintf("no progress for %s before it was ready", p.LoadStall)
		}
		return fine, ""
	}
	switch {
	case w.quiet >= p.Silence:
		return wedged, fmt.Sprintf("no sign of life for %s", p.Silence)
	case w.stuck >= p.Stall:
		return wedged, fmt.Sprintf("requests are waiting and no step was made for %s", p.Stall)
	case w.quiet >= p.Silence/4:
		return suspect, "it is silent"
	case w.stuck >= p.Stall/4:
		return suspect, "requests are waiting and no step is made"
	}
	return fine, ""
}

// witness samples /proc for evidence, not more often than every period of watched time.
type witness struct {
	period time.Duration
	since  time.Duration
	cpu    uint64
	read   uint64
	wrote  int64
	last   evidence
}

// look returns the evidence of the last full period. wrote is how many bytes of output have come so far.
func (w *witness) look(pid int, d time.Duration, wrote int64) evidence {
	if w.since += d; w.since < w.period {
		return w.last
	}
	st, err := readStat(pid)
	if err != nil {
		return w.last
	}
	read := BytesRead(pid)
	// A twentieth of a processor: reporting alone, which a deadlocked worker may go on with, takes far less.
	burned := (st.cpu-w.cpu)*20 >= uint64(w.since.Seconds()*ticksPerSecond) && st.cpu > w.cpu
	w.last = evidence{cpu: burned, progress: burned || wrote != w.wrote || read-w.read >= 64<<10}
	w.since, w.cpu, w.read, w.wrote = 0, st.cpu, read, wrote
	return w.last
}
