package sched

import "fmt"

// Policy is the order in which waiting sequences are admitted. Every policy ages: see the package comment.
type Policy uint8

// The policies, named as SGLang names them (docs/advanced_features/server_arguments.md).
const (
	FCFS      Policy = iota // first come, first served
	LPM                     // longest cached prefix first
	DFSWeight               // the largest group of requests with a common beginning first
	Random                  // a seeded shuffle
	Priority                // higher seq.Priority first
)

var policyNames = [...]string{FCFS: "fcfs", LPM: "lpm", DFSWeight: "dfs-weight", Random: "random", Priority: "priority"}

// String is the name that ParsePolicy reads.
func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return "invalid"
}

// ParsePolicy reads a policy's name.
func ParsePolicy(name string) (Policy, error) {
	for p, n := range policyNames {
		if n == name {
			return Policy(p), nil
		}
	}
	return 0, fmt.Errorf("parse schedule policy: %q is none of %v", name, policyNames)
}

// What one admission is worth to those that wait, in the unit of each policy's key.
const (
	ageTokens   = 64  // lpm: a match of n tokens overtakes n/64 admissions
	agePriority = 64  // priority: one step of it overtakes 64 admissions
	ageWeight   = 8   // dfs-weight: a waiting relative overtakes 8 admissions
	ageRandom   = 256 // random: the luckiest overtakes 256
	maxPriority = 100 // larger priorities count as this
	maxWeight   = 64  // likewise
)

// front is the key of retracted tasks: they go before all others.
const front = int64(1) << 62

// Keys are brought up to date for at most so many tasks, reading at most so many of their tokens, per step.
const (
	refreshTasks  = 8
	refreshTokens = 1 << 14
)

func clampPriority(p int) int { return max(-maxPriority, min(maxPriority, p)) }

// rank sets t's key. Larger goes first; see the package comment on ageing.
func (s *Scheduler) rank(t *Task) {
	age := int64(t.place.ticket)
	switch {
	case t.Retracts > 0:
		t.place.key = front
	case s.cfg.Policy == LPM:
		t.place.key = int64(t.match) - ageTokens*age
	case s.cfg.Policy == Priority:
		t.place.key = agePriority*int64(clampPriority(t.Priority)) - age
	case s.cfg.Policy == DFSWeight:
		t.place.key = ageWeight*int64(min(s.groups[t.place.group].weight, maxWeight)) - age
	case s.cfg.Policy == Random:
		t.place.key = int64(mix(s.cfg.Seed^mix(uint64(t.ID)))%ageRandom) - age
	default:
		t.place.key = 0
	}
}

// refresh brings a few keys up to date, in turn.
func (s *Scheduler) refresh() {
	if s.cfg.Policy != LPM && s.cfg.Policy != DFSWeight {
		return
	}
	var few [refreshTasks]*Task
	n, tokens := 0, 0
	for n < min(refreshTasks, s.queue.len()) && tokens < refreshTokens {
		s.cursor++
		few[n] = s.queue.tasks[s.cursor%s.queue.len()]
		if s.cfg.Policy == LPM {
			tokens += s.look(few[n])
		}
		n++
	}
	for _, t := range few[:n] { // only now: a new rank moves others about
		s.rank(t)
		s.queue.fix(t)
	}
}

// look measures the cached prefix of t again if the tree has grown since; it returns the tokens it read.
func (s *Scheduler) look(t *Task) int {
	if s.treeOf(t) == nil || t.asked && t.seen == s.tree.Version() {
		return 0
	}
	m, pages := s.tree.Match(t.Domain, t.Tokens[:t.reusable()], s.pages[:0])
	s.pages = pages[:0]
	s.stats.Rematches++
	t.match, t.seen, t.asked = m.Tokens, s.tree.Version(), true
	return m.Tokens
}

// group is a set of waiting tasks with a common beginning. Its weight is how many it had since it was last empty, so that
// a group that has been begun is finished.
type group struct{ waiting, weight int }

// groupOf hashes what dfs-weight groups by: the domain and the first page.
func (s *Scheduler) groupOf(t *Task) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range []byte(t.Domain) {
		h = mix(h ^ uint64(c))
	}
	for _, tok := range t.Tokens[:min(len(t.Tokens), s.cfg.PageSize)] {
		h = mix(h ^ uint64(tok))
	}
	return h
}

// mix is the finalizer of SplitMix64 (Steele, Lea & Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
