package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"radish/server/sched"
	"radish/server/seq"
)

// stage is a running engine on a fake in a bubble of fake time; every step takes ten milliseconds.
type stage struct {
	*Engine
	t    *testing.T
	f    *shadow
	stop context.CancelFunc
	ran  chan error
}

func small() Config {
	return Config{Pages: 64, PageSize: 4, MaxSeqs: 4, ChunkTokens: 32, ContextLength: 200, EOS: []seq.Token{1000}}
}

func play(t *testing.T, cfg Config, act func(s *stage)) {
	synctest.Test(t, func(t *testing.T) {
		f := newShadow(cfg)
		f.delay = func() time.Duration { return 10 * time.Millisecond }
		e, err := New(cfg, f, nil)
		if err != nil {
			t.Fatal(err)
		}
		f.onLaunch = func(*seq.Batch) error { return e.sched.Check() }
		ctx, stop := context.WithCancel(context.Background())
		s := &stage{e, t, f, stop, make(chan error, 1)}
		go func() { s.ran <- e.Run(ctx) }()
		act(s)
		stop()
		if err := <-s.ran; !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
	})
}

// tokens are n tokens beginning with first, counting up.
func tokens(first, n int) []seq.Token {
	ts := make([]seq.Token, n)
	for i := range ts {
		ts[i] = seq.Token(first + i)
	}
	return ts
}

func newReq(prompt []seq.Token, most int) Request {
	return Request{Prompt: prompt, Params: seq.Params{MaxTokens: most, PromptLogprobs: -1, Logprobs: -1}}
}

