package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Limits of a run: what sizes memory.
const (
	MaxUsers    = 10_000
	MaxRequests = 1_000_000
	MaxWords    = 1 << 20
	maxLevels   = 64
	maxRepeats  = 100
)

// ErrOptions is wrapped by every mistake in Options.
var ErrOptions = errors.New("bad options")

// Options are one run.
type Options struct {
	Target     Target
	Workload   *Workload
	Users      []int         // closed loop: one level each
	Rates      []float64     // open loop: requests per second, one level each; excludes Users
	Burstiness float64       // open loop: shape of the gamma-distributed gaps; 1 (and 0) is Poisson, less is burstier
	Requests   int           // measured requests of a level; 0: until Duration
	Duration   time.Duration // length of the steady window; 0: until Requests
	Repeats    int           // of each level; 0 is 1
	Flush      bool          // empty the server's prefix cache before each level
	SLO        SLO
	Seed       uint64
	Beside     Beside
	Hooks      Hooks
	Version    string // of the program, for the result
	Raw        string // name of the file that Observe writes, for the result
}

// Target is the endpoint and what each request asks of it.
type Target struct {
	URL       string // without /v1
	Key       string // never written out
	Model     string // empty: the first that the server lists
	MaxTokens int
	Natural   bool          // stop where the model stops, instead of ignore_eos
	Obey      bool          // closed loop: a refused user waits as long as Retry-After says
	Timeout   time.Duration // of one request; 0: none
	Client    *http.Client  // nil: a client with one connection per stream
	// Edit changes a request's body before it is sent, such as by adding cache_prompt. It is called from many goroutines
	// at once. nil: nothing is changed.
	Edit func(body map[string]any) `json:"-"`
}

// Beside is what is known and watched beside the load. The zero value watches nothing but the client itself.
type Beside struct {
	Device     *Device
	Meter      Meter                 // of the device's energy; nil: none
	Count      func(text string) int // the model's own tokenizer; nil: none
	Telemetry  bool                  // read the server's metrics
	MetricsURL string                // empty: Target.URL + /metrics
	Every      time.Duration         // between readings; 0: half a second
	Idle       time.Duration         // of the idle power's measurement; 0: two seconds
}

// Meter reads joules used since some fixed moment.
type Meter func() (joules float64, err error)

// Hooks are called as the run goes on, one at a time each. They may be nil.
type Hooks struct {
	Observe  func(Request) // each finished request
	Progress func(Progress)
}

// Progress is where a run is.
type Progress struct {
	Level, Levels, Repeat, Repeats int
	Users                          int     // closed loop
	Rate                           float64 // open loop
	Seconds                        float64 // since the repeat's start
	Done                           int     // requests ended, warm-up included
	Steady                         bool    // the window is open
}

func (o *Options) check() error {
	switch {
	case o.Workload == nil:
		return fmt.Errorf("%w: no workload", ErrOptions)
	case (len(o.Users) == 0) == (len(o.Rates) == 0):
		return fmt.Errorf("%w: give either users or rates", ErrOptions)
	case len(o.Users)+len(o.Rates) > maxLevels:
		return fmt.Errorf("%w: more than %d levels", ErrOptions, maxLevels)
	case o.Repeats < 0 || o.Repeats > maxRepeats:
		return fmt.Errorf("%w: repeats %d is not in 1..%d", ErrOptions, o.Repeats, maxRepeats)
	case o.Requests < 0 || o.Requests > MaxRequests:
		return fmt.Errorf("%w: requests %d is not in 0..%d", ErrOptions, o.Requests, MaxRequests)
	case o.Requests == 0 && o.Duration <= 0:
		return fmt.Errorf("%w: give requests or a duration", ErrOptions)
	case o.Target.MaxTokens < 1 || o.Target.MaxTokens > MaxWords:
		return fmt.Errorf("%w: output length %d is not in 1..%d", ErrOptions, o.Target.MaxTokens, MaxWords)
	case o.Workload.Kind == JSON && !o.Target.Natural:
		return fmt.Errorf("%w: a JSON answer has no fixed length: json needs the natural mode", ErrOptions)
	}
	if err := o.Beside.Device.check(); err != nil {
		return err
	}
	return o.checkLevels()
}

