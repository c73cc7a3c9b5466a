package runner

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"radish/kernels"
	"radish/kernels/ref"
	"radish/server/model"
	"radish/server/seq"
	"radish/server/weights"
)

const (
	tiny     = "../model/testdata"
	pageSize = 16
	greedy   = 32 // tokens that a golden continues
)

// golden is what transformers says of a tiny model (scripts/goldens).
type golden struct {
	Vocab int
	Cases []struct{ Prompt, Positions, Greedy []seq.Token }
	rows  [][]float32 // the kept logits, case after case
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func readGolden(t testing.TB, name string) *golden {
	t.Helper()
	g := new(golden)
	text, err := os.ReadFile(filepath.Join(tiny, name, "golden.json"))
	must(t, err)
	must(t, json.Unmarshal(text, g))
	raw, err := os.ReadFile(filepath.Join(tiny, name, "logits.f32"))
	must(t, err)
	all := make([]float32, len(raw)/4)
	_, err = binary.Decode(raw, binary.LittleEndian, all)
	must(t, err)
	for ; len(all) > 0; all = all[g.Vocab:] {
		g.rows = append(g.rows, all[:g.Vocab])
	}
	return g
}

// start makes a runner of 40 pages and 4 slots for a tiny model; open is called on the runner's thread.
func start(t testing.TB, name string, open func() kernels.Backend) *Runner {
	t.Helper()
	dir := filepath.Join(tiny, name)
	cfg, err := weights.ReadConfig(os.DirFS(dir))
	must(t, err)
	spec, err := model.New(cfg)
	must(t, err)
	src, err := weights.Open(dir)
	must(t, err)
	defer src.Close()
	r, err := New(Options{
		Open: func() (kernels.Backend, error) { return open(), nil }, Spec: spec, Source: src,
		Pages: 40, PageSize: pageSize, MaxSeqs: 4, ChunkTokens: 160,
	})
	must(t, err)
	t.Cleanup(func() { must(t, r.Close()) })
	return r
}

func oracle() kernels.Backend { return ref.New(kernels.F32) }

// plain are the parameters of a greedy request that wants nothing special.
func plain() seq.Params {
	return seq.Params{TopP: 1, Repetition: 1, Logprobs: -1, PromptLogprobs: -1}
}

// request is one sequence as a test drives it; first is the number of its first page.
type request struct {
	slot   int
	params seq.Params
	prompt []seq.Token
	first  seq.Page
	made   []seq.Scored
}

func (q *request) pages(n int) []seq.Page {
	var p []seq.Page
	for i := range (n + pageSize - 1) / pageSize {
		p = append(p, q.first+seq.Page(i))
	}
	return p
}

// chunk is the row of prompt positions [from, to); the last one samples.
func (q *request) chunk(from, to int) seq.Row {
	return seq.Row{
		ID: seq.ID(q.slot + 1), Slot: q.slot, Tokens: q.prompt[from:to], Start: from, N: to - from, Pages: q.pages(to),
		Sample: to == len(q.prompt),
		Fresh:  &seq.Fresh{Params: q.params, History: q.prompt, Prompt: len(q.prompt)},
	}
}

// next is the row that continues with the slot's last token, n tokens having been sampled.
func (q *request) next(n int) seq.Row {
	at := len(q.prompt) + n - 1
	return seq.Row{ID: seq.ID(q.slot + 1), Slot: q.slot, Start: at, N: 1, Pages: q.pages(at + 1), Sample: true}
}

// do runs one step and files what was sampled.
func do(t testing.TB, r *Runner, b *seq.Batch, requests ...*request) *seq.Result {
	t.Helper()
	must(t, r.Launch(b))
	return collect(t, r, requests...)
}

func collect(t testing.TB, r *Runner, requests ...*request) *seq.Result {
	t.Helper()
	result, err := r.Collect()
	must(t, err)
	for _, out := range result.Outputs {
		for _, q := range requests {
			if out.Sampled && out.ID == seq.ID(q.slot+1) {
				q.made = append(q.made, out.Next)
			}
		}
	}
	return result
}

// decode continues the requests together until each has n tokens, two steps in flight.
func decode(t testing.TB, r *Runner, n int, requests ...*request) {
	t.Helper()
	flying := 0
	for made := len(requests[0].made); made < n; made++ {
		var b seq.Batch
		for _, q := range requests {
			b.Rows = append(b.Rows, q.next(made))
		}
		must(t, r.Launch(&b))
		if flying++; flying == MaxInFlight {
			collect(t, r, requests...)
			flying--
		}
	}
	for ; flying > 0; flying-- {
		collect(t, r, requests...)
	}
}

func (q *request) tokens() []seq.Token {
	var out []seq.Token
	for _, s := range q.made {
		out = append(out, s.Token)
	}
	return out
}
