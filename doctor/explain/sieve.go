package explain

import (
	"fmt"
	"regexp/syntax"
	"strings"
)

// sieve finds every literal of the table in one pass over a line (Aho and Corasick, "Efficient string matching", CACM
// 18(6), 1975), so that a regular expression runs only where it has a chance. ASCII letters are folded.
type sieve struct {
	next [][256]uint16 // state × byte -> state
	out  [][]int       // state -> ids whose literal ends here
	ids  int
}

// candidates is the set of ids that a line has a literal of, in the order of discovery.
type candidates struct {
	list []int
	seen []bool
}

func newCandidates(ids int) candidates { return candidates{seen: make([]bool, ids)} }

func (c *candidates) reset() {
	for _, id := range c.list {
		c.seen[id] = false
	}
	c.list = c.list[:0]
}

func (c *candidates) add(id int) {
	if !c.seen[id] {
		c.seen[id] = true
		c.list = append(c.list, id)
	}
}

// theSieve knows the literals of all rules, then those of the phase markers.
var theSieve = tableSieve()

func tableSieve() *sieve {
	var words [][]string
	for i := range rules {
		words = append(words, literalsOf(rules[i].Patterns))
	}
	for i := range markers {
		words = append(words, literalsOf([]string{markers[i].re.String()}))
	}
	return newSieve(words)
}

func literalsOf(patterns []string) []string {
	var all []string
	for _, p := range patterns {
		t, err := syntax.Parse(p, syntax.Perl)
		if err != nil {
			panic(fmt.Sprintf("explain: pattern %q: %v", p, err))
		}
		lits := required(t.Simplify())
		if len(lits) == 0 {
			panic(fmt.Sprintf("explain: pattern %q has no literal to sift by", p))
		}
		all = append(all, lits...)
	}
	return all
}

// required gives a set of literals of which every match of t holds at least one, or nil if none of 4 bytes can be told.
func required(t *syntax.Regexp) []string {
	switch t.Op {
	case syntax.OpLiteral:
		if s := strings.ToLower(string(t.Rune)); len(s) >= 4 {
			return []string{s}
		}
	case syntax.OpCapture, syntax.OpPlus:
		return required(t.Sub[0])
	case syntax.OpConcat:
		var best []string
		for _, sub := range t.Sub {
			if l := required(sub); shortest(l) > shortest(best) {
				best = l
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range t.Sub {
			l := required(sub)
			if l == nil {
				return nil
			}
			all = append(all, l...)
		}
		return all
	}
	return nil
}

func shortest(words []string) int {
	if len(words) == 0 {
		return 0
	}
	n := len(words[0])
	for _, w := range words {
		n = min(n, len(w))
	}
	return n
}

// newSieve builds the automaton: words[id] are the literals of id.
func newSieve(words [][]string) *sieve {
	s := &sieve{next: make([][256]uint16, 1), out: make([][]int, 1), ids: len(words)}
	for id, ws := range words {
		for _, w := range ws {
			s.insert(w, id)
		}
	}
	s.link()
	for st := range s.next {
		for c := 'A'; c <= 'Z'; c++ {
			s.next[st][c] = s.next[st][c+'a'-'A']
		}
	}
	return s
}

func (s *sieve) insert(w string, id int) {
	st := uint16(0)
	for i := range len(w) {
		if s.next[st][w[i]] == 0 {
			s.next[st][w[i]] = uint16(len(s.next))
			s.next = append(s.next, [256]uint16{})
			s.out = append(s.out, nil)
		}
		st = s.next[st][w[i]]
	}
	s.out[st] = append(s.out[st], id)
}

// link turns the trie into an automaton, nearest states first: where a byte leads nowhere, it leads where it would from
// the longest proper suffix.
func (s *sieve) link() {
	fail := make([]uint16, len(s.next))
	var queue []uint16
	for c := range 256 {
		if to := s.next[0][c]; to != 0 {
			queue = append(queue, to)
		}
	}
	for ; len(queue) > 0; queue = queue[1:] {
		st := queue[0]
		for c := range 256 {
			to, back := s.next[st][c], s.next[fail[st]][c]
			if to == 0 {
				s.next[st][c] = back
				continue
			}
			fail[to] = back
			s.out[to] = append(s.out[to], s.out[back]...)
			queue = append(queue, to)
		}
	}
}

// scan adds to c the ids whose literals are in line.
func (s *sieve) scan(line string, c *candidates) {
	st := uint16(0)
	for i := range len(line) {
		st = s.next[st][line[i]]
		for _, id := range s.out[st] {
			c.add(id)
		}
	}
}
