package runner

import (
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"radish/kernels"
	"radish/server/model"
	"radish/server/seq"
	"radish/server/weights"
)

// TestUniform: the numbers are in range, even, different for neighbours, and the same on every machine and day.
func TestUniform(t *testing.T) {
	sum, seen := 0.0, map[float64]bool{}
	for seed := range uint64(100) {
		for pos := range 100 {
			u := uniform(seed, pos)
			if u < 0 || u >= 1 || seen[u] {
				t.Fatalf("uniform(%d, %d) = %v", seed, pos, u)
			}
			seen[u] = true
			sum += u
		}
	}
	if mean := sum / 1e4; math.Abs(mean-0.5) > 0.01 {
		t.Errorf("mean %v", mean)
	}
}

// TestPenaltiesAndBias drive a greedy request by rules that leave one answer.
func TestPenaltiesAndBias(t *testing.T) {
	r := start(t, "qwen2", oracle)
	c := readGolden(t, "qwen2").Cases[1] // continues with few different tokens when left alone
	run := func(change func(*seq.Params)) []seq.Token {
		q := &request{params: plain(), prompt: c.Prompt}
		change(&q.params)
		do(t, r, &seq.Batch{Rows: []seq.Row{q.chunk(0, len(c.Prompt))}}, q)
		decode(t, r, 20, q)
		return q.tokens()
	}
	free := run(func(*seq.Params) {})
	if !slices.Equal(free, c.Greedy[:20]) || different(free) == 20 {
		t.Fatalf("left alone: %v", free)
	}
	present := run(func(p *seq.Params) { p.Presence = 1e6 })
	if different(present) != 20 {
		t.Errorf("presence penalty repeats: %v", present)
	}
	if got := run(func(p *seq.Params) { p.Presence = 1e6 }); !slices.Equal(got, present) {
		t.Errorf("the slot counts the request before: %v, want %v", got, present)
	}
	if got := run(func(p *seq.Params) { p.Frequency = 1e6 }); different(got) != 20 {
		t.Errorf("frequency penalty repeats: %v", got)
	}
	if got := run(func(p *seq.Params) { p.Repetition = 1e6 }); slices.ContainsFunc(got, func(x seq.Token) bool { return slices.Contains(c.Prompt, x) }) {
		t.Errorf("repetition penalty repeats the prompt: %v", got)
	}
	bias := []seq.Bias{{Token: 5, Value: 1e6}}
	if got := run(func(p *seq.Params) { p.Bias = bias }); different(got) != 1 || got[0] != 5 {
		t.Errorf("biased: %v", got)
	}
	got := run(func(p *seq.Params) { p.Bias, p.Stop, p.MinTokens = bias, []seq.Token{5}, 3 })
	if i := slices.Index(got, 5); i != 3 {
		t.Errorf("stop token first at %d of %v, want 3", i, got)
	}
	if got := run(func(*seq.Params) {}); !slices.Equal(got, free) {
		t.Errorf("the slot remembers the request before: %v", got)
	}
}

func different(tokens []seq.Token) int {
	return len(slices.Compact(slices.Sorted(slices.Values(tokens))))
}

// TestHistory: after a retraction a sequence goes on as if nothing had happened, penalties included.
func TestHistory(t *testing.T) {
	r := start(t, "llama3", oracle)
	prompt := readGolden(t, "llama3").Cases[1].Prompt
	make1 := func() *request {
		q := &request{params: plain(), prompt: prompt}
		q.params.Frequency, q.params.Temperature, q.params.Seed, q.params.MinTokens = 1, 0.8, 3, 12
		q.params.Stop = []seq.Token{4, 5, 6}
		return q
	}
	q := make1()
	do(t, r, &seq.Batch{Rows: []seq.Row{q.chunk(0, len(prompt))}}, q)
	decode(t, r, 16, q)
	want := q.tokens()

	again := make1()
	again.slot, again.first = 2, 20
	again.prompt = slices.Concat(prompt, want[:9])
	row := again.chunk(0, len(again.prompt))
	row.Fresh.Prompt = len(prompt)
	do(t, r, &seq.Batch{Rows: []seq.Row{row}}, again)
	decode(t, r, 7, again)
	if got := again.tokens(); !slices.Equal(got, want[9:]) {
		t.Errorf("after retraction %v, want %v", got, want[9:])
	}
}

