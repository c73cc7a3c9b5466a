package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"radish/server/sched"
	"radish/server/seq"
)

var seeds = flag.Int("seeds", 600, "number of random worlds")

// TestEngineKeepsItsContracts drives random worlds: every request's answer is what the fake gives alone, one terminal
// event each, every page accounted for in every step, everything free or cached in the end.
func TestEngineKeepsItsContracts(t *testing.T) {
	for seed := range uint64(*seeds) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { world(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func randomConfig(rng *rand.Rand) Config {
	size := []int{1, 4, 16}[rng.IntN(3)]
	return Config{
		Pages: (30+rng.IntN(120))/size + 2, PageSize: size, MaxSeqs: 1 + rng.IntN(8), MaxQueued: 100,
		ChunkTokens: []int{0, 1, 7, 32}[rng.IntN(4)], MaxPrefillTokens: []int{0, 20}[rng.IntN(2)],
		ContextLength: 20 + rng.IntN(80), Policy: sched.Policy(rng.IntN(5)), Seed: rng.Uint64(),
		Conservativeness: []float64{0.001, 0.1, 1}[rng.IntN(3)], DisableRadix: rng.IntN(5) == 0, EOS: []seq.Token{3}[:rng.IntN(2)],
	}
}

type randomRequest struct {
	Request
	cancelAfter time.Duration // 0: never
	arrive      time.Duration
}

func randomRequests(rng *rand.Rand, cfg Config) []randomRequest {
	var rs []randomRequest
	prefixes := make([][]seq.Token, 3)
	for i := range prefixes {
		prefixes[i] = randomTokens(rng, 5+rng.IntN(60))
	}
	limit := min(cfg.ContextLength, cfg.Pages*cfg.PageSize)
	for range 1 + rng.IntN(24) {
		prompt := slices.Concat(prefixes[rng.IntN(3)], randomTokens(rng, 1+rng.IntN(8)))
		prompt = prompt[:min(len(prompt), 1+rng.IntN(limit-1))]
		r := randomRequest{Request: Request{Prompt: prompt, Priority: rng.IntN(3),
			Params: seq.Params{MaxTokens: rng.IntN(70), Seed: uint64(rng.IntN(3)), PromptLogprobs: -1, Logprobs: -1}},
			arrive: time.Duration(max(0, rng.IntN(60)-30)) * time.Millisecond}
		if rng.IntN(4) == 0 {
			r.Domain = "other"
		}
		r.Uncached = rng.IntN(5) == 0
		if rng.IntN(5) == 0 {
			r.Params.PromptLogprobs = 0
		}
		if rng.IntN(5) == 0 {
			r.Params.MinTokens, r.Params.Stop = rng.IntN(10), []seq.Token{7, 8}
		}
		if rng.IntN(4) == 0 {
			r.cancelAfter = time.Duration(1+rng.IntN(50)) * time.Millisecond
		}
		rs = append(rs, r)
	}
	return rs
}

func randomTokens(rng *rand.Rand, n int) []seq.Token {
	ts := make([]seq.Token, n)
	for i := range ts {
		ts[i] = seq.Token(rng.IntN(50))
	}
	return ts
}

// answer is everything that a stream said.
type answer struct {
	tokens []seq.Token
	prompt []seq.Scored
	cached int
	fin    Finish
}

func drainStream(t *testing.T, s *Stream) answer {
	var a answer
	for {
		ev, err := s.Next(context.Background())
		if err != nil {
			t.Fatalf("stream ended without a terminal event: %v", err)
		}
		for _, tok := range ev.Tokens {
			a.tokens = append(a.tokens, tok.Token)
		}
		a.prompt, a.cached = append(a.prompt, ev.Prompt...), ev.Cached
		if ev.Finish != nil {
			a.fin = *ev.Finish
			if _, err := s.Next(context.Background()); err != io.EOF {
				t.Errorf("after the terminal event: %v", err)
			}
			return a
		}
	}
}

func world(t *testing.T, rng *rand.Rand) {
	cfg := randomConfig(rng)
	f := newShadow(cfg)
	f.lazy = rng.IntN(2) == 0
	pace := rand.New(rand.NewPCG(rng.Uint64(), 2))
	f.delay = func() time.Duration { return time.Duration(pace.IntN(4)) * time.Millisecond }
	switch rng.IntN(10) {
	case 0:
		f.failAt = 1 + rng.Uint64N(20)
	case 1:
		f.panicAt = 1 + rng.Uint64N(20)
	}
	e, err := New(cfg, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.onLaunch = func(*seq.Batch) error { return e.sched.Check() }
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- e.Run(ctx) }()

	var wg sync.WaitGroup
	for _, r := range randomRequests(rng, cfg) {
		wg.Go(func() { live(t, e, f, r) })
	}
	if rng.IntN(4) == 0 {
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		stop()
	}
	wg.Wait()
	synctest.Wait()
	stop()
	err = <-ran
	if broken := f.failAt+f.panicAt > 0; !errors.Is(err, context.Canceled) && !broken {
		t.Fatalf("run: %v", err)
	}
	if st := e.Stats(); testing.Verbose() {
		t.Logf("%+v %+v", cfg, st)
	}
	if s := e.Stats().Requests; s.Submitted != s.Stopped+s.Length+s.Aborted+s.Failed {
		t.Errorf("ends do not add up: %+v", s)
	}
	if errors.Is(err, context.Canceled) {
		if err := e.sched.Check(); err != nil {
			t.Error(err)
		}
		if p := e.Stats().Pages; p.Held != 0 {
			t.Errorf("pages are held in the end: %+v", p)
		}
	}
}

// live submits r and judges its answer.
func live(t *testing.T, e *Engine, f *shadow, r randomRequest) {
	time.Sleep(r.arrive)
	s, err := e.Submit(r.Request)
	if err != nil {
		if !errors.Is(err, ErrTooLong) && !errors.Is(err, ErrClosed) {
			t.Errorf("submit: %v", err)
		}
		return
	}
	if r.cancelAfter > 0 {
		time.AfterFunc(r.cancelAfter, s.Cancel)
	}
	got := drainStream(t, s)
	p := r.Params
	p.Stop = slices.Concat(p.Stop, e.cfg.EOS)
	want, reason := f.alone(r.Prompt, p, e.limit)
	whole := got.fin.Reason == ReasonStop || got.fin.Reason == ReasonLength
	if whole && (got.fin.Reason != reason || !slices.Equal(got.tokens, want)) {
		t.Errorf("got %v %v, alone it is %v %v", got.fin.Reason, got.tokens, reason, want)
	}
	if !whole && !slices.Equal(got.tokens, want[:len(got.tokens)]) {
		t.Errorf("cut answer %v does not begin %v", got.tokens, want)
	}
	if got.fin.Reason == ReasonError && f.failAt+f.panicAt == 0 {
		t.Errorf("error: %v", got.fin.Err)
	}
	if got.cached >= len(r.Prompt) || (p.PromptLogprobs >= 0 || r.Uncached) && got.cached > 0 {
		t.Errorf("%d of %d prompt tokens cached", got.cached, len(r.Prompt))
	}
	checkScores(t, r, got, whole)
}

func checkScores(t *testing.T, r randomRequest, got answer, whole bool) {
	if r.Params.PromptLogprobs < 0 && len(got.prompt) > 0 || whole && r.Params.PromptLogprobs >= 0 && len(got.prompt) != len(r.Prompt)-1 {
		t.Errorf("%d scores of a prompt of %d", len(got.prompt), len(r.Prompt))
		return
	}
	for i, s := range got.prompt {
		if s.Token != r.Prompt[i+1] || s.Logprob != score(chainAll(r.Prompt[:i+1])) {
			t.Errorf("score %d is of another token: %+v", i, s)
		}
	}
}
