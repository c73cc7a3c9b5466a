package sched

import (
	"radish/server/radix"
	"radish/server/seq"
)

type state uint8

const (
	idle    state = iota // not added yet
	waiting              // in the queue
	running              // has a slot and pages
	ended                // finished; rows of it that are still launched are to be dropped
)

// Task is a sequence with the scheduler's notes about it. The caller fills in Seq, hands it to Add, appends to
// Seq.Tokens what steps sampled (lowering Seq.Pending), and hands it to Finish exactly once.
type Task struct {
	seq.Seq

	state  state
	match  int    // tokens that the tree held when it was asked last
	seen   uint64 // the tree's version then
	asked  bool
	target int    // prefill ends here: len(Tokens) at admission
	scored int    // prompt positions that were scored or are being scored
	fresh  bool   // its next row is the first of its slot
	stall  bool   // found no page for its next row
	last   uint64 // the newest step that has a row of it
	kv     holding
	place  place
}

// holding is what a running task keeps of the tree.
type holding struct {
	node   radix.Ref // locked
	shared int       // leading pages that belong to the tree
	found  int       // leading pages that were there at admission, probably not its own alone
}

// place is a task's position in the queue.
type place struct {
	key    int64
	index  int
	ticket uint64 // admissions before it arrived
	group  uint64 // hash of the beginning
	passed int    // admissions of others while it did not fit
}

// Ended reports whether the task was handed to Finish.
func (t *Task) Ended() bool { return t.state == ended }

// Running reports whether the task has a slot.
func (t *Task) Running() bool { return t.state == running }

// treeOf is the tree that t reads and feeds, nil when there is none for it. An uncached task is scheduled exactly as if
// the whole scheduler had no tree.
func (s *Scheduler) treeOf(t *Task) *radix.Tree {
	if t.Uncached {
		return nil
	}
	return s.tree
}

func (t *Task) prefilling() bool { return t.Computed < t.target }

// decodes reports whether the task's next row continues with a sampled token.
func (t *Task) decodes() bool {
	return !t.prefilling() && t.Generated()+t.Pending < t.Params.MaxTokens
}

// reusable is how many tokens may come from the cache: at least one must be computed for its logits, and prompt
// positions that are yet to be scored must be computed all.
func (t *Task) reusable() int {
	n := len(t.Tokens) - 1
	if t.Params.PromptLogprobs >= 0 {
		n = min(n, t.scored)
	}
	return n
}
