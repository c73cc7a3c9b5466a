package bench

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// load runs one level and keeps what was seen.
type load struct {
	opts   *Options
	asker  *asker
	users  int // 0: open loop
	number int
	start  time.Time

	mu       sync.Mutex
	requests []Request
	warm     int     // closed loop: users whose first request has ended
	opened   float64 // the steady window, seconds since start
	closedAt float64
	isOpen   bool
	isClosed bool
	measured int
	sessions int
}

func (l *load) now() float64 { return time.Since(l.start).Seconds() }

// sessionsPerLevel keeps the conversations of the levels apart, so that no level finds the cache filled by another.
const sessionsPerLevel = 4 * MaxRequests

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
			r := Request{Level: l.number, Number: session, Turn: turn}
			if !l.admit(&r, first) {
				return
			}
			messages = append(messages, message{"user", text})
			l.asker.ask(ctx, messages, l.start, &r)
			l.ended(r, first)
			first = false
			if r.Outcome != Complete {
				l.pause(ctx)
				break // a conversation does not go on after a failure
			}
			messages = append(messages, message{"assistant", r.text})
		}
	}
}

// pause keeps a dead server from being asked in a tight loop.
func (l *load) pause(ctx context.Context) {
	select {
	case <-time.After(10 * time.Millisecond):
	case <-ctx.Done():
	}
}

func (l *load) nextSession() (int, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions++
	return l.number*sessionsPerLevel + l.sessions - 1, l.sessions <= sessionsPerLevel
}

// admit lets a request be sent, or says that the window has closed. It opens the window once every user is warm.
func (l *load) admit(r *Request, first bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if l.isOpen && !l.isClosed && l.spent(now) {
		l.closedAt, l.isClosed = now, true
	}
	if l.isClosed && !first {
		return false
	}
	if l.isOpen && !first && !l.isClosed {
		r.Measured = true
		l.measured++
	}
	r.Intended = now
	return true
}

func (l *load) spent(now float64) bool {
	o := l.opts
	return (o.Requests > 0 && l.measured >= o.Requests) || (o.Duration > 0 && now-l.opened >= o.Duration.Seconds())
}

func (l *load) ended(r Request, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first {
		l.warm++
		if l.warm == l.users {
			l.opened, l.isOpen = r.End, true
		}
	}
	l.keep(r)
}

func (l *load) keep(r Request) {
	r.text = ""
	l.requests = append(l.requests, r)
	if l.opts.Observe != nil {
		l.opts.Observe(r)
	}
}

// arrivals draws the Poisson send times, a warm-up of one tenth first, in seconds since the start.
func (l *load) arrivals() (at []float64, warm int) {
	o := l.opts
	rng := rand.New(rand.NewPCG(o.Seed, 0x706f6973736f6e))
	t := 0.0
	n := o.Requests
	if n == 0 {
		n = max(2, int(o.Rate*o.Duration.Seconds()))
	}
	warm = max(1, n/10)
	for range n + warm {
		t += rng.ExpFloat64() / o.Rate
		at = append(at, t)
	}
	return at, warm
}

// open sends at the drawn times whatever the server does, and waits for the answers.
func (l *load) open(ctx context.Context) {
	at, warm := l.arrivals()
	l.opened, l.closedAt = at[warm], at[len(at)-1]
	l.isOpen, l.isClosed = true, true
	var wg sync.WaitGroup
	for i, t := range at {
		select {
		case <-time.After(time.Until(l.start.Add(time.Duration(t * 1e9)))):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			r := Request{Level: l.number, Number: i, Measured: i >= warm, Intended: t}
			messages := []message{{"user", l.opts.Workload.Session(i)[0]}}
			l.asker.ask(ctx, messages, l.start, &r)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.keep(r)
		})
	}
	wg.Wait()
}
