package sched

import (
	"slices"

	"radish/server/seq"
)

// follows reports whether a sequence whose chunk is in the batch being built computes at least minShare tokens that t
// needs too and the tree lacks. Then t had better wait: that chunk stands in the tree before the next step, and a
// sequence whose prompt takes several steps leaves no room for t in between.
func (s *Scheduler) follows(t *Task) bool {
	limit := t.reusable()
	for _, l := range s.prefills {
		if l.Domain == t.Domain && !l.Uncached && common(l.Tokens[:l.target], t.Tokens[:limit], t.match, s.minShare()) {
			s.stats.Deferred++
			return true
		}
	}
	return false
}

// minShare is the least that is worth waiting for. It is at least a page: less could not be found in the tree.
func (s *Scheduler) minShare() int { return max(16, s.cfg.PageSize) }

// common reports whether a and b begin with the same from+least tokens. It looks where they are likely to differ
// first: behind from.
func common(a, b []seq.Token, from, least int) bool {
	n := from + least
	return len(a) >= n && len(b) >= n && slices.Equal(a[from:n], b[from:n]) && slices.Equal(a[:from], b[:from])
}
