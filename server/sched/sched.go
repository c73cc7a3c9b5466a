package sched

import (
	"errors"
	"fmt"

	"radish/server/kvpool"
	"radish/server/radix"
	"radish/server/seq"
)

// ErrTooLong is a sequence that could not run even if it were alone.
var ErrTooLong = errors.New("sequence is longer than the context or the KV pool")

// Config sizes a Scheduler.
type Config struct {
	Pages, PageSize  int
	MaxSeqs          int // slots
	ChunkTokens      int // prefill tokens per step, decode rows counted against them; <= 0: prompts are not cut
	MaxPrefillTokens int // bound on a step's prefill tokens when prompts are not cut (one prompt may exceed it)
	ContextLength    int
	Policy           Policy
	Conservativeness float64 // scales the ratio; 0: 1
	Seed             uint64  // of the random policy
	DisableRadix     bool
}

// Stats are totals since the start, but for Ratio.
type Stats struct {
	Retracts  uint64  // sequences that lost their pages
	Evicted   uint64  // pages taken from the prefix cache
	Deferred  uint64  // times that a sequence waited a step for another one to compute their common prefix
	Prompt    uint64  // prompt tokens of first admissions
	Cached    uint64  // of those, found in the prefix cache
	Computed  uint64  // prefill positions, recomputation included
	Rematches uint64  // looks into the tree for waiting sequences
	Ratio     float64 // the share of max_tokens that admission reserves now
}

// Scheduler holds all sequences, the prefix tree and the page pool. It belongs to one goroutine.
type Scheduler struct {
	cfg     Config
	pool    *kvpool.Pool
	tree    *radix.Tree // nil when disabled
	queue   queue
	running []*Task // by ID: the oldest first
	slots   []int   // free ones
	groups  map[uint64]group
	cursor  int
	tickets uint64 // admissions so far

	ledger ledger
	budget budget
	stats  Stats
	turn
}

// turn is what one call of Next works with.
type turn struct {
	room     int        // prefill tokens left
	prefills []*Task    // whose chunks are in the batch
	skipped  []*Task    // popped from the queue, to be pushed back
	pages    []seq.Page // scratch
}

// New makes a scheduler. It returns an error that names the field of cfg that makes no sense.
func New(cfg Config) (*Scheduler, error) {
	for _, f := range []struct {
		name  string
		value int
	}{{"pages", cfg.Pages}, {"page size", cfg.PageSize}, {"sequences", cfg.MaxSeqs}, {"context length", cfg.ContextLength}} {
		if f.value < 1 {
			return nil, fmt.Errorf("make scheduler: %s is %d", f.name, f.value)
		}
	}
	if cfg.MaxPrefillTokens <= 0 {
		cfg.MaxPrefillTokens = 16384
	}
	if cfg.Conservativeness <= 0 {
		cfg.Conservativeness = 1
	}
	s := &Scheduler{cfg: cfg, pool: kvpool.New(cfg.Pages), groups: map[uint64]group{}}
	if !cfg.DisableRadix {
		s.tree = radix.New(radix.Options{PageSize: cfg.PageSize, Pages: cfg.Pages})
	}
	for i := cfg.MaxSeqs - 1; i >= 0; i-- {
		s.slots = append(s.slots, i)
	}
	s.budget.reset(cfg.Conservativeness)
	return s, nil
}

// Limit is the most tokens, prompt and output together, that one sequence can have.
func (s *Scheduler) Limit() int { return min(s.cfg.ContextLength, s.cfg.Pages*s.cfg.PageSize) }

// MaxStepTokens bounds the positions of one batch: decode rows and prefill chunks together.
func (c Config) MaxStepTokens() int {
	if c.ChunkTokens > 0 {
		return c.MaxSeqs + c.ChunkTokens
	}
	return c.MaxSeqs + max(c.MaxPrefillTokens, c.ContextLength)
}

// Add queues t. Its Tokens are the prompt. ErrTooLong says that prompt and MaxTokens exceed Limit.
func (s *Scheduler) Add(t *Task) error {
	if len(t.Tokens)+t.Params.MaxTokens > s.Limit() {
		return fmt.Errorf("add sequence of %d+%d tokens to %d: %w", len(t.Tokens), t.Params.MaxTokens, s.Limit(), ErrTooLong)
	}
	t.Prompt, t.Slot = len(t.Tokens), -1
	t.place.ticket = s.tickets
	if s.cfg.Policy == LPM {
		s.look(t)
	}
	s.enqueue(t)
	return nil
}

func (s *Scheduler) enqueue(t *Task) {
	t.state = waiting
	if s.cfg.Policy == DFSWeight {
		t.place.group = s.groupOf(t)
		g := s.groups[t.place.group]
		s.groups[t.place.group] = group{g.waiting + 1, g.weight + 1}
	}
	s.rank(t)
	s.queue.push(t)
}

// dequeued notes that t left the queue for good.
func (s *Scheduler) dequeued(t *Task) {
	if s.cfg.Policy != DFSWeight {
		return
	}
	g := s.groups[t.place.group]
	if g.waiting--; g.waiting == 0 {
		delete(s.groups, t.place.group)
		return
	}
	s.groups[t.place.group] = g
}

// Waiting is the number of sequences that have no slot.
func (s *Scheduler) Waiting() int { return s.queue.len() }

// RunningCount is the number of sequences that have a slot.
func (s *Scheduler) RunningCount() int { return len(s.running) }

// QueuedTokens counts prompt tokens that are still to be computed by running sequences.
func (s *Scheduler) QueuedTokens() int {
	n := 0
	for _, t := range s.running {
		n += max(0, t.target-t.Computed)
	}
	return n
}

// Stats returns totals.
func (s *Scheduler) Stats() Stats {
	s.stats.Ratio = s.budget.ratio
	return s.stats
}

// PageCounts returns the pages that are free, that the prefix cache alone holds, and the others.
func (s *Scheduler) PageCounts() (free, cached, held int) {
	free = s.pool.Available()
	if s.tree != nil {
		cached = s.tree.Evictable()
	}
	return free, cached, s.pool.Total() - free - cached
}

// Flush empties the prefix cache, except for what sequences use.
func (s *Scheduler) Flush() {
	if s.tree != nil {
		s.pages = s.tree.Reset(s.pages[:0])
		s.pool.Free(s.pages)
	}
}

// Check proves that every page is free, cached or held, and that nothing is held or locked by nobody. It costs
// O(pages).
func (s *Scheduler) Check() error {
	held := s.ledger.pages(nil)
	slots := len(s.slots) + s.ledger.slotCount() + len(s.running)
	for _, t := range s.running {
		held = append(held, t.Pages[t.kv.shared:]...)
	}
	if slots != s.cfg.MaxSeqs {
		return fmt.Errorf("check scheduler: %d slots of %d are accounted for", slots, s.cfg.MaxSeqs)
	}
	if s.tree == nil {
		return s.pool.Check(nil, held)
	}
	if err := s.tree.Check(); err != nil {
		return err
	}
	if len(s.running) == 0 && s.ledger.launched() == 0 && s.tree.Evictable() != s.tree.Cached() {
		return fmt.Errorf("check scheduler: nothing runs, but %d of %d cached pages are locked",
			s.tree.Cached()-s.tree.Evictable(), s.tree.Cached())
	}
	return s.pool.Check(s.tree.Pages(nil), held)
}
