package server_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"radish/server"
	"radish/server/engine"
	"radish/server/seq"
)

// TestGreedyLikeTheCPU: in bfloat16, the builtin model's greedy answers are those of the CPU, token for token, but for
// ties: where they part, the CPU's two likeliest tokens lie within rounding of each other, and the test shows them.
func TestGreedyLikeTheCPU(t *testing.T) {
	if os.Getenv("RADISH_GPU") == "" {
		t.Skip("needs a GPU: make gputest")
	}
	cpu, gpu := config(), config()
	cpu.Model.Float32, gpu.Model.Float32 = false, false
	cpu.Compute = server.ComputeConfig{}
	gpu.Compute.Invariant = false
	want, got := greedy(t, cpu), greedy(t, gpu)
	ties := 0
	for i := range want {
		for j := range want[i] {
			w, g := want[i][j], got[i][j]
			if w.Token == g.Token {
				continue
			}
			gap := w.Top[0].Logprob - w.Top[1].Logprob
			t.Logf("prompt %d parts at token %d: the CPU says %d (%.4f) before %d (%.4f), the GPU %d", i, j,
				w.Top[0].Token, w.Top[0].Logprob, w.Top[1].Token, w.Top[1].Logprob, g.Token)
			if gap > 0.05 || g.Token != w.Top[1].Token {
				t.Errorf("prompt %d, token %d: no tie, the gap is %.4f", i, j, gap)
			}
			ties++
			break // what follows is another text
		}
	}
	if ties > len(want)/10 {
		t.Errorf("%d of %d answers part", ties, len(want))
	}
}

// greedy continues 64 prompts of the goldens' tokens, all at once.
func greedy(t *testing.T, cfg server.Config) [][]seq.Scored {
	t.Helper()
	plan, err := server.MakePlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	core, err := server.NewCore(cfg, plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- core.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
		if err := core.Close(); err != nil {
			t.Error(err)
		}
	}()
	var streams []*engine.Stream
	for i := range 64 {
		g := goldens(t)[i%len(goldens(t))]
		var prompt []seq.Token
		for _, id := range g.Prompts[:len(g.Prompts)-i/len(goldens(t))%4] {
			prompt = append(prompt, seq.Token(id))
		}
		s, err := core.Engine.Submit(engine.Request{Prompt: prompt, Params: seq.Params{
			MaxTokens: 48, TopP: 1, Repetition: 1, IgnoreEOS: true, Logprobs: 2, PromptLogprobs: -1,
		}})
		if err != nil {
			t.Fatal(fmt.Errorf("submit: %w", err))
		}
		streams = append(streams, s)
	}
	out := make([][]seq.Scored, len(streams))
	for i, s := range streams {
		for {
			ev, err := s.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			out[i] = append(out[i], ev.Tokens...)
			if ev.Finish != nil {
				break
			}
		}
		if len(out[i]) != 48 {
			t.Fatalf("prompt %d made %d tokens", i, len(out[i]))
		}
	}
	return out
}