// TestOrder: at most two steps in flight, nothing to collect from an idle runner, nothing to launch on a closed one.
func TestOrder(t *testing.T) {
	r := start(t, "llama3", oracle)
	if _, err := r.Collect(); !errors.Is(err, ErrIdle) {
		t.Errorf("idle: %v", err)
	}
	for range MaxInFlight {
		must(t, r.Launch(&seq.Batch{}))
	}
	if err := r.Launch(&seq.Batch{}); !errors.Is(err, ErrInFlight) {
		t.Errorf("third step: %v", err)
	}
	for range MaxInFlight {
		collect(t, r)
	}
	must(t, r.Close())
	if err := r.Launch(&seq.Batch{}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestBadBatches: what reaches outside the runner's memory is an error, not a panic, and the runner stays broken.
func TestBadBatches(t *testing.T) {
	prompt := []seq.Token{3, 4, 5}
	for want, spoil := range map[string]func(*seq.Batch){
		"slot 4 of 4":         func(b *seq.Batch) { b.Rows[0].Slot = 4 },
		"0 pages":             func(b *seq.Batch) { b.Rows[0].Pages = nil },
		"page 40":             func(b *seq.Batch) { b.Rows[0].Pages = []seq.Page{40} },
		"token 300":           func(b *seq.Batch) { b.Rows[0].Tokens = []seq.Token{1, 300, 2} },
		"token -1":            func(b *seq.Batch) { b.Rows[0].Targets = []seq.Token{-1} },
		"2 tokens":            func(b *seq.Batch) { b.Rows[0].Tokens = prompt[:2] },
		"4 targets":           func(b *seq.Batch) { b.Rows[0].Targets = make([]seq.Token, 4) },
		"0 positions":         func(b *seq.Batch) { b.Rows[0].N, b.Rows[0].Tokens = 0, prompt[:0] },
		"outside the pool":    func(b *seq.Batch) { b.Copies = []seq.PageCopy{{Src: 0, Dst: 40, Tokens: 1}} },
		"rows, more than 164": func(b *seq.Batch) { b.Rows[0].N = 165 },
	} {
		r := start(t, "llama3", oracle)
		q := &request{params: plain(), prompt: prompt}
		b := &seq.Batch{Step: 9, Rows: []seq.Row{q.chunk(0, 3)}}
		spoil(b)
		must(t, r.Launch(b))
		_, err := r.Collect()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "step 9") {
			t.Errorf("error %v, want %q", err, want)
		}
		must(t, r.Launch(&seq.Batch{}))
		if _, after := r.Collect(); after != err {
			t.Errorf("step after: %v, want %v", after, err)
		}
	}
}

// faulty panics or fails where a test wants it to.
type faulty struct {
	kernels.Backend
	panics bool
	run    error
	pool   error
	closed *int
}

func (f *faulty) NewKV(s kernels.KVShape) (kernels.KV, error) {
	if f.pool != nil {
		return nil, f.pool
	}
	return f.Backend.NewKV(s)
}

func (f *faulty) Begin(r *kernels.Ragged) {
	if f.panics {
		panic("index out of range")
	}
	f.Backend.Begin(r)
}

func (f *faulty) Run() error {
	return errors.Join(f.run, f.Backend.Run())
}

func (f *faulty) Close() error { *f.closed++; return f.Backend.Close() }

// TestFaults: a panic and an error inside a step come out of Collect; a pool that cannot be had comes out of New, which
// closes the backend.
func TestFaults(t *testing.T) {
	lost := errors.New("device lost")
	closed := 0
	f := &faulty{Backend: oracle(), closed: &closed}
	r := start(t, "llama3", func() kernels.Backend { return f })
	f.run = lost
	must(t, r.Launch(&seq.Batch{}))
	if _, err := r.Collect(); !errors.Is(err, lost) {
		t.Errorf("run: %v", err)
	}
	must(t, r.Close())
	must(t, r.Close())
	if closed != 1 {
		t.Errorf("backend closed %d times", closed)
	}

	r = start(t, "llama3", func() kernels.Backend { return &faulty{Backend: oracle(), closed: &closed, panics: true} })
	q := &request{params: plain(), prompt: []seq.Token{3}}
	must(t, r.Launch(&seq.Batch{Rows: []seq.Row{q.chunk(0, 1)}}))
	if _, err := r.Collect(); err == nil || !strings.Contains(err.Error(), "panic: index out of range") {
		t.Errorf("panic: %v", err)
	}

	closed = 0
	cfg, err := weights.ReadConfig(os.DirFS(tiny + "/llama3"))
	must(t, err)
	spec, err := model.New(cfg)
	must(t, err)
	_, err = New(Options{
		Open: func() (kernels.Backend, error) {
			return &faulty{Backend: oracle(), closed: &closed, pool: lost}, nil
		}, Spec: spec,
		Source: weights.Dummy(cfg, 1, kernels.BF16), Pages: 1, PageSize: 1, MaxSeqs: 1, ChunkTokens: 1,
	})
	if !errors.Is(err, lost) || closed != 1 {
		t.Errorf("no pool: %v, closed %d times", err, closed)
	}
}

// TestMemory: what New says it allocated is what the plan promised.
func TestMemory(t *testing.T) {
	cfg, err := weights.ReadConfig(os.DirFS(tiny + "/llama3"))
	must(t, err)
	spec, err := model.New(cfg)
	must(t, err)
	plan := spec.Plan(kernels.F32, model.Room{Rows: 164})
	got := start(t, "llama3", oracle).Memory()
	for what, pair := range map[string][2]int64{
		"weights": {got.Weights, plan.Weights}, "KV": {got.KV, plan.KVPerToken * 40 * pageSize},
		"workspace": {got.Workspace, plan.Workspace},
		"total":     {got.Total(), plan.Weights + plan.KVPerToken*40*pageSize + plan.Workspace},
	} {
		if math.Abs(float64(pair[0]-pair[1])) > 0.02*float64(pair[1]) {
			t.Errorf("%s: %d bytes, planned %d", what, pair[0], pair[1])
		}
	}
}
