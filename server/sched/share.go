package sched

import (
	"slices"

	"radish/server/seq"
)

// leaderOf finds a sequence whose chunk is in the batch being built and that is about to compute at least minShare
// tokens which t needs too and the tree lacks. need is how far it must get.
func (s *Scheduler) leaderOf(t *Task) (leader *Task, need int) {
	limit := t.reusable()
	for _, l := range s.prefills {
		if l.Domain != t.Domain {
			continue
		}
		n := common(l.Tokens[:l.target], t.Tokens[:limit], t.match, s.minShare())
		if n > need {
			leader, need = l, n
		}
	}
	return leader, need
}

// minShare is the least that is worth waiting for. It is at least a page: less could not be found in the tree.
func (s *Scheduler) minShare() int { return max(16, s.cfg.PageSize) }

// common is the length of a's and b's common prefix if it exceeds from by at least least, else 0. It looks where they
// are likely to differ first: behind from.
func common(a, b []seq.Token, from, least int) int {
	if len(a) < from+least || len(b) < from+least ||
		!slices.Equal(a[from:from+least], b[from:from+least]) || !slices.Equal(a[:from], b[:from]) {
		return 0
	}
	n := from + least
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// park lets t wait for leader.
func (s *Scheduler) park(t, leader *Task, need int) {
	t.state = parked
	t.share.leader, t.share.need = leader, need
	leader.share.followers = append(leader.share.followers, t)
	s.parked++
	s.stats.Parked++
}

// unpark takes t from its leader.
func (s *Scheduler) unpark(t *Task) {
	f := t.share.leader.share.followers
	i := slices.Index(f, t)
	t.share.leader.share.followers = slices.Delete(f, i, i+1)
	t.share.leader = nil
	s.parked--
}

// wake returns the followers of leader to the queue that need no more than it has computed, or all.
func (s *Scheduler) wake(leader *Task, all bool) {
	kept := leader.share.followers[:0]
	for _, t := range leader.share.followers {
		if !all && t.share.need > leader.Computed {
			kept = append(kept, t)
			continue
		}
		t.share.leader = nil
		s.parked--
		if s.cfg.Policy == LPM && !all {
			t.match = t.share.need
		}
		s.enqueue(t)
	}
	clear(leader.share.followers[len(kept):])
	leader.share.followers = kept
}
