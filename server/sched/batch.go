package sched

import (
	"slices"

	"radish/server/seq"
)

// Next fills b with the next step and reports whether it has rows; if so, the step counts as launched. b and what it
// refers to stay unchanged until the step was Collected. At most two steps are launched.
func (s *Scheduler) Next(b *seq.Batch) bool {
	b.Copies = b.Copies[:0]
	clear(b.Rows)
	b.Rows = b.Rows[:0]
	if s.ledger.launched() == 2 {
		return false
	}
	st := s.ledger.begin()
	b.Step = st.Number
	s.refresh()
	enough := s.secure(st)
	s.addDecodes(b, st)
	s.openRoom(len(b.Rows))
	for _, t := range s.running {
		if t.prefilling() && s.room > 0 {
			s.addPrefill(t, b, st)
		}
	}
	if enough {
		s.admit(b, st)
	}
	if len(b.Rows) == 0 {
		s.rest()
		return false
	}
	s.ledger.newest++
	s.publish(st)
	s.budget.step()
	return true
}

// rest forgets what only makes sense under load.
func (s *Scheduler) rest() {
	if len(s.running) == 0 && s.Waiting() == 0 {
		s.budget.reset(s.cfg.Conservativeness)
	}
}

// Stuck returns a sequence to be ended with an error when nothing is launched, Next has no rows, and yet sequences are
// there: the pool cannot hold even one of them. Add refuses such sequences, so this is a way out that is never needed.
func (s *Scheduler) Stuck() *Task {
	switch {
	case s.ledger.launched() > 0:
		return nil
	case len(s.running) > 0:
		return s.running[0]
	case s.queue.len() > 0:
		return s.queue.tasks[0]
	}
	return nil
}

// openRoom sets the step's budget of prefill tokens. Decode rows count against it, but an eighth is left for prompts
// however many there are.
func (s *Scheduler) openRoom(decodes int) {
	s.room = s.cfg.MaxPrefillTokens
	if c := s.cfg.ChunkTokens; c > 0 {
		s.room = min(s.room, max(c-decodes, (c+7)/8))
	}
	clear(s.prefills)
	s.prefills = s.prefills[:0]
}

func (s *Scheduler) addDecodes(b *seq.Batch, st *Step) {
	for _, t := range s.running {
		if t.stall || !t.decodes() {
			continue
		}
		b.Rows = append(b.Rows, seq.Row{ID: t.ID, Slot: t.Slot, Start: t.Computed, N: 1, Pages: t.Pages, Sample: true})
		s.note(t, &b.Rows[len(b.Rows)-1], st)
	}
}

// addPrefill adds the next chunk of t's tokens. If prompts are not cut, the first of a step may exceed the budget.
func (s *Scheduler) addPrefill(t *Task, b *seq.Batch, st *Step) {
	n := t.target - t.Computed
	if s.cfg.ChunkTokens > 0 || st.PrefillRows > 0 {
		n = min(n, s.room)
	}
	score := t.Params.PromptLogprobs >= 0 && t.scored < t.Prompt
	if score && t.Computed < t.scored { // computed again after a retraction, but not scored again
		n, score = min(n, t.scored-t.Computed), false
	}
	start := t.Computed
	end := start + n
	row := seq.Row{ID: t.ID, Slot: t.Slot, Start: start, N: n, Tokens: t.Tokens[start:end], Pages: t.Pages[:(end+s.cfg.PageSize-1)/s.cfg.PageSize]}
	row.Sample = end == t.target && t.Generated() < t.Params.MaxTokens
	if t.fresh {
		row.Fresh = &seq.Fresh{Params: t.Params, History: t.Tokens[:len(t.Tokens):len(t.Tokens)], Prompt: t.Prompt}
		t.fresh = false
	}
	if score {
		row.Targets = t.Tokens[start+1 : min(end+1, t.Prompt)]
		t.scored = end
	}
	b.Rows = append(b.Rows, row)
	s.room -= n
	st.PrefillRows++
	st.PrefillTokens += n
	s.stats.Computed += uint64(n)
	s.prefills = append(s.prefills, t)
	s.note(t, &b.Rows[len(b.Rows)-1], st)
}

// note writes down that row is part of the step.
func (s *Scheduler) note(t *Task, row *seq.Row, st *Step) {
	t.Computed += row.N
	t.last = st.Number
	if row.Sample {
		t.Pending++
	}
	st.Rows = append(st.Rows, StepRow{Task: t, Sample: row.Sample, Done: t.Params.MaxTokens == 0 && t.Computed == t.target})
}

// publish inserts the whole pages that the step's chunks fill, so that other sequences can use them from the next
// step on.
func (s *Scheduler) publish(st *Step) {
	for _, t := range s.prefills {
		if s.treeOf(t) == nil {
			continue
		}
		full := t.Computed / s.cfg.PageSize
		if full > t.kv.shared {
			s.insert(t, full, st)
		}
	}
}

// insert gives t's first full pages to the tree. Where the tree has the same tokens in other pages, t goes on with
// those, in a new table (launched rows read the old one), and its own come back when the step was read.
func (s *Scheduler) insert(t *Task, full int, st *Step) {
	tokens := t.Tokens[:full*s.cfg.PageSize]
	node, dup := s.tree.Insert(t.Domain, tokens, t.Pages[:full], s.pages[:0])
	s.pages = dup[:0]
	s.relock(t, node)
	t.kv.shared = full
	if len(dup) == 0 {
		return
	}
	st.pages = append(st.pages, dup...)
	table := slices.Clone(t.Pages)
	_, found := s.tree.Match(t.Domain, tokens, table[:0])
	if len(found) != full {
		panic("sched: the tree lost what was just inserted")
	}
	t.Pages = table
}
