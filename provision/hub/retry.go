package hub

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Retry is how often and after which waits something is tried again: full jitter, a wait is anything between nothing and
// Base doubled for each failure, at most Cap. What the hub asks for (Retry-After, ratelimit) comes before that.
type Retry struct {
	Base    time.Duration // 1 s
	Cap     time.Duration // 30 s
	Tries   int           // 6 failures in a row without progress
	Patient time.Duration // 10 min: if the hub asks for more, give up
}

func (r *Retry) fill() {
	if r.Base <= 0 {
		r.Base = time.Second
	}
	if r.Cap <= 0 {
		r.Cap = 30 * time.Second
	}
	if r.Tries <= 0 {
		r.Tries = 6
	}
	if r.Patient <= 0 {
		r.Patient = 10 * time.Minute
	}
}

// wait is the time before try number n, which counts from 1.
func (r Retry) wait(n int) time.Duration {
	ceiling := r.Cap
	if n < 30 {
		ceiling = min(r.Cap, r.Base<<(n-1))
	}
	return rand.N(ceiling + 1)
}

// rateReset is the reset time of `"api";r=0;t=55` (draft-ietf-httpapi-ratelimit-headers, as the hub sends it).
var rateReset = regexp.MustCompile(`;\s*r\s*=\s*(\d+)\s*;\s*t\s*=\s*(\d+)`)

// askedWait is how long an answer asks to wait; 0: it does not say.
func askedWait(h http.Header, now time.Time) time.Duration {
	if v := strings.TrimSpace(h.Get("Retry-After")); v != "" {
		if s, err := strconv.ParseUint(v, 10, 31); err == nil {
			return time.Duration(s) * time.Second
		}
		if t, err := http.ParseTime(v); err == nil {
			return max(0, t.Sub(now))
		}
	}
	if m := rateReset.FindStringSubmatch(h.Get("RateLimit")); m != nil && m[1] == "0" {
		if s, err := strconv.ParseUint(m[2], 10, 31); err == nil {
			return time.Duration(s) * time.Second
		}
	}
	return 0
}

// gate holds all requests back until a time: a limit that one has hit is everybody's.
type gate struct {
	mu    sync.Mutex
	until time.Time
}

func (g *gate) close(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := time.Now().Add(d); t.After(g.until) {
		g.until = t
	}
}

func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	d := time.Until(g.until)
	g.mu.Unlock()
	return sleep(ctx, d)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// again waits before another try, or gives the error back if there should be none. asked is what the hub asked for.
func (c *Client) again(ctx context.Context, err error, failures int, asked time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if lasting(err) || failures >= c.opts.Retry.Tries || asked > c.opts.Retry.Patient {
		return err
	}
	if asked > 0 && errors.Is(err, ErrLimited) {
		c.gate.close(asked)
	}
	if e := sleep(ctx, asked+c.opts.Retry.wait(failures)); e != nil {
		return e
	}
	return nil
}
