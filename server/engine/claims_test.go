package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"radish/server/sched"
	"radish/server/seq"
)

// paced is a runner whose steps take as long as the builtin model's on two cores, about: a millisecond, and an eighth
// more for every token computed. On fake time the claims about the prefix cache are exact: they are those of the engine
// and the scheduler, whatever else the machine does.
type paced struct{ instant }

func (r *paced) Collect() (*seq.Result, error) {
	cost := time.Millisecond + time.Duration(r.launched[0].Tokens())*time.Millisecond/8
	time.Sleep(cost)
	return r.instant.Collect()
}

// crowd is users who ask again when they are answered, and what they saw.
type crowd struct {
	*Engine
	off         bool
	mu          sync.Mutex
	from, until time.Time // before is warm-up, after it is the end
	tokens      int
	ttft        []time.Duration
	cached      int
	prompt      int
}

// ask sends one prompt and returns the answer.
func (c *crowd) ask(t *testing.T, prompt []seq.Token, most int) []seq.Token {
	r := newReq(prompt, most)
	r.Uncached, r.Params.IgnoreEOS = c.off, true
	sent := time.Now()
	s, err := c.Submit(r)
	if err != nil {
		t.Errorf("submit: %v", err)
		return nil
	}
	var answer []seq.Token
	var first time.Duration
	for {
		ev, err := s.Next(context.Background())
		if err != nil {
			break
		}
		if len(answer) == 0 && len(ev.Tokens) > 0 {
			first = time.Since(sent)
		}
		for _, tok := range ev.Tokens {
			answer = append(answer, tok.Token)
		}
		c.mu.Lock()
		now := time.Now()
		if now.After(c.from) && now.Before(c.until) {
			c.tokens += len(ev.Tokens)
		}
		if ev.Finish != nil && sent.After(c.from) && sent.Before(c.until) {
			c.ttft = append(c.ttft, first)
			c.cached, c.prompt = c.cached+ev.Cached, c.prompt+len(prompt)
		}
		c.mu.Unlock()
	}
	return answer
}

func claimConfig() Config {
	return Config{Pages: 1 << 14, PageSize: 16, MaxSeqs: 64, ChunkTokens: 512, ContextLength: 2048, Policy: sched.LPM}
}

