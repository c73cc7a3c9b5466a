package sched

import (
	"slices"

	"radish/server/radix"
	"radish/server/seq"
)

// How far admission looks past sequences that do not fit, and how often one of them may be passed.
const (
	lookahead = 16
	maxPassed = 32
)

type verdict uint8

const (
	admitted verdict = iota
	unready          // the next step is a better one for it: see try
	unfit            // there is no room now
)

// admit takes sequences from the queue in order while slots and budget last. Those that stay are put back.
func (s *Scheduler) admit(b *seq.Batch, st *Step) {
	if len(s.slots) == 0 || s.room <= 0 || s.queue.len() == 0 {
		return
	}
	reserved := s.reserved()
	for s.queue.len() > 0 && len(s.slots) > 0 && s.room > 0 && len(s.skipped) < lookahead {
		t := s.queue.pop()
		v := s.try(t, reserved, b, st)
		if v == admitted {
			s.dequeued(t)
			s.passSkipped()
			reserved += s.reserve(t)
			s.addPrefill(t, b, st)
			continue
		}
		s.skipped = append(s.skipped, t)
		if v == unfit && t.place.passed >= maxPassed {
			break
		}
	}
	for i, t := range s.skipped {
		s.queue.push(t)
		s.skipped[i] = nil
	}
	s.skipped = s.skipped[:0]
}

func (s *Scheduler) passSkipped() {
	for _, t := range s.skipped {
		t.place.passed++
	}
}

// try admits t if it fits beside the reserve of the running sequences, and gives it pages and a slot. It is unready
// when launched steps of it were not read yet, when another sequence is just computing what it needs, and when its
// uncut prompt is too long for the rest of this step.
func (s *Scheduler) try(t *Task, reserved int, b *seq.Batch, st *Step) verdict {
	if t.last > s.ledger.read {
		return unready
	}
	if s.treeOf(t) != nil {
		s.look(t)
		if s.follows(t) {
			return unready
		}
	}
	if s.cfg.ChunkTokens <= 0 && len(s.prefills) > 0 && len(t.Tokens)-t.match > s.room {
		return unready
	}
	if s.reachable() < s.pagesFor(t, t.match)+reserved {
		return unfit
	}
	if !s.occupy(t, reserved, b, st) {
		return unfit
	}
	s.seat(t, st)
	return admitted
}

// pagesFor is how many pages t needs beyond those of its first match tokens, its own reserve included unless it
// would be alone: whatever the ratio says, one sequence runs.
func (s *Scheduler) pagesFor(t *Task, match int) int {
	n := (len(t.Tokens)+s.cfg.PageSize-1)/s.cfg.PageSize - match/s.cfg.PageSize
	if len(s.running) > 0 {
		n += s.reserve(t)
	}
	return n
}

// occupy locks t's cached prefix and allocates the rest of its prompt. The page that holds a partial match is copied
// to the first of the new pages by this step, and stays locked until the step was read.
func (s *Scheduler) occupy(t *Task, reserved int, b *seq.Batch, st *Step) bool {
	m := radix.Match{Partial: -1}
	t.Pages, t.target = t.Pages[:0], len(t.Tokens)
	if tree := s.treeOf(t); tree != nil {
		m, t.Pages = tree.Match(t.Domain, t.Tokens[:t.reusable()], t.Pages)
		tree.Lock(m.Node)
		tree.Lock(m.Source)
	}
	found := len(t.Pages)
	if !s.claim(t, reserved) {
		// Alone in a full pool, the source itself may be the page that is missing: go without the partial match.
		s.unlock(m.Source)
		m.Source, m.PartialTokens = radix.None, 0
		if len(s.running) > 0 || !s.claim(t, reserved) {
			s.unlock(m.Node)
			t.Pages, t.target = t.Pages[:0], 0
			return false
		}
	}
	if m.PartialTokens > 0 {
		b.Copies = append(b.Copies, seq.PageCopy{Src: m.Partial, Dst: t.Pages[found], Tokens: m.PartialTokens})
		st.locks = append(st.locks, m.Source)
	}
	t.kv = holding{node: m.Node, shared: found, found: found}
	t.Computed = found*s.cfg.PageSize + m.PartialTokens
	return true
}

// claim allocates the pages of t's tokens behind those it has, if the reserves stay reachable.
func (s *Scheduler) claim(t *Task, reserved int) bool {
	need := s.pagesFor(t, len(t.Pages)*s.cfg.PageSize)
	if s.reachable() < need+reserved {
		return false
	}
	return s.extend(t, (len(t.Tokens)+s.cfg.PageSize-1)/s.cfg.PageSize-len(t.Pages))
}

func (s *Scheduler) unlock(n radix.Ref) {
	if s.tree != nil {
		s.tree.Unlock(n)
	}
}

// seat gives t a slot and its place among the running, which are in the order of their IDs.
func (s *Scheduler) seat(t *Task, st *Step) {
	last := len(s.slots) - 1
	t.Slot, s.slots = s.slots[last], s.slots[:last]
	t.state, t.fresh = running, true
	i, _ := slices.BinarySearchFunc(s.running, t.ID, func(r *Task, id seq.ID) int {
		if r.ID < id {
			return -1
		}
		return 1
	})
	s.running = slices.Insert(s.running, i, t)
	s.tickets++
	st.NewSeqs++
	st.CachedTokens += t.Computed
	if t.Retracts == 0 {
		t.Cached = t.Computed
		s.stats.Prompt += uint64(t.Prompt)
		s.stats.Cached += uint64(t.Cached)
	}
}
