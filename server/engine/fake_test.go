package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"radish/server/seq"
)

// shadow is a Runner without a model. Its KV memory holds, for every position of every page, a hash of the token there
// and of all tokens before it. Each row is verified against that memory: the page table must hold exactly the
// sequence's prefix, so a wrong reuse, a page freed too early or a bad copy is found in the step where it happens. The
// next token is a function of that hash, so a wrong memory also changes answers.
type shadow struct {
	mu       sync.Mutex
	pageSize int
	vocab    int
	cells    [][]uint64 // [page][position]
	slots    []shadowSlot
	queue    []shadowStep
	lazy     bool // compute at Collect, the latest moment, instead of at Launch
	delay    func() time.Duration
	onLaunch func(*seq.Batch) error
	failAt   uint64 // this step breaks the runner
	panicAt  uint64
	computed int // prefill positions
	steps    []string
}

type shadowSlot struct {
	id     seq.ID
	params seq.Params
	prompt int
	tokens []seq.Token
}

type shadowStep struct {
	b     *seq.Batch
	print string // what the batch was at Launch
	res   *seq.Result
	err   error
}

func newShadow(cfg Config) *shadow {
	f := &shadow{pageSize: cfg.PageSize, vocab: 50, slots: make([]shadowSlot, cfg.MaxSeqs)}
	for range cfg.Pages {
		f.cells = append(f.cells, make([]uint64, cfg.PageSize))
	}
	return f
}

