package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"radish/server/sched"
	"radish/server/seq"
)

// Stats is a snapshot of the engine.
type Stats struct {
	Running, Queued int
	Pages           PageStats
	Tokens          TokenStats
	Requests        RequestStats
	Sched           sched.Stats
	Steps           uint64
	Draining        bool
	GenThroughput   float64 // sampled tokens per second over the last second or so; 0 when idle
	InThroughput    float64 // computed prompt tokens per second, likewise
}

// PageStats counts pages of the KV pool: Total = Free + Cached + Held. Held pages are those of running sequences,
// whether or not the prefix cache has them too; Cached ones belong to the prefix cache alone and can be evicted.
type PageStats struct{ Size, Total, Free, Cached, Held int }

// Usage is the part of the pool that running sequences hold, 0 to 1 (SGLang's "token usage").
func (p PageStats) Usage() float64 {
	if p.Total == 0 {
		return 0
	}
	return float64(p.Held) / float64(p.Total)
}

// TokenStats are totals since the start.
type TokenStats struct {
	Prompt    uint64 // of first admissions, cached ones included
	Cached    uint64 // of those, taken from the prefix cache
	Computed  uint64 // prefill positions computed, recomputation after retractions included
	Generated uint64 // delivered in events
	Wasted    uint64 // sampled and dropped, because the request had ended meanwhile
}

// RequestStats are totals since the start. Submitted = Stopped + Length + Aborted + Failed + those alive.
type RequestStats struct{ Submitted, Refused, Stopped, Length, Aborted, Failed uint64 }

// Heartbeat tells a watchdog whether the engine lives.
type Heartbeat struct {
	Last    time.Time     // of the last progress: a step read back, or a turn of the loop that found nothing to do
	Busy    bool          // requests run or wait
	StepAge time.Duration // how long the oldest launched step has been running; 0: none is
}

// Observer is told of steps and ends. It is called from the loop and must not block. What it is given is valid during
// the call only.
type Observer interface {
	Step(StepInfo)
	Done(RequestInfo)
}

// StepInfo describes one step when it was read back.
type StepInfo struct {
	Step          uint64
	NewSeqs       int // sequences admitted in it
	PrefillRows   int
	PrefillTokens int // computed
	CachedTokens  int // prefill tokens that admissions of this step found cached
	DecodeRows    int
	Retracted     int // sequences that lost their pages when it was built
	Running       int
	Queued        int
	QueuedTokens  int // prompt tokens not computed yet, of waiting and running sequences
	Pages         PageStats
	Device        time.Duration // busy time of the device
	Wall          time.Duration // since the step before was read back, or since the launch after idling
}

// RequestInfo describes one request at its end.
type RequestInfo struct {
	Key      string
	Reason   Reason
	Prompt   int // tokens
	Cached   int
	Output   int
	Retracts int
	Queue    time.Duration   // arrival to first admission; to the end if never admitted
	TTFT     time.Duration   // arrival to first token; 0: there was none
	E2E      time.Duration   // arrival to end
	ITL      []time.Duration // between tokens, Output-1 of them
}

// tally is what the loop counts.
type tally struct {
	tokens   TokenStats
	steps    uint64
	mark     time.Time     // when the step before was read, or when the first one was launched
	wall     time.Duration // of the last step
	window   window
	lastEnd  time.Time
	interval time.Duration // between ends of requests, smoothed
}

// window measures throughput over a second or more.
type window struct {
	since   time.Time
	gen, in int
	genRate float64
	inRate  float64
}

// launched starts the clock when a step follows a rest.
func (t *tally) launched(steps int) {
	if steps == 1 {
		t.mark = time.Now()
		if t.window.since.IsZero() {
			t.window.since = t.mark
		}
	}
}

func (t *tally) step(st *sched.Step, res *seq.Result, now time.Time) {
	t.steps++
	t.wall, t.mark = now.Sub(t.mark), now
	w := &t.window
	w.in += st.PrefillTokens
	w.gen += len(res.Outputs)
	if d := now.Sub(w.since).Seconds(); d >= 1 {
		*w = window{since: now, genRate: float64(w.gen) / d, inRate: float64(w.in) / d}
	}
}

func (t *tally) rest() { t.window = window{} }

// ended smooths the time between ends; pauses longer than a minute count as one.
func (t *tally) ended(now time.Time) {
	if !t.lastEnd.IsZero() {
		d := min(now.Sub(t.lastEnd), time.Minute)
		t.interval += (d - t.interval) / 8
	}
	t.lastEnd = now
}

// mirror is what callers see of the loop.
type mirror struct {
	mu       sync.Mutex
	stats    Stats
	interval time.Duration
	last     atomic.Int64 // Unix nanoseconds of the last progress
	oldest   atomic.Int64 // of the launch of the oldest step, 0 when none is launched
	newest   int64        // of the launch of the newest; the loop's own
}

// launched notes when a step was launched.
func (m *mirror) launched(e *Engine) {
	m.newest = time.Now().UnixNano()
	if e.sched.Launched() == 1 {
		m.oldest.Store(m.newest)
	}
}

// snapshot copies the loop's numbers.
func (m *mirror) snapshot(e *Engine) {
	m.last.Store(time.Now().UnixNano())
	if e.sched.Launched() == 0 {
		m.oldest.Store(0)
	} else {
		m.oldest.Store(m.last.Load()) // it begins now: the one before it was just read
	}
	ss := e.sched.Stats()
	tokens := e.tally.tokens
	tokens.Prompt, tokens.Cached, tokens.Computed = ss.Prompt, ss.Cached, ss.Computed
	m.mu.Lock()
	defer m.mu.Unlock()
	m.interval = e.tally.interval
	m.stats = Stats{Running: e.sched.RunningCount(), Queued: e.sched.Waiting(), Pages: e.pages(), Tokens: tokens,
		Sched: ss, Steps: e.tally.steps, GenThroughput: e.tally.window.genRate, InThroughput: e.tally.window.inRate}
}

// Stats is a cheap snapshot.
func (e *Engine) Stats() Stats {
	e.mirror.mu.Lock()
	s := e.mirror.stats
	e.mirror.mu.Unlock()
	e.door.mu.Lock()
	defer e.door.mu.Unlock()
	s.Queued += len(e.door.arrivals)
	s.Requests, s.Draining = e.door.counts, e.door.draining
	return s
}

// Heartbeat is cheap and never blocks on the loop.
func (e *Engine) Heartbeat() Heartbeat {
	h := Heartbeat{Last: time.Unix(0, e.mirror.last.Load())}
	if t := e.mirror.oldest.Load(); t != 0 {
		h.StepAge = time.Since(time.Unix(0, t))
	}
	e.door.mu.Lock()
	defer e.door.mu.Unlock()
	h.Busy = len(e.door.alive) > 0
	return h
}

// RetryAfter estimates when a refused request would find room: as many ends of requests away as there are
// waiting ones, between a second and a minute.
func (e *Engine) RetryAfter() time.Duration {
	e.mirror.mu.Lock()
	interval := e.mirror.interval
	e.mirror.mu.Unlock()
	e.door.mu.Lock()
	defer e.door.mu.Unlock()
	n := max(1, len(e.door.arrivals)+e.door.waiting-e.cfg.MaxQueued+1)
	return min(time.Minute, max(time.Second, time.Duration(n)*interval))
}