// load has users ask for 80 seconds, of which the first half is warm-up, and returns tokens/s and the median TTFT.
// conversation is what one user asks next, in turns.
func load(t *testing.T, users int, off bool, conversation func(n int) [][]seq.Token) (rate float64, ttft time.Duration, c *crowd) {
	const warm, most = 40 * time.Second, 8
	synctest.Test(t, func(t *testing.T) {
		e, err := New(claimConfig(), &paced{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- e.Run(ctx) }()
		c = &crowd{Engine: e, off: off, from: time.Now().Add(warm), until: time.Now().Add(2 * warm)}
		n := 0
		var wg sync.WaitGroup
		for range users {
			wg.Go(func() {
				for time.Now().Before(c.until) {
					c.mu.Lock()
					n++
					turns := conversation(n)
					c.mu.Unlock()
					var history []seq.Token
					for _, turn := range turns {
						history = append(slices.Clip(history), turn...)
						history = append(history, c.ask(t, history, most)...)
					}
				}
			})
		}
		wg.Wait()
		rate = float64(c.tokens) / warm.Seconds()
		stop()
		if err := <-ran; !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
	})
	slices.Sort(c.ttft)
	return rate, c.ttft[len(c.ttft)/2], c
}

// TestRadixClaims holds what the prefix cache is promised to be worth, with 100 users and answers of 8 tokens.
func TestRadixClaims(t *testing.T) {
	unique := func(n, length int) []seq.Token { return tokens(1_000_000+n*2000, length) }
	for _, c := range []struct {
		name         string
		conversation func(n int) [][]seq.Token
		rate         float64 // at least, of off
		ttft         float64 // at most, of off
		cached       float64 // share of the prompts, about
	}{
		{"nothing shared", func(n int) [][]seq.Token { return [][]seq.Token{unique(n, 1000)} }, 0.99, 1.01, 0},
		{"rag, 95 % shared", func(n int) [][]seq.Token { return [][]seq.Token{append(tokens(0, 950), unique(n, 50)...)} }, 5, 0.15, 0.95},
		{"rag, 80 % shared", func(n int) [][]seq.Token { return [][]seq.Token{append(tokens(0, 800), unique(n, 200)...)} }, 3, 0.3, 0.80},
		{"five turns", func(n int) [][]seq.Token {
			all := unique(n, 1000)
			return [][]seq.Token{all[:200], all[200:400], all[400:600], all[600:800], all[800:]}
		}, 2, 0.5, 0.67},
	} {
		t.Run(c.name, func(t *testing.T) {
			on, onTTFT, seen := load(t, 100, false, c.conversation)
			off, offTTFT, blind := load(t, 100, true, c.conversation)
			share := float64(seen.cached) / float64(seen.prompt)
			t.Logf("on %.1f tokens/s, off %.1f: %.3f times; TTFT p50 %v, %v: %.3f times; %.3f cached",
				on, off, on/off, onTTFT, offTTFT, onTTFT.Seconds()/offTTFT.Seconds(), share)
			if on < c.rate*off {
				t.Errorf("throughput is %.3f times that without the cache, at least %.2f is promised", on/off, c.rate)
			}
			if onTTFT.Seconds() > c.ttft*offTTFT.Seconds() {
				t.Errorf("TTFT p50 is %.3f times that without the cache, at most %.2f is promised", onTTFT.Seconds()/offTTFT.Seconds(), c.ttft)
			}
			if share < c.cached-0.03 || share > c.cached+0.03 || blind.cached != 0 {
				t.Errorf("%.3f of the prompts was cached, about %.2f is what they share; %d tokens while off", share, c.cached, blind.cached)
			}
		})
	}
}

// TestOverloadKeepsItsPromises offers ten times what the engine can do. What is accepted keeps the p99 that
// it has with a full queue at any load, the rest is refused at once, and afterwards all is as before.
func TestOverloadKeepsItsPromises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := claimConfig()
		cfg.MaxSeqs, cfg.MaxQueued = 16, 32
		e, err := New(cfg, &paced{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- e.Run(ctx) }()

		n := 0
		const seconds = 20
		// offer sends at a fixed rate and waits for all answers.
		offer := func(perSecond float64) (p99 time.Duration, answered, refused int) {
			var mu sync.Mutex
			var took []time.Duration
			var wg sync.WaitGroup
			for range int(perSecond * seconds) {
				time.Sleep(time.Duration(float64(time.Second) / perSecond))
				n++
				r := newReq(tokens(1_000_000+n*2000, 256), 8)
				before := time.Now()
				s, err := e.Submit(r)
				if errors.Is(err, ErrQueueFull) {
					refused++
					if waited := time.Since(before); waited != 0 {
						t.Errorf("a refusal took %v", waited)
					}
					if after := e.RetryAfter(); after < time.Second || after > time.Minute {
						t.Errorf("retry after %v", after)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				wg.Go(func() {
					if a := drainStream(t, s); a.fin.Reason != ReasonLength {
						t.Errorf("an accepted request ended with %v", a.fin)
					}
					mu.Lock()
					defer mu.Unlock()
					took = append(took, time.Since(before))
				})
			}
			wg.Wait()
			slices.Sort(took)
			return took[len(took)*99/100], len(took), refused
		}
		capacity := 1000.0 / (256 + 8) * 8 // per second, were steps free but for their tokens
		before, done, refused := offer(0.8 * capacity)
		if refused > 0 {
			t.Fatalf("%d refused below capacity", refused)
		}
		full, _, _ := offer(1.3 * capacity) // the queue is full: the longest that an accepted request ever waits
		worst, served, refused := offer(10 * capacity)
		again, doneAgain, lost := offer(0.8 * capacity)
		t.Logf("p99 %v at 0.8 of capacity, %v at 1.3, %v at 10 (%d served, %d refused), %v at 0.8 again", before, full, worst, served, refused, again)
		if worst.Seconds() > 1.1*full.Seconds() {
			t.Errorf("accepted requests take %v (p99) at 10 times capacity, %v with a full queue", worst, full)
		}
		if longest := float64(cfg.MaxSeqs+cfg.MaxQueued+1) / capacity; worst.Seconds() > 1.2*longest {
			t.Errorf("accepted requests take %v (p99), a full queue %.2f s", worst, longest)
		}
		if float64(served) < 0.8*capacity*seconds || refused < 8*served {
			t.Errorf("%d served and %d refused of ten times capacity", served, refused)
		}
		if doneAgain != done || lost > 0 || again.Seconds() > 1.1*before.Seconds() {
			t.Errorf("afterwards %d served, %d lost, p99 %v; before %d, p99 %v", doneAgain, lost, again, done, before)
		}
		stop()
		<-ran
	})
}
