package bench

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// load runs one repeat of one level.
type load struct {
	opts  *Options
	asker *asker
	start time.Time
	users int     // 0: open loop
	rate  float64 // open loop
	level int
	nth   int // the repeat
	base  int // the first session's number

	mu       sync.Mutex
	warm     int // closed loop: users whose first request has ended
	measured int
	sessions int
	window   window
	tally    *tally
}

// window is the steady part, seconds since the start. What has not happened yet is at +Inf.
type window struct{ opened, closed float64 }

func (w window) isOpen() bool   { return !math.IsInf(w.opened, 1) }
func (w window) isClosed() bool { return !math.IsInf(w.closed, 1) }

// sessionsPerLoad keeps conversations apart, so that no level or repeat finds the cache filled by another.
const sessionsPerLoad = 4 * MaxRequests

func newLoad(r *run, level, repeat int) *load {
	l := &load{
		opts: r.opts, asker: r.asker, start: time.Now(), level: level, nth: repeat, tally: newTally(),
		base: (repeat*len(r.levels) + level) * sessionsPerLoad, window: window{math.Inf(1), math.Inf(1)},
	}
	if len(r.opts.Users) > 0 {
		l.users = r.opts.Users[level]
	} else {
		l.rate = r.opts.Rates[level]
	}
	return l
}

func (l *load) now() float64 { return time.Since(l.start).Seconds() }

// closed keeps the users busy until the window closes, and waits for the last answers.
func (l *load) closed(ctx context.Context) {
	var wg sync.WaitGroup
	for range l.users {
		wg.Go(func() { l.user(ctx) })
	}
	wg.Wait()
}

func (l *load) user(ctx context.Context) {
	first := true
	for ctx.Err() == nil {
		session, ok := l.nextSession()
		if !ok {
			return
		}
		var messages []message
		for turn, text := range l.opts.Workload.Session(session) {
			r := Request{Level: l.level, Repeat: l.nth, Number: session, Turn: turn}
			if !l.admit(&r, first) {
				return
			}
			messages = append(messages, message{"user", text})
			l.asker.ask(ctx, messages, l.start, &r)
			l.ended(&r, first)
			first = false
			if r.Outcome != Complete {
				l.pause(ctx, r.after)
				break // a conversation does not go on after a failure
			}
			messages = append(messages, message{"assistant", r.text})
		}
	}
}

// pause keeps a dead server from being asked in a tight loop, and obeys Retry-After where that was asked for.
func (l *load) pause(ctx context.Context, after time.Duration) {
	d := 10 * time.Millisecond
	if l.opts.Target.Obey {
		d = max(d, after)
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (l *load) nextSession() (int, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions++
	return l.base + l.sessions - 1, l.sessions <= sessionsPerLoad
}

// admit lets a request be sent, or says that the window has closed. It opens the window once every user is warm.
func (l *load) admit(r *Request, first bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if l.window.isOpen() && !l.window.isClosed() && l.spent(now) {
		l.window.closed = now
	}
	if l.window.isClosed() && !first {
		return false
	}
	if l.window.isOpen() && !first && !l.window.isClosed() {
		r.Measured = true
		l.measured++
	}
	r.Intended = now
	return true
}

func (l *load) spent(now float64) bool {
	o := l.opts
	return (o.Requests > 0 && l.measured >= o.Requests) || (o.Duration > 0 && now-l.window.opened >= o.Duration.Seconds())
}

func (l *load) ended(r *Request, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first {
		l.warm++
		if l.warm == l.users {
			l.window.opened = r.End
		}
	}
	l.keep(r)
}

// keep counts an ended request and lets go of its chunks. Where the window's borders are not known yet, they are later
// than the request's end.
func (l *load) keep(r *Request) {
	if l.opts.Hooks.Observe != nil {
		l.opts.Hooks.Observe(*r)
	}
	l.tally.add(r, l.window, l.opts)
	r.Chunks = nil
}

// arrivals draws the send times, a warm-up of one tenth first, in seconds since the start. They are stretched so that
// the window has exactly the rate that was asked.
func (l *load) arrivals() (at []float64, warm int) {
	o := l.opts
	rng := rand.New(rand.NewPCG(o.Seed+uint64(l.nth), 0x706f6973736f6e+uint64(l.level)))
	t := 0.0
	n := o.Requests
	if n == 0 {
		n = max(2, int(l.rate*o.Duration.Seconds()))
	}
	warm = max(1, n/10)
	for range n + warm {
		t += gamma(rng, o.Burstiness) / (o.Burstiness * l.rate)
		at = append(at, t)
	}
	stretch := float64(n) / l.rate / (at[len(at)-1] - at[warm-1])
	for i := range at {
		at[i] *= stretch
	}
	return at, warm
}

// gamma draws from the gamma distribution of the given shape and scale 1 (Marsaglia and Tsang 2000). Shape 1 is the
// exponential distribution: Poisson arrivals.
func gamma(rng *rand.Rand, shape float64) float64 {
	if shape == 1 {
		return rng.ExpFloat64()
	}
	if shape < 1 {
		return gamma(rng, shape+1) * math.Pow(1-rng.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := (1 + c*x) * (1 + c*x) * (1 + c*x)
		if v > 0 && math.Log(1-rng.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// open sends at the drawn times whatever the server does, and waits for the answers.
func (l *load) open(ctx context.Context) {
	at, warm := l.arrivals()
	l.window = window{at[warm-1], at[len(at)-1]} // n gaps, n requests
	var wg sync.WaitGroup
	for i, t := range at {
		session := l.base + i
		messages := []message{{"user", l.opts.Workload.Session(session)[0]}} // made before its time has come
		select {
		case <-time.After(time.Until(l.start.Add(time.Duration(t * 1e9)))):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			r := Request{Level: l.level, Repeat: l.nth, Number: session, Measured: i >= warm, Intended: t}
			l.asker.ask(ctx, messages, l.start, &r)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.keep(&r)
		})
	}
	wg.Wait()
}
