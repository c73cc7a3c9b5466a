package runner

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"

	"radish/kernels"
	"radish/kernels/cpu"
	"radish/kernels/cuda"
	"radish/kernels/ref"
	"radish/server/engine"
	"radish/server/seq"
)

var _ engine.Runner = (*Runner)(nil)

// TestGreedyTogether: the three prompts of a golden, prefilled and decoded in one batch two steps ahead, continue as
// transformers says.
func TestGreedyTogether(t *testing.T) {
	for _, name := range []string{"llama3", "mistral", "qwen2", "qwen3-tied-f32"} {
		g := readGolden(t, name)
		r := start(t, name, oracle)
		var all []*request
		var b seq.Batch
		for i, c := range g.Cases {
			q := &request{slot: 3 - i, params: plain(), prompt: c.Prompt, first: seq.Page(10 * i)}
			all = append(all, q)
			b.Rows = append(b.Rows, q.chunk(0, len(q.prompt)))
		}
		do(t, r, &b, all...)
		decode(t, r, greedy, all...)
		for i, q := range all {
			if !slices.Equal(q.tokens(), g.Cases[i].Greedy) {
				t.Errorf("%s case %d: %v, want %v", name, i, q.tokens(), g.Cases[i].Greedy)
			}
		}
	}
}

// TestPromptScores compares the scores of a prompt longer than a slice of logits with the log-softmax of the golden
// rows.
func TestPromptScores(t *testing.T) {
	g := readGolden(t, "qwen3")
	r := start(t, "qwen3", oracle)
	c := g.Cases[2]
	q := &request{params: plain(), prompt: c.Prompt}
	q.params.PromptLogprobs, q.params.Logprobs = 2, 1
	row := q.chunk(0, len(c.Prompt))
	row.Targets = c.Prompt[1:]
	out := do(t, r, &seq.Batch{Rows: []seq.Row{row}}, q).Outputs[0]
	if len(out.Prompt) != len(c.Prompt)-1 || !out.Sampled {
		t.Fatalf("%d scores, sampled %v", len(out.Prompt), out.Sampled)
	}
	rows := g.rows[len(g.rows)-len(c.Positions):]
	for i, pos := range c.Positions {
		want, got := c.Greedy[0], out.Next
		if int(pos) < len(out.Prompt) {
			want, got = c.Prompt[pos+1], out.Prompt[pos]
		}
		logprob, rank := scoreOf(rows[i], want)
		if got.Token != want || math.Abs(float64(got.Logprob)-logprob) > 1e-4 || got.Rank != rank {
			t.Errorf("position %d: %+v, want token %d, %.5f, rank %d", pos, got, want, logprob, rank)
		}
		if best, _ := scoreOf(rows[i], got.Top[0].Token); math.Abs(best-float64(got.Top[0].Logprob)) > 1e-4 {
			t.Errorf("position %d: likeliest %+v, want %.5f", pos, got.Top[0], best)
		}
	}
}

// scoreOf is the log-probability and rank of a token, by the definition.
func scoreOf(logits []float32, token seq.Token) (float64, int) {
	sum, rank := 0.0, 1
	for _, v := range logits {
		sum += math.Exp(float64(v))
		if v > logits[token] {
			rank++
		}
	}
	return float64(logits[token]) - math.Log(sum), rank
}

// TestCacheHitChangesNothing: the scores of every continuation are the same bits whether the prompt runs at once, in
// chunks, beside others, or over pages that another sequence left, a partial one copied.
func TestCacheHitChangesNothing(t *testing.T) {
	for path, open := range backends(t) {
		for _, name := range []string{"llama3", "mistral", "qwen2-window", "qwen3"} {
			t.Run(name+"/"+path, func(t *testing.T) {
				r := start(t, name, open)
				prompt := readGolden(t, name).Cases[2].Prompt
				want := whole(t, r, prompt)
				for what, f := range map[string]func(testing.TB, *Runner, []seq.Token) []seq.Scored{
					"again": whole, "chunks": chunks, "beside others": beside, "reused pages": reused,
				} {
					if got := f(t, r, prompt); !reflect.DeepEqual(got, want) {
						t.Errorf("%s: %+v\nwant %+v", what, got, want)
					}
				}
			})
		}
	}
}

