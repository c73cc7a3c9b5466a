package engine

import (
	"context"
	"testing"

	"radish/server/sched"
	"radish/server/seq"
)

// instant is a Runner that answers at once, without allocating.
type instant struct {
	results  [2]seq.Result
	launched []*seq.Batch
}

func (r *instant) Launch(b *seq.Batch) error { r.launched = append(r.launched, b); return nil }
func (r *instant) Close() error              { return nil }

func (r *instant) Collect() (*seq.Result, error) {
	b := r.launched[0]
	r.launched = r.launched[:copy(r.launched, r.launched[1:])]
	res := &r.results[b.Step%2]
	res.Step, res.Outputs = b.Step, res.Outputs[:0]
	for i := range b.Rows {
		if b.Rows[i].Sample {
			res.Outputs = append(res.Outputs, seq.Output{ID: b.Rows[i].ID, Sampled: true, Next: seq.Scored{Token: 7}})
		}
	}
	return res, nil
}

// BenchmarkDecodeStep is the engine's whole share of a decode step of 256 sequences: build, launch, read, events.
func BenchmarkDecodeStep(b *testing.B) {
	const seqs, most = 256, 1 << 14
	e, err := New(Config{Pages: seqs * most / 16, PageSize: 16, MaxSeqs: seqs, ChunkTokens: 8192,
		ContextLength: most}, &instant{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	for i := range seqs {
		if _, err := e.Submit(newReq(tokens(i*100, 64), most-64)); err != nil {
			b.Fatal(err)
		}
	}
	e.turn()
	step := func() {
		for e.sched.Launched() < 2 {
			if _, err := e.launch(); err != nil {
				b.Fatal(err)
			}
		}
		if err := e.read(e.collect()); err != nil {
			b.Fatal(err)
		}
	}
	for range 100 {
		step()
	}
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}

// BenchmarkRequest is one request of 64+16 tokens through a running engine on an instant runner.
func BenchmarkRequest(b *testing.B) {
	e, err := New(Config{Pages: 4096, PageSize: 16, MaxSeqs: 64, ChunkTokens: 2048, ContextLength: 4096}, &instant{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	for b.Loop() {
		s, err := e.Submit(newReq(tokens(0, 64), 16))
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := s.Next(ctx); err != nil {
				break
			}
		}
	}
	stop()
	<-done
}

// BenchmarkUniqueRequest is the engine's share of a request of 512+8 tokens that shares nothing, with 100 users on 64
// slots and a pool that has long been full: what a prefix cache costs where it brings nothing. "tree" reads and feeds the
// tree and evicts for every request, "uncached" has a tree and leaves it alone, "no tree" is DisableRadix.
func BenchmarkUniqueRequest(b *testing.B) {
	const users, prompt, most = 100, 512, 8
	for _, mode := range []string{"tree", "uncached", "no tree"} {
		b.Run(mode, func(b *testing.B) {
			e, err := New(Config{Pages: 1 << 14, PageSize: 16, MaxSeqs: 64, ChunkTokens: 512, ContextLength: 2048,
				Policy: sched.LPM, DisableRadix: mode == "no tree"}, &instant{}, nil)
			if err != nil {
				b.Fatal(err)
			}
			sent, ended := 0, func() int { s := e.Stats().Requests; return int(s.Length) }
			turn := func() {
				for ; sent < ended()+users; sent++ {
					r := newReq(tokens(sent*prompt, prompt), most)
					r.Uncached = mode == "uncached"
					if _, err := e.Submit(r); err != nil {
						b.Fatal(err)
					}
				}
				e.turn()
				for e.sched.Launched() < 2 {
					if ok, err := e.launch(); err != nil {
						b.Fatal(err)
					} else if !ok {
						break
					}
				}
				if err := e.read(e.collect()); err != nil {
					b.Fatal(err)
				}
			}
			for ended() < 2000 { // until the pool is full
				turn()
			}
			for b.Loop() {
				for before := ended(); ended() == before; {
					turn()
				}
			}
		})
	}
}
