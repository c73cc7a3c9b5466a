// Package supervise keeps one worker process alive: it starts it in a session of its own, believes it ready when the
// worker proves it, restarts it with growing pauses when it ends, kills it when it is wedged and never when it is only
// busy, parks when a restart cannot help, and stops it so that nothing of it is left. It knows nothing of what the
// worker serves; what it cannot know itself (exit codes, log signatures, the GPU's memory) comes in as Hooks.
//
//	stopped -> starting -> loading -> warming -> ready <-> degraded
//	ready -> draining -> stopping -> stopped
//	any of the running ones -> stopping -> backoff -> starting, or parked
//
// One goroutine owns all of it (see loop.go): ticks, the worker's reports, its end and the control socket's requests
// come to it as messages. Time is counted in ticks that are cut when they come late, so that neither a clock that is
// set nor a machine that was frozen makes a healthy worker look silent.
//
// Who is alive is decided by an flock on a local file, never by a number in it. Before any signal to a process that is
// not our child, pid, start time, boot, pid namespace and executable are compared, and the signal goes through a handle
// that cannot come to mean another process.
package supervise

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrRunning     = errors.New("already running")
	ErrNotRunning  = errors.New("not running")
	ErrEnded       = fmt.Errorf("it has ended just now and is %w", ErrNotRunning)
	ErrParked      = errors.New("parked")
	ErrUnreachable = errors.New("the supervisor does not answer")
	ErrName        = errors.New("not a name for an instance")
	ErrPath        = errors.New("path is too long for a socket")
)

// Config is one instance.
type Config struct {
	Name   string
	Place  Place
	Worker Command
	Policy Policy
	Logs   LogPolicy
	Hooks  Hooks
	Tee    io.Writer // receives the worker's output too, dropping what it is too slow for; nil: nothing does
	// ParkedEnds makes Run return ErrParked instead of waiting for somebody to look: for containers and systemd.
	ParkedEnds bool
	Version    string
}

// Command is what to run. Env is the whole environment; the supervisor adds its own two variables.
type Command struct {
	Path string
	Args []string // with Args[0]
	Env  []string
	Dir  string
}

// Hooks are what the supervisor cannot know itself. Every one may be nil.
type Hooks struct {
	Exits     map[int]Verdict                 // what the worker's exit codes mean; others are retried
	Explain   func(log []byte) *Explanation   // names the cause in the log of one run
	OOMKills  func() (int64, bool)            // the kernel's count of kills for memory, where it can be read
	GPUMemory func() (bytes int64, err error) // in use, on all cards
	Mask      func(line string) string        // takes secrets out of a line before it is kept
	Notify    func(state string)              // the service manager's socket, see Notifier
	Now       func() time.Time                // nil: time.Now
}

// Verdict is what an exit code of the worker means.
type Verdict struct {
	Retry  bool
	Reason string
	// Early limits the row to runs that ended before the worker's first report: Go ends a crashed program with the code
	// that many programs give to a mistake on the command line.
	Early bool
}

// Explanation is the cause that a log shows.
type Explanation struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Text  string `json:"text"`            // for a person, several lines
	Parks bool   `json:"parks,omitempty"` // a restart cannot help
}

// Policy holds every time and count. Zero fields get the defaults below.
type Policy struct {
	Tick       time.Duration // how often the supervisor looks; 500 ms
	FirstDelay time.Duration // pause before the first restart, doubled each time, +-20 %; 1 s
	MostDelay  time.Duration // longest pause; 60 s
	Reset      time.Duration // ready for that long makes earlier failures forgotten; 10 min
	Window     time.Duration // in which failures count towards parking; 10 min
	Failures   int           // that park; 5
	NeverReady int           // failures that park an instance which was never ready; 3
	LoadStall  time.Duration // without any progress before the worker is ready; 300 s
	Silence    time.Duration // without a report from a worker that was ready; 60 s
	Stall      time.Duration // with work and without a step; 300 s (a step that burns CPU: four times that)
	Drain      time.Duration // from SIGTERM to SIGKILL; 40 s
	Dump       time.Duration // from SIGQUIT, for a stack dump, to SIGKILL; 5 s
	Sweep      time.Duration // for what is left of a worker to go, after SIGKILL; 10 s
	GPU        time.Duration // for the GPU's memory to come back; 15 s
	GPUSlack   int64         // bytes over the baseline that count as back; 300 MiB
}

// withDefaults fills the zero fields.
func (p Policy) withDefaults() Policy {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&p.Tick, 500 * time.Millisecond}, {&p.FirstDelay, time.Second}, {&p.MostDelay, time.Minute},
		{&p.Reset, 10 * time.Minute}, {&p.Window, 10 * time.Minute}, {&p.LoadStall, 300 * time.Second},
		{&p.Silence, time.Minute}, {&p.Stall, 300 * time.Second}, {&p.Drain, 40 * time.Second},
		{&p.Dump, 5 * time.Second}, {&p.Sweep, 10 * time.Second}, {&p.GPU, 15 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if p.Failures == 0 {
		p.Failures = 5
	}
	if p.NeverReady == 0 {
		p.NeverReady = 3
	}
	if p.GPUSlack == 0 {
		p.GPUSlack = 300 << 20
	}
	return p
}

// withDefaults fills the hooks that have a neutral answer.
func (h Hooks) withDefaults() Hooks {
	if h.Explain == nil {
		h.Explain = func([]byte) *Explanation { return nil }
	}
	if h.OOMKills == nil {
		h.OOMKills = func() (int64, bool) { return 0, false }
	}
	if h.Mask == nil {
		h.Mask = func(s string) string { return s }
	}
	if h.Notify == nil {
		h.Notify = func(string) {}
	}
	if h.Now == nil {
		h.Now = time.Now
	}
	return h
}

func (c *Config) check() error {
	if c.Worker.Path == "" || len(c.Worker.Args) == 0 {
		return errors.New("start worker: nothing to run")
	}
	if !validName(c.Name) {
		return fmt.Errorf("%q: %w", c.Name, ErrName)
	}
	return nil
}