func (s *stage) submit(r Request) *Stream {
	s.t.Helper()
	st, err := s.Submit(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

func (s *stage) ask(prompt []seq.Token, most int) answer {
	return drainStream(s.t, s.submit(newReq(prompt, most)))
}

// steps counts the launched batches that match what describe writes of them.
func (s *stage) steps(what string) int {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	n := 0
	for _, d := range s.f.steps {
		if strings.Contains(" "+d, " "+what) {
			n++
		}
	}
	return n
}

func TestSharedPrefixIsComputedOnce(t *testing.T) {
	play(t, small(), func(s *stage) {
		var streams []*Stream
		for i := range 4 {
			streams = append(streams, s.submit(newReq(append(tokens(0, 80), seq.Token(100+i)), 3)))
		}
		for i, st := range streams {
			a := drainStream(t, st)
			if want := min(i, 1) * 80; a.cached != want {
				t.Errorf("request %d: %d tokens cached, want %d", i, a.cached, want)
			}
		}
		if s.Stats().Sched.Deferred == 0 {
			t.Error("nobody waited for the first request's prefix")
		}
		if s.f.computed != 81+3 {
			t.Errorf("computed %d prompt positions of four requests, want 84", s.f.computed)
		}
	})
}

func TestFollowersOutliveTheirLeader(t *testing.T) {
	play(t, small(), func(s *stage) {
		leader := s.submit(newReq(append(tokens(0, 150), 400), 3))
		follower := s.submit(newReq(append(tokens(0, 150), 401), 3))
		third := s.submit(newReq(append(tokens(0, 150), 402), 3))
		time.Sleep(15 * time.Millisecond) // the second chunk runs, the third is launched
		leader.Cancel()
		if a := drainStream(t, leader); a.fin.Reason != ReasonAbort {
			t.Errorf("leader: %v", a.fin)
		}
		a, b := drainStream(t, follower), drainStream(t, third)
		if a.fin.Reason != ReasonLength || b.fin.Reason != ReasonLength || a.cached < 32 {
			t.Errorf("followers: %+v, %+v", a, b)
		}
	})
}

func TestMultiTurnReusesTheAnswer(t *testing.T) {
	play(t, small(), func(s *stage) {
		prompt := tokens(0, 21)
		for turn := range 4 {
			a := s.ask(prompt, 6)
			// The last token of an answer was never fed back: its keys and values are unknown.
			if want := len(prompt) - 1 - 3; turn > 0 && a.cached != want {
				t.Errorf("turn %d: %d of %d tokens cached, want %d", turn, a.cached, len(prompt), want)
			}
			prompt = slices.Concat(prompt, a.tokens, tokens(200+10*turn, 3))
		}
	})
}

func TestDomainsShareNothing(t *testing.T) {
	play(t, small(), func(s *stage) {
		r := newReq(tokens(0, 40), 2)
		drainStream(t, s.submit(r))
		r.Domain = "tenant"
		if a := drainStream(t, s.submit(r)); a.cached != 0 {
			t.Errorf("%d tokens cached from another domain", a.cached)
		}
		if a := drainStream(t, s.submit(r)); a.cached != 39 {
			t.Errorf("%d tokens cached in the same domain, want 39", a.cached)
		}
	})
}

func TestRetractionKeepsThePrefix(t *testing.T) {
	cfg := small()
	cfg.Pages, cfg.MaxSeqs, cfg.Conservativeness = 30, 2, 0.001
	play(t, cfg, func(s *stage) {
		a, b := s.submit(newReq(tokens(0, 40), 60)), s.submit(newReq(tokens(500, 20), 60))
		x, y := drainStream(t, a), drainStream(t, b)
		if len(x.tokens) != 60 || len(y.tokens) != 60 {
			t.Errorf("answers of %d and %d tokens, want 60", len(x.tokens), len(y.tokens))
		}
		st := s.Stats()
		if st.Sched.Retracts == 0 {
			t.Error("nothing was retracted in a pool that cannot hold both")
		}
		// Without its own prefix the victim would compute at least its prompt again.
		if extra := int(st.Tokens.Computed) - 60; extra >= 20+int(st.Sched.Evicted)*4 {
			t.Errorf("%d positions computed again, %d pages evicted", extra, st.Sched.Evicted)
		}
		if n := s.f.slots[0]; n.id == 0 {
			t.Error("slot 0 was never used")
		}
	})
}

func TestQueueFull(t *testing.T) {
	cfg := small()
	cfg.MaxSeqs, cfg.MaxQueued = 1, 2
	play(t, cfg, func(s *stage) {
		for range 3 {
			if err := s.Admits(); err != nil {
				t.Errorf("with room: %v", err)
			}
			s.submit(newReq(tokens(0, 4), 50))
		}
		if err := s.Admits(); !errors.Is(err, ErrQueueFull) {
			t.Errorf("asked without room: %v", err)
		}
		if _, err := s.Submit(newReq(tokens(0, 4), 50)); !errors.Is(err, ErrQueueFull) {
			t.Errorf("fourth request with one slot and two places to wait: %v", err)
		}
		time.Sleep(15 * time.Millisecond)
		if _, err := s.Submit(newReq(tokens(0, 4), 50)); !errors.Is(err, ErrQueueFull) {
			t.Errorf("likewise when one runs: %v", err)
		}
		if d := s.RetryAfter(); d < time.Second {
			t.Errorf("retry after %v", d)
		}
		if st := s.Stats(); st.Running != 1 || st.Queued != 2 || st.Requests.Refused != 3 {
			t.Errorf("stats: %+v", st)
		}
		if n := s.AbortAll(); n != 3 {
			t.Errorf("%d aborted, want 3", n)
		}
	})
}

func TestRefusals(t *testing.T) {
	play(t, small(), func(s *stage) {
		for _, c := range []struct {
			what string
			req  Request
			want error
		}{
			{"empty prompt", newReq(nil, 3), ErrInvalid},
			{"negative length", newReq(tokens(0, 3), -1), ErrInvalid},
			{"prompt of the whole context", newReq(tokens(0, 200), 1), ErrTooLong},
		} {
			if _, err := s.Submit(c.req); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.what, err, c.want)
			}
		}
		if a := s.ask(tokens(0, 199), 50); a.fin.Reason != ReasonLength || len(a.tokens) != 1 {
			t.Errorf("one token short of the context: %+v", a)
		}
	})
}

func TestCancelLeavesWithinOneStep(t *testing.T) {
	for _, c := range []struct {
		where string
		after time.Duration
		slots int
	}{
		{"queue", 0, 1}, {"queue, later", 25 * time.Millisecond, 1}, {"prefill", 15 * time.Millisecond, 4},
		{"decode", 85 * time.Millisecond, 4},
	} {
		t.Run(c.where, func(t *testing.T) {
			cfg := small()
			cfg.MaxSeqs = c.slots
			play(t, cfg, func(s *stage) {
				other := s.submit(newReq(tokens(300, 4), 30))
				st := s.submit(newReq(tokens(0, 100), 50))
				time.Sleep(c.after)
				st.Cancel()
				st.Cancel()
				synctest.Wait()
				rows := s.steps("2:")
				if ev, err := st.take2(); err != nil || ev.Finish == nil || ev.Finish.Reason != ReasonAbort {
					t.Errorf("no end at once: %+v %v", ev, err)
				}
				if a := drainStream(t, other); len(a.tokens) != 30 {
					t.Errorf("the other request: %+v", a)
				}
				if n := s.steps("2:"); n != rows {
					t.Errorf("%d rows were built after the cancel", n-rows)
				}
				if p := s.Stats().Pages; p.Held != 0 {
					t.Errorf("pages: %+v", p)
				}
			})
		})
	}
}

