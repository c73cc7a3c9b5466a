package sched

import (
	"radish/server/radix"
	"radish/server/seq"
)

// Step is the record of a launched batch: whose rows it has, and what is given back when it was read.
type Step struct {
	Number        uint64
	Rows          []StepRow // in the batch's order
	NewSeqs       int
	CachedTokens  int // found by the admissions of this step
	PrefillRows   int
	PrefillTokens int
	Retracted     int

	pages  []seq.Page
	locks  []radix.Ref
	slots  []int
	coming int // pages that these free or make evictable, about
}

// StepRow is one row of a launched batch.
type StepRow struct {
	Task   *Task
	Sample bool // a token was sampled
	Done   bool // the row ended a prompt of which nothing is to be generated
}

// ledger keeps the records of launched steps, two at most, and the one being built.
type ledger struct {
	steps  [3]Step
	newest uint64 // number of the newest step launched
	read   uint64 // number of the newest step collected
	now    Step   // for what no launched step refers to; settled at once
}

func (l *ledger) at(step uint64) *Step { return &l.steps[step%3] }

func (l *ledger) launched() int { return int(l.newest - l.read) }

// begin starts the record of the next step.
func (l *ledger) begin() *Step {
	st := l.at(l.newest + 1)
	clear(st.Rows)
	*st = Step{Number: l.newest + 1, Rows: st.Rows[:0], pages: st.pages[:0], locks: st.locks[:0], slots: st.slots[:0]}
	return st
}

func (l *ledger) pages(dst []seq.Page) []seq.Page {
	for n := l.read + 1; n <= l.newest; n++ {
		dst = append(dst, l.at(n).pages...)
	}
	return dst
}

func (l *ledger) slotCount() int {
	n := 0
	for i := l.read + 1; i <= l.newest; i++ {
		n += len(l.at(i).slots)
	}
	return n
}

func (l *ledger) coming() int {
	n := 0
	for i := l.read + 1; i <= l.newest; i++ {
		n += l.at(i).coming
	}
	return n
}

// Oldest is the record of the oldest launched step, nil when none is. It is valid until that step is Collected.
func (s *Scheduler) Oldest() *Step {
	if s.ledger.launched() == 0 {
		return nil
	}
	return s.ledger.at(s.ledger.read + 1)
}

// Launched is the number of steps that Next filled and Collected has not seen.
func (s *Scheduler) Launched() int { return s.ledger.launched() }

// Collected notes that the oldest launched step was read: pages, locks and slots that hung on it are given back.
// What its rows sampled must have been appended before.
func (s *Scheduler) Collected() {
	st := s.Oldest()
	s.ledger.read++
	s.settle(st)
}

func (s *Scheduler) settle(st *Step) {
	s.pool.Free(st.pages)
	for _, ref := range st.locks {
		s.tree.Unlock(ref)
	}
	s.slots = append(s.slots, st.slots...)
	st.pages, st.locks, st.slots, st.coming = st.pages[:0], st.locks[:0], st.slots[:0], 0
}

// Finish ends t in whatever state it is. What it computed goes to the prefix cache; its pages, lock and slot come back
// as soon as no launched step refers to them.
func (s *Scheduler) Finish(t *Task) {
	switch t.state {
	case waiting:
		s.queue.remove(t)
		s.dequeued(t)
	case running:
		s.vacate(t)
	}
	t.state = ended
}

// vacate takes t out of the running set: its computed prefix goes to the tree, the rest is owed to its last step.
func (s *Scheduler) vacate(t *Task) {
	for i, r := range s.running {
		if r == t {
			s.running = append(s.running[:i], s.running[i+1:]...)
			break
		}
	}
	st := s.ledger.at(t.last)
	now := t.last <= s.ledger.read
	if now { // a record of its own, settled at once
		st = &s.ledger.now
	}
	st.coming += len(t.Pages) - t.kv.found
	s.bequeath(t, st)
	if t.kv.node != radix.None {
		st.locks = append(st.locks, t.kv.node)
	}
	st.slots = append(st.slots, t.Slot)
	if now {
		s.settle(st)
	}
	t.kv, t.Pages, t.Slot = holding{}, t.Pages[:0], -1
}

// bequeath inserts all that t computed, up to the token, and leaves to st the pages that the tree did not take.
func (s *Scheduler) bequeath(t *Task, st *Step) {
	n := min(t.Computed, len(t.Tokens))
	full := (n + s.cfg.PageSize - 1) / s.cfg.PageSize
	if s.treeOf(t) == nil || full == 0 {
		st.pages = append(st.pages, t.Pages[t.kv.shared:]...)
		return
	}
	var node radix.Ref
	node, st.pages = s.tree.Insert(t.Domain, t.Tokens[:n], t.Pages[:full], st.pages)
	s.relock(t, node)
	st.pages = append(st.pages, t.Pages[max(full, t.kv.shared):]...)
}

// relock moves t's lock to node.
func (s *Scheduler) relock(t *Task, node radix.Ref) {
	s.tree.Lock(node)
	s.tree.Unlock(t.kv.node)
	t.kv.node = node
}
