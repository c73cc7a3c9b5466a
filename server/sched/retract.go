package sched

// secure finds a page for every decode row that needs one, the oldest sequence's first. Sequences that find none
// stall for this step; when what launched steps owe is not enough for them, others are retracted. It reports whether
// the pool had pages for all.
func (s *Scheduler) secure(st *Step) bool {
	short := 0
	for _, t := range s.running {
		t.stall = t.decodes() && t.Computed == len(t.Pages)*s.cfg.PageSize && !s.extend(t, 1)
		if t.stall {
			short++
		}
	}
	if short == 0 {
		return true
	}
	for short > s.ledger.coming() {
		v := s.victim()
		if v == nil {
			break
		}
		if v.stall {
			short--
		}
		owed := s.ledger.coming()
		s.retract(v)
		st.Retracted++
		if s.ledger.coming() == owed { // it was in no launched step: its pages are here
			short -= s.unstall()
		}
	}
	return false
}

// unstall tries again for the stalled sequences, the oldest first, and returns how many it helped.
func (s *Scheduler) unstall() int {
	n := 0
	for _, t := range s.running {
		if t.stall && s.extend(t, 1) {
			t.stall = false
			n++
		}
	}
	return n
}

// victim is the running sequence that is cheapest to recompute, the oldest one excepted: it always proceeds.
func (s *Scheduler) victim() *Task {
	if len(s.running) < 2 {
		return nil
	}
	best := s.running[1]
	for _, t := range s.running[2:] {
		if s.cheaper(t, best) {
			best = t
		}
	}
	return best
}

// cheaper orders victims: those of lower priority, then those with fewer positions that are their own, then the
// youngest.
func (s *Scheduler) cheaper(a, b *Task) bool {
	if s.cfg.Policy == Priority && clampPriority(a.Priority) != clampPriority(b.Priority) {
		return clampPriority(a.Priority) < clampPriority(b.Priority)
	}
	if x, y := s.own(a), s.own(b); x != y {
		return x < y
	}
	return a.ID > b.ID
}

func (s *Scheduler) own(t *Task) int { return t.Computed - t.kv.found*s.cfg.PageSize }

// retract takes v's pages and puts it to the front of the queue with its tokens. It can be admitted again when its
// launched steps were read.
func (s *Scheduler) retract(v *Task) {
	s.vacate(v)
	v.Retracts++
	v.Computed, v.target, v.asked, v.stall = 0, 0, false, false
	s.enqueue(v)
	s.stats.Retracts++
	s.budget.retracted(s.running)
}
