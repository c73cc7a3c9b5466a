package sched

import "radish/server/seq"

// The ratio is the share of what a sequence may still generate for which admission keeps pages. It falls while
// nothing is retracted and is set anew by a retraction (SGLang's new_token_ratio, schedule_batch.py, with its numbers).
const (
	startRatio   = 0.7
	floorRatio   = 0.14 * startRatio
	decaySteps   = 600
	clipTokens   = 4096 // of a larger rest, only that many count
	retractSteps = 20   // decode steps that a retraction should make room for
)

type budget struct{ ratio, floor, decay, start float64 }

func (b *budget) reset(conservativeness float64) {
	b.start = min(1, startRatio*conservativeness)
	b.floor = min(1, floorRatio*conservativeness)
	b.decay = (b.start - b.floor) / decaySteps
	b.ratio = b.start
}

// step lets the ratio fall.
func (b *budget) step() { b.ratio = max(b.floor, b.ratio-b.decay) }

// retracted sets the ratio to what the running sequences have been using of their allowance.
func (b *budget) retracted(running []*Task) {
	used, allowed := 0, 0
	for _, t := range running {
		used += t.Generated() + retractSteps
		allowed += t.Params.MaxTokens
	}
	if allowed > 0 {
		b.ratio = min(1, max(b.ratio, float64(used)/float64(allowed)))
	}
}

// reserve is the number of pages kept for what t may still generate.
func (s *Scheduler) reserve(t *Task) int {
	rest := min(t.Params.MaxTokens-t.Generated()-t.Pending, clipTokens)
	if rest <= 0 {
		return 0
	}
	want := int(float64(rest)*s.budget.ratio) + 1
	have := len(t.Pages)*s.cfg.PageSize - max(t.target, t.Computed)
	return max(0, (want-have+s.cfg.PageSize-1)/s.cfg.PageSize)
}

// reserved sums the running sequences' reserves.
func (s *Scheduler) reserved() int {
	n := 0
	for _, t := range s.running {
		n += s.reserve(t)
	}
	return n
}

// reachable is the number of pages that can be had now.
func (s *Scheduler) reachable() int {
	n := s.pool.Available()
	if s.tree != nil {
		n += s.tree.Evictable()
	}
	return n
}

// extend gives t n more pages, all or none. It evicts in batches, a little more than is needed, so that not every
// step of a full pool pays for it.
func (s *Scheduler) extend(t *Task, n int) bool {
	if lack := n - s.pool.Available(); lack > 0 {
		if s.tree == nil || lack > s.tree.Evictable() {
			return false
		}
		s.pages = s.tree.Evict(max(lack, s.headroom()), s.pages[:0])
		s.pool.Free(s.pages)
		s.stats.Evicted += uint64(len(s.pages))
	}
	have := len(t.Pages)
	t.Pages = append(t.Pages, make([]seq.Page, n)...)
	if s.pool.Alloc(t.Pages[have:]) {
		return true
	}
	t.Pages = t.Pages[:have]
	return false
}

// headroom is the least that an eviction takes: a half per cent of the pool.
func (s *Scheduler) headroom() int { return min(256, s.cfg.Pages/200) }