// backends are the oracle and every path of the CPU that this machine can run, and the GPU where make gputest asks for
// it, in both activation types.
func backends(t *testing.T) map[string]func() kernels.Backend {
	all := map[string]func() kernels.Backend{}
	for _, act := range []kernels.DType{kernels.F32, kernels.BF16} {
		all[fmt.Sprint("ref-", act)] = func() kernels.Backend { return ref.New(act) }
		for _, force := range cpu.Paths() {
			all[fmt.Sprint(force, "-", act)] = func() kernels.Backend {
				b, err := cpu.New(cpu.Options{Act: act, Force: force, Threads: 2})
				must(t, err)
				return b
			}
		}
		if os.Getenv("RADISH_GPU") != "" {
			all[fmt.Sprint("cuda-", act)] = func() kernels.Backend {
				b, err := cuda.New(cuda.Options{Act: act, Invariant: true, Arch: os.Getenv("RADISH_GPU_ARCH")})
				must(t, err)
				return b
			}
		}
	}
	return all
}

// scoring is a request that samples by temperature and reports every token's five likeliest.
func scoring(slot int, prompt []seq.Token, first seq.Page) *request {
	q := &request{slot: slot, params: plain(), prompt: prompt, first: first}
	q.params.Temperature, q.params.Seed, q.params.Logprobs = 1, 7, 5
	return q
}

func whole(t testing.TB, r *Runner, prompt []seq.Token) []seq.Scored {
	q := scoring(0, prompt, 0)
	do(t, r, &seq.Batch{Rows: []seq.Row{q.chunk(0, len(prompt))}}, q)
	decode(t, r, 8, q)
	return q.made
}

func chunks(t testing.TB, r *Runner, prompt []seq.Token) []seq.Scored {
	q := scoring(2, prompt, 20)
	for from := 0; from < len(prompt); {
		to := min(from+1+rand.IntN(30), len(prompt))
		do(t, r, &seq.Batch{Rows: []seq.Row{q.chunk(from, to)}}, q)
		from = to
	}
	decode(t, r, 8, q)
	return q.made
}

func beside(t testing.TB, r *Runner, prompt []seq.Token) []seq.Scored {
	a, q, z := scoring(3, prompt[50:70], 0), scoring(1, prompt, 10), scoring(2, prompt[:1], 30)
	a.params.Seed = 8
	do(t, r, &seq.Batch{Rows: []seq.Row{a.chunk(0, 20), q.chunk(0, len(prompt)), z.chunk(0, 1)}}, a, q, z)
	decode(t, r, 8, a, q, z)
	return q.made
}

// reused computes the first 53 positions in one place, shares three whole pages of them and copies five positions of
// the fourth.
func reused(t testing.TB, r *Runner, prompt []seq.Token) []seq.Scored {
	old, q := scoring(0, slices.Concat(prompt[:53], prompt[:3]), 0), scoring(1, prompt, 20)
	do(t, r, &seq.Batch{Rows: []seq.Row{old.chunk(0, 56)}}, old)
	shared := func(row seq.Row) seq.Row {
		copy(row.Pages, []seq.Page{0, 1, 2})
		return row
	}
	do(t, r, &seq.Batch{
		Copies: []seq.PageCopy{{Src: 3, Dst: 23, Tokens: 5}},
		Rows:   []seq.Row{shared(q.chunk(53, len(prompt)))},
	}, q)
	for n := 1; n < 8; n++ {
		do(t, r, &seq.Batch{Rows: []seq.Row{shared(q.next(n))}}, q)
	}
	return q.made
}
