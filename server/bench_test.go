package server

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"

	"radish/provision/builtin"
	"radish/server/engine"
	"radish/server/sched"
	"radish/server/seq"
)

// BenchmarkPrefixCache is the processor time of one thread for an output token of the builtin model, without HTTP, with
// the prefix cache on and off: processor time, because neighbours on a shared machine move it less than the clock on the
// wall. 16 users, answers of 8 tokens.
func BenchmarkPrefixCache(b *testing.B) {
	for _, load := range []struct {
		name  string
		turns [][2]int // of each turn: tokens that all users share, tokens of its own
	}{
		{"nothing shared", [][2]int{{0, 1000}}},
		{"rag 95 %", [][2]int{{950, 50}}},
		{"five turns", [][2]int{{0, 300}, {0, 300}, {0, 300}, {0, 300}, {0, 300}}},
	} {
		for _, mode := range []string{"on", "off"} {
			b.Run(load.name+"/"+mode, func(b *testing.B) {
				core := builtinCore(b)
				defer core.Close()
				ctx, stop := context.WithCancel(context.Background())
				ran := make(chan error, 1)
				go func() { ran <- core.Run(ctx) }()
				tokens, before := 0, processorSeconds(b)
				for round := range b.N {
					tokens += askAll(ctx, b, core, round, load.turns, mode == "off")
				}
				b.ReportMetric((processorSeconds(b)-before)/float64(tokens)*1e3, "cpu-ms/token")
				stop()
				<-ran
			})
		}
	}
}

func builtinCore(b *testing.B) *Core {
	b.Helper()
	cfg := Config{Compute: ComputeConfig{Threads: 1}, Memory: Machine{Available: 4 << 30},
		Model: ModelConfig{Path: "builtin", Files: builtin.FS(), SkipTokenizer: true}}
	cfg.Sched.Policy = sched.LPM
	plan, err := MakePlan(cfg)
	if err != nil {
		b.Fatal(err)
	}
	core, err := NewCore(cfg, plan, nil)
	if err != nil {
		b.Fatal(err)
	}
	return core
}

func processorSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// askAll has 16 users hold one conversation each and returns how many tokens they got.
func askAll(ctx context.Context, b *testing.B, core *Core, round int, turns [][2]int, off bool) int {
	const users, most = 16, 8
	var wg sync.WaitGroup
	draw := func(rng *rand.Rand, n int) (ids []seq.Token) {
		for range n {
			ids = append(ids, seq.Token(10+rng.IntN(3000)))
		}
		return ids
	}
	for user := range users {
		wg.Go(func() {
			own, all := rand.New(rand.NewPCG(uint64(round), uint64(user))), rand.New(rand.NewPCG(7, 7))
			var history []seq.Token
			for _, turn := range turns {
				history = slices.Concat(history, draw(all, turn[0]), draw(own, turn[1]))
				s, err := core.Engine.Submit(engine.Request{Prompt: history, Uncached: off, Params: seq.Params{
					MaxTokens: most, TopP: 1, Repetition: 1, IgnoreEOS: true, Logprobs: -1, PromptLogprobs: -1}})
				if err != nil {
					b.Error(err)
					return
				}
				for ev, err := s.Next(ctx); err == nil; ev, err = s.Next(ctx) {
					for _, t := range ev.Tokens {
						history = append(slices.Clip(history), t.Token)
					}
				}
			}
		})
	}
	wg.Wait()
	return users * most * len(turns)
}
