package sched

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"radish/server/seq"
)

// uncachedWorld is a load with shared prefixes, arrivals over time and a pool that is now and then too small.
func uncachedWorld(t *testing.T, seed uint64, disable bool) (steps []string) {
	rng := rand.New(rand.NewPCG(seed, 3))
	r := newRig(t, Config{
		Pages: 40 + rng.IntN(80), PageSize: []int{1, 4, 16}[rng.IntN(3)], MaxSeqs: 1 + rng.IntN(6),
		ChunkTokens: []int{0, 7, 32}[rng.IntN(3)], ContextLength: 200, Policy: Policy(rng.IntN(5)), Seed: seed,
		Conservativeness: 0.001, DisableRadix: disable,
	})
	shared := tokens(0, 30)
	for range 200 {
		if rng.IntN(3) == 0 && r.lastID < 30 {
			r.lastID++
			prompt := slices.Concat(shared[:rng.IntN(31)], tokens(100+rng.IntN(50), 1+rng.IntN(8)))
			task := &Task{Seq: seq.Seq{ID: r.lastID, Tokens: prompt, Uncached: true, Priority: rng.IntN(3),
				Params: seq.Params{MaxTokens: 1 + rng.IntN(40), PromptLogprobs: -1}}}
			_ = r.Add(task) // too long for a small pool: in both worlds
		}
		r.step()
		steps = append(steps, spell(&r.batch))
	}
	if !disable && (r.tree.Cached() > 0 || r.Stats().Cached > 0 || r.Stats().Evicted > 0) {
		t.Errorf("seed %d: uncached sequences used the tree: %+v", seed, r.Stats())
	}
	return steps
}

// spell writes a batch out in full, Fresh by value.
func spell(b *seq.Batch) string {
	out := fmt.Sprint(b.Copies)
	for _, row := range b.Rows {
		if row.Fresh != nil {
			out += fmt.Sprintf(" fresh%+v", *row.Fresh)
			row.Fresh = nil
		}
		out += fmt.Sprintf(" %+v", row)
	}
	return out
}

// TestUncachedIsDisableRadix proves that "off" for a request costs what --disable-radix-cache costs: the steps of
// uncached sequences are, row for row and page for page, those of a scheduler that has no tree.
func TestUncachedIsDisableRadix(t *testing.T) {
	for seed := range uint64(200) {
		with, without := uncachedWorld(t, seed, false), uncachedWorld(t, seed, true)
		for i := range with {
			if with[i] != without[i] {
				t.Fatalf("seed %d step %d: %s with an idle tree, %s without one", seed, i, with[i], without[i])
			}
		}
	}
}

// TestUncachedLeavesOthersAlone has cached and uncached sequences of one prefix side by side.
func TestUncachedLeavesOthersAlone(t *testing.T) {
	cfg := one()
	cfg.MaxSeqs = 2
	r := newRig(t, cfg)
	add := func(uncached bool) *Task {
		r.lastID++
		task := &Task{Seq: seq.Seq{ID: r.lastID, Tokens: tokens(0, 40), Uncached: uncached,
			Params: seq.Params{MaxTokens: 1, PromptLogprobs: -1}}}
		if err := r.Add(task); err != nil {
			t.Fatal(err)
		}
		return task
	}
	first, second := add(true), add(false)
	if r.step(); !second.Running() && !second.Ended() {
		t.Error("a cached sequence waits for one that leaves nothing in the cache")
	}
	r.run(10)
	third, fourth := add(true), add(false)
	r.run(10)
	if got := [4]int{first.Cached, second.Cached, third.Cached, fourth.Cached}; got != [4]int{0, 0, 0, 39} {
		t.Errorf("cached %v, want only the fourth to find the second's 39 tokens", got)
	}
}