func (o *Options) checkLevels() error {
	if twice(o.Users) || twice(o.Rates) {
		return fmt.Errorf("%w: a level is named twice", ErrOptions)
	}
	for _, u := range o.Users {
		if u < 1 || u > MaxUsers {
			return fmt.Errorf("%w: %d users is not in 1..%d", ErrOptions, u, MaxUsers)
		}
	}
	for _, r := range o.Rates {
		if !(r > 0 && r <= 1e5) {
			return fmt.Errorf("%w: rate %v is not in 0..1e5", ErrOptions, r)
		}
		if o.Requests == 0 && r*o.Duration.Seconds() > MaxRequests {
			return fmt.Errorf("%w: rate times duration is over %d", ErrOptions, MaxRequests)
		}
	}
	if len(o.Rates) > 0 && o.Workload.Turns > 1 {
		return fmt.Errorf("%w: a turn waits for the answer before it: several turns need users, not a rate", ErrOptions)
	}
	if !(o.Burstiness >= 0.01 && o.Burstiness <= 1000) {
		return fmt.Errorf("%w: burstiness %v is not in 0.01..1000", ErrOptions, o.Burstiness)
	}
	return nil
}

func twice[T cmp.Ordered](v []T) bool {
	return len(slices.Compact(slices.Sorted(slices.Values(v)))) < len(v)
}

func (o *Options) complete() {
	o.Repeats = max(o.Repeats, 1)
	if o.Burstiness == 0 {
		o.Burstiness = 1
	}
	if o.Beside.Every <= 0 {
		o.Beside.Every = 500 * time.Millisecond
	}
	if o.Beside.Idle <= 0 {
		o.Beside.Idle = 2 * time.Second
	}
}

// Run measures every level in turn. A server that fails makes a level not valid, with reasons, and is no error here. A
// cancelled context is: then the result holds the repeats that were finished.
func Run(ctx context.Context, o Options) (*Result, error) {
	o.complete()
	if err := o.check(); err != nil {
		return nil, err
	}
	asker, err := newAsker(&o)
	if err != nil {
		return nil, err
	}
	asker.name(ctx)
	o.Target.Model = asker.target.Model
	r := &run{opts: &o, asker: asker, result: newResult(&o), levels: make([]pooled, max(len(o.Users), len(o.Rates)))}
	r.idle(ctx)
	err = r.all(ctx)
	r.finish()
	return r.result, err
}

// run is a run under way.
type run struct {
	opts      *Options
	asker     *asker
	result    *Result
	levels    []pooled
	idleWatts *float64
}

// pooled is what a level's repeats gave so far.
type pooled struct {
	repeats []Repeat
	tally   *tally
}

func (r *run) all(ctx context.Context) error {
	for repeat := range r.opts.Repeats {
		for level := range r.levels {
			if err := r.one(ctx, level, repeat); err != nil {
				return err
			}
		}
	}
	return nil
}

// one measures a level once.
func (r *run) one(ctx context.Context, level, repeat int) error {
	l := newLoad(r, level, repeat)
	var notes []string
	if r.opts.Flush {
		if err := r.asker.flush(ctx); err != nil {
			notes = append(notes, err.Error())
		}
		l.start = time.Now()
	}
	w := startWatch(ctx, l)
	if l.users > 0 {
		l.closed(ctx)
	} else {
		l.open(ctx)
	}
	w.stop()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("measure level %d: %w", level, err)
	}
	rep := summarize(l, w, r.idleWatts)
	rep.Number, rep.Start = repeat, l.start.Sub(r.result.Started).Seconds()
	rep.Reasons = append(notes, rep.Reasons...)
	p := &r.levels[level]
	p.repeats = append(p.repeats, rep)
	p.tally = p.tally.merge(l.tally)
	if r.result.Endpoint.Server == "" {
		r.result.Endpoint.Server = w.server
	}
	return nil
}

// idle measures the device's power before any load.
func (r *run) idle(ctx context.Context) {
	if r.opts.Beside.Meter == nil {
		return
	}
	start := time.Now()
	before, err := r.opts.Beside.Meter()
	if err != nil {
		return
	}
	select {
	case <-time.After(r.opts.Beside.Idle):
	case <-ctx.Done():
		return
	}
	if after, err := r.opts.Beside.Meter(); err == nil {
		watts := (after - before) / time.Since(start).Seconds()
		r.idleWatts = &watts
	}
}