// take2 is take for tests that want an event that is there already.
func (s *Stream) take2() (Event, error) { ev, _, err := s.take(); return ev, err }

func TestAbortByKey(t *testing.T) {
	play(t, small(), func(s *stage) {
		r := newReq(tokens(0, 4), 100)
		r.Key = "a"
		one, two := s.submit(r), s.submit(r)
		r.Key = ""
		three := s.submit(r)
		if n := s.Abort("a"); n != 2 {
			t.Errorf("%d aborted, want 2", n)
		}
		if n := s.Abort(""); n != 0 {
			t.Errorf("the empty key aborted %d", n)
		}
		for _, st := range []*Stream{one, two} {
			if a := drainStream(t, st); a.fin.Reason != ReasonAbort {
				t.Errorf("end: %v", a.fin)
			}
		}
		if a := drainStream(t, three); a.fin.Reason != ReasonLength {
			t.Errorf("end of another key: %v", a.fin)
		}
	})
}

func TestStopTokenAndItsWaste(t *testing.T) {
	play(t, small(), func(s *stage) {
		prompt := tokens(0, 9)
		all := s.ask(prompt, 20).tokens
		r := newReq(prompt, 20)
		r.Params.Stop = []seq.Token{all[4]}
		want := slices.Index(all, all[4]) + 1
		a := drainStream(t, s.submit(r))
		if a.fin.Reason != ReasonStop || a.fin.Stop != all[4] || !slices.Equal(a.tokens, all[:want]) {
			t.Errorf("got %+v of %v", a, all)
		}
		time.Sleep(50 * time.Millisecond)
		if w := s.Stats().Tokens.Wasted; w != 1 {
			t.Errorf("%d tokens wasted, want 1: the step that was launched already", w)
		}
		r.Params.IgnoreEOS = true
		if a := drainStream(t, s.submit(r)); !slices.Equal(a.tokens, all) {
			t.Errorf("ignoring stops: %+v", a)
		}
	})
}

func TestScoreOnly(t *testing.T) {
	play(t, small(), func(s *stage) {
		r := newReq(tokens(0, 70), 0)
		r.Params.PromptLogprobs = 0
		for range 2 { // the second time the prompt is cached, and yet scored whole
			a := drainStream(t, s.submit(r))
			if a.fin.Reason != ReasonLength || len(a.prompt) != 69 || len(a.tokens) != 0 || a.cached != 0 {
				t.Errorf("%d scores, %d tokens, %d cached, %v", len(a.prompt), len(a.tokens), a.cached, a.fin)
			}
		}
		r.Params.PromptLogprobs = -1
		if a := drainStream(t, s.submit(r)); a.fin.Reason != ReasonLength || a.cached != 69 {
			t.Errorf("warming: %+v", a)
		}
	})
}

func TestFlush(t *testing.T) {
	play(t, small(), func(s *stage) {
		st := s.submit(newReq(tokens(0, 40), 5))
		if err := s.Flush(); !errors.Is(err, ErrBusy) {
			t.Errorf("flush while busy: %v", err)
		}
		drainStream(t, st)
		if err := s.Flush(); err != nil {
			t.Errorf("flush: %v", err)
		}
		if p := s.Stats().Pages; p.Free != p.Total {
			t.Errorf("pages after flush: %+v", p)
		}
		if a := s.ask(tokens(0, 40), 5); a.cached != 0 {
			t.Errorf("%d tokens cached after flush", a.cached)
		}
	})
}