func chain(before uint64, t seq.Token) uint64 {
	x := before ^ (uint64(t)+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	return x ^ x>>27
}

func chainAll(tokens []seq.Token) uint64 {
	h := uint64(1)
	for _, t := range tokens {
		h = chain(h, t)
	}
	return h
}

// choose is the fake's sampler: a function of prefix, position and seed alone.
func (f *shadow) choose(h uint64, pos, prompt int, p seq.Params) seq.Token {
	x := chain(h^p.Seed, seq.Token(pos))
	for {
		t := seq.Token(x % uint64(f.vocab))
		if pos+1-prompt >= p.MinTokens || !slices.Contains(p.Stop, t) {
			return t
		}
		x++
	}
}

func score(h uint64) float32 { return -float32(h%1000) / 100 }

func (f *shadow) Launch(b *seq.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b.Step == f.panicAt {
		panic("device caught fire")
	}
	if f.onLaunch != nil {
		if err := f.onLaunch(b); err != nil {
			return err
		}
	}
	f.steps = append(f.steps, describe(b))
	if len(f.queue) == 2 {
		return errors.New("three steps launched")
	}
	if err := f.conflict(b); err != nil {
		return err
	}
	s := shadowStep{b: b, print: fingerprint(b)}
	if !f.lazy {
		s.res, s.err = f.run(b)
	}
	f.queue = append(f.queue, s)
	return nil
}

func (f *shadow) Collect() (*seq.Result, error) {
	if f.delay != nil {
		time.Sleep(f.delay())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.queue[0]
	f.queue = f.queue[1:]
	if s.b.Step == f.failAt {
		return nil, errors.New("device fell off the bus")
	}
	if s.print != fingerprint(s.b) {
		return nil, fmt.Errorf("step %d was changed while it was launched", s.b.Step)
	}
	if f.lazy {
		s.res, s.err = f.run(s.b)
	}
	return s.res, s.err
}

func (f *shadow) Close() error { return nil }

func (f *shadow) run(b *seq.Batch) (*seq.Result, error) {
	res := &seq.Result{Step: b.Step, Device: time.Millisecond}
	for _, c := range b.Copies {
		copy(f.cells[c.Dst][:c.Tokens], f.cells[c.Src])
	}
	for i := range b.Rows {
		out, any, err := f.row(&b.Rows[i])
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", b.Step, err)
		}
		if any {
			res.Outputs = append(res.Outputs, out)
		}
	}
	return res, nil
}

func (f *shadow) row(r *seq.Row) (out seq.Output, any bool, err error) {
	s := &f.slots[r.Slot]
	if r.Fresh != nil {
		*s = shadowSlot{r.ID, r.Fresh.Params, r.Fresh.Prompt, slices.Clone(r.Fresh.History)}
	}
	if s.id != r.ID {
		return out, false, fmt.Errorf("slot %d serves %d, row is of %d", r.Slot, s.id, r.ID)
	}
	if r.Tokens == nil && (r.N != 1 || r.Start != len(s.tokens)-1) {
		return out, false, fmt.Errorf("sequence %d: row at %d+%d cannot continue %d tokens", r.ID, r.Start, r.N, len(s.tokens))
	}
	if r.Tokens != nil && !slices.Equal(r.Tokens, s.tokens[r.Start:r.Start+r.N]) {
		return out, false, fmt.Errorf("sequence %d: row's tokens are not the history's", r.ID)
	}
	if r.Tokens != nil {
		f.computed += r.N
	}
	h := uint64(1)
	for p := 0; p < r.Start+r.N; p++ {
		h = chain(h, s.tokens[p])
		cell := &f.cells[r.Pages[p/f.pageSize]][p%f.pageSize]
		if p >= r.Start {
			*cell = h
			if i := p - r.Start; i < len(r.Targets) {
				out.Prompt = append(out.Prompt, seq.Scored{Token: r.Targets[i], Logprob: score(h)})
			}
		} else if *cell != h {
			return out, false, fmt.Errorf("sequence %d: page %d does not hold position %d", r.ID, r.Pages[p/f.pageSize], p)
		}
	}
	out.ID = r.ID
	if r.Sample {
		out.Sampled = true
		out.Next = seq.Scored{Token: f.choose(h, r.Start+r.N-1, s.prompt, s.params)}
		s.tokens = append(s.tokens, out.Next.Token)
	}
	return out, r.Sample || len(out.Prompt) > 0, nil
}

// alone is the answer that the fake gives to a prompt without any engine.
func (f *shadow) alone(prompt []seq.Token, p seq.Params, limit int) ([]seq.Token, Reason) {
	tokens := slices.Clone(prompt)
	for n := 1; n <= min(p.MaxTokens, limit-len(prompt)); n++ {
		t := f.choose(chainAll(tokens), len(tokens)-1, len(prompt), p)
		tokens = append(tokens, t)
		if n > p.MinTokens && slices.Contains(p.Stop, t) {
			return tokens[len(prompt):], ReasonStop
		}
	}
	return tokens[len(prompt):], ReasonLength
}

// describe writes a batch as "id:start+n" for each row, with "s" where it samples.
func describe(b *seq.Batch) string {
	text := ""
	for i := range b.Rows {
		r := &b.Rows[i]
		if text += fmt.Sprintf("%d:%d+%d", r.ID, r.Start, r.N); r.Sample {
			text += "s"
		}
		text += " "
	}
	return text
}

// fingerprint is everything that a batch refers to, as text.
func fingerprint(b *seq.Batch) string { return fmt.Sprintf("%v %v", *b, b.Copies) }

// conflict reports a page that b writes although another sequence's launched row refers to it, and a slot that b
// gives to another sequence while a launched row is on it.
func (f *shadow) conflict(b *seq.Batch) error {
	for _, s := range f.queue {
		for _, old := range s.b.Rows {
			for i := range b.Rows {
				r := &b.Rows[i]
				if r.ID == old.ID {
					continue
				}
				if r.Slot == old.Slot {
					return fmt.Errorf("step %d gives slot %d from %d to %d too early", b.Step, r.Slot, old.ID, r.ID)
				}
				for _, p := range r.Pages[r.Start/f.pageSize:] {
					if slices.Contains(old.Pages, p) {
						return fmt.Errorf("step %d writes page %d of %d, which %d is reading", b.Step, p, r.ID, old.ID)
					}
				}
			}
		}
		for _, c := range s.b.Copies {
			for i := range b.Rows {
				if slices.Contains(b.Rows[i].Pages[b.Rows[i].Start/f.pageSize:], c.Src) {
					return fmt.Errorf("step %d writes page %d, which is being copied", b.Step, c.Src)
				}
			}
		}
	}
	return nil
}