func TestDrain(t *testing.T) {
	play(t, small(), func(s *stage) {
		st := s.submit(newReq(tokens(0, 4), 10))
		go func() {
			time.Sleep(time.Millisecond)
			if _, err := s.Submit(newReq(tokens(0, 4), 10)); !errors.Is(err, ErrDraining) {
				t.Errorf("submit while draining: %v", err)
			}
		}()
		if err := s.Drain(context.Background()); err != nil {
			t.Errorf("drain: %v", err)
		}
		if a := drainStream(t, st); a.fin.Reason != ReasonLength {
			t.Errorf("drained request: %v", a.fin)
		}
	})
	play(t, small(), func(s *stage) {
		st := s.submit(newReq(tokens(0, 4), 150))
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := s.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drain with a deadline: %v", err)
		}
		if a := drainStream(t, st); a.fin.Reason != ReasonAbort {
			t.Errorf("request at the deadline: %v", a.fin)
		}
	})
}

func TestStuckRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newShadow(small())
		f.delay = func() time.Duration { return time.Hour }
		e, _ := New(small(), f, nil)
		ctx, stop := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- e.Run(ctx) }()
		st, _ := e.Submit(newReq(tokens(0, 4), 10))
		time.Sleep(time.Minute)
		if h := e.Heartbeat(); !h.Busy || h.StepAge != time.Minute || time.Since(h.Last) < time.Minute {
			t.Errorf("heartbeat of a stuck engine: %+v", h)
		}
		stop()
		if a := drainStream(t, st); a.fin.Reason != ReasonAbort {
			t.Errorf("end: %v", a.fin)
		}
		if err := <-ran; !errors.Is(err, ErrStuck) {
			t.Errorf("run: %v", err)
		}
		if _, err := e.Submit(newReq(tokens(0, 4), 10)); !errors.Is(err, ErrClosed) {
			t.Errorf("submit after the end: %v", err)
		}
		time.Sleep(time.Hour)
	})
}

func TestIdleIsBlocked(t *testing.T) {
	play(t, small(), func(s *stage) {
		s.ask(tokens(0, 4), 5)
		synctest.Wait() // returns only when the loop is blocked for good
		h := s.Heartbeat()
		if h.Busy || h.StepAge != 0 {
			t.Errorf("heartbeat at rest: %+v", h)
		}
		if st := s.Stats(); st.Running != 0 || st.Queued != 0 || st.Pages.Held != 0 {
			t.Errorf("stats at rest: %+v", st)
		}
	})
}

// watcher keeps what an engine tells its observer.
type watcher struct {
	steps []StepInfo
	done  []RequestInfo
}

func (w *watcher) Step(i StepInfo)    { w.steps = append(w.steps, i) }
func (w *watcher) Done(i RequestInfo) { i.ITL = slices.Clone(i.ITL); w.done = append(w.done, i) }

func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, w := newShadow(small()), &watcher{}
		f.delay = func() time.Duration { return 10 * time.Millisecond }
		e, _ := New(small(), f, w)
		ctx, stop := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- e.Run(ctx) }()
		st, _ := e.Submit(Request{Key: "k", Prompt: tokens(0, 40), Params: seq.Params{MaxTokens: 4, PromptLogprobs: -1}})
		drainStream(t, st)
		stop()
		<-ran
		if len(w.done) != 1 || len(w.steps) != 5 {
			t.Fatalf("%d ends, %d steps", len(w.done), len(w.steps))
		}
		d := w.done[0]
		if d.Key != "k" || d.Output != 4 || d.TTFT != 20*time.Millisecond || d.E2E != 50*time.Millisecond || d.Queue != 0 || len(d.ITL) != 3 {
			t.Errorf("end: %+v", d)
		}
		if a, b := w.steps[0], w.steps[2]; a.PrefillTokens != 32 || a.NewSeqs != 1 || b.DecodeRows != 1 || b.Running != 1 {
			t.Errorf("steps: %+v %+v", a, b)
		}
	})
}

func TestPriorityRunsFirst(t *testing.T) {
	cfg := small()
	cfg.MaxSeqs, cfg.Policy = 1, sched.Priority
	play(t, cfg, func(s *stage) {
		s.submit(newReq(tokens(0, 4), 5))
		time.Sleep(time.Millisecond)
		low, high := newReq(tokens(100, 4), 5), newReq(tokens(200, 4), 5)
		high.Priority = 1
		l, h := s.submit(low), s.submit(high)
		drainStream(t, h)
		if ev, _ := l.take2(); ev.Finish != nil {
			t.Error("the lower priority ended first")
		}
		drainStream(t, l)
	})
}
