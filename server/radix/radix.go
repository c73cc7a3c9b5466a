package radix

import (
	"fmt"

	"radish/server/seq"
)

// Options of a Tree.
type Options struct {
	PageSize int // positions per page, >= 1
	Pages    int // pages of the pool, to size the tables once; they grow on demand where it is 0 or too small
}

// Ref names a node of the tree, and with it the path that leads there. It stays good while it is locked; unlocked it
// is good until the next Insert, Evict or Reset.
type Ref int32

// None is no node. Locking and unlocking it does nothing.
const None Ref = 0

// Match is what the tree knows of a sequence of tokens.
type Match struct {
	Node          Ref      // ends with the last whole page matched; None when there is none
	Tokens        int      // whole pages matched * PageSize + PartialTokens
	Partial       seq.Page // its first PartialTokens positions continue the whole pages; -1 when none does
	PartialTokens int      // 0 <= PartialTokens < PageSize
	Source        Ref      // the node that holds Partial; None when there is none
}

// Tree is a set of prefix trees, one for each domain, that own pages of the KV pool. It is not safe for concurrent
// use: it belongs to the engine's goroutine.
type Tree struct {
	size     int            // positions per page
	roots    map[string]Ref // domain -> root, for the domains that hold a page
	names    map[Ref]string // and back
	nodes    []node         // nodes[0] is None
	spare    Ref            // free nodes, linked by parent
	forks    []fork         // forks[0] is unused
	idle     int32          // free forks, linked by up
	text     []seq.Token    // tokens of page p at [p*size, (p+1)*size)
	leaves   []leaf         // links of page p
	newest   Ref            // the recency list of unlocked nodes
	oldest   Ref
	found    []seq.Page // scratch of Insert
	cached   int
	unlocked int // pages of nodes that no lock protects
	version  uint64
}

// node is a run of pages with one parent. Roots have no pages. No sibling begins with the same whole page.
type node struct {
	parent       Ref      // None for a root
	kids         link     // the children, told apart by their first page
	up           int32    // the fork above this node in its parent's kids, 0 when it is the only child
	newer, older Ref      // neighbours in the recency list, for an unlocked node that is not a root
	locks        int32    // Lock calls on this very node
	busy         int32    // children that are locked or have a locked descendant
	head, tail   seq.Page // first and last page of the run, -1 in a root
	pages        int32    // length of the run
	fill         int32    // tokens in the last page, 1..PageSize; only a childless node's may be short
}

func (n *node) locked() bool { return n.locks > 0 || n.busy > 0 }

// New returns an empty tree. It panics if the page size is not positive.
func New(o Options) *Tree {
	if o.PageSize < 1 || o.Pages < 0 {
		panic(fmt.Sprintf("radix: page size %d, %d pages", o.PageSize, o.Pages))
	}
	t := &Tree{
		size:  o.PageSize,
		roots: make(map[string]Ref),
		names: make(map[Ref]string),
		nodes: make([]node, 1),
		forks: make([]fork, 1),
	}
	t.reach(seq.Page(o.Pages - 1))
	return t
}

// Match finds the longest prefix of tokens that is cached in domain and appends the whole pages that hold it to
// pages. The path to the last of them counts as used now; the partial page does not.
//
// Nothing is protected by Match itself. The caller locks m.Node for as long as a sequence reads the pages, and
// m.Source until the step that copies m.Partial is launched; both before it next calls Insert, Evict or Reset. If
// the match ends inside a node, the node is split, so that the lock covers exactly the pages returned.
// Time is O(pages matched), whatever the number of children on the way; nothing is allocated but room in pages.
func (t *Tree) Match(domain string, tokens []seq.Token, pages []seq.Page) (Match, []seq.Page) {
	m := Match{Partial: -1}
	n, before := t.roots[domain], len(pages)
	for n != None {
		var s stop
		s, pages = t.follow(n, tokens, pages)
		if s.whole == 0 || s.whole < t.nodes[s.node].pages {
			if s.whole > 0 {
				m.Node = t.touch(t.split(s.node, s.whole, s.last), m.Node)
			}
			if s.shared > 0 {
				m.Partial, m.PartialTokens, m.Source = s.page, s.shared, s.node
			}
			break
		}
		m.Node = t.touch(s.node, m.Node)
		tokens = tokens[int(s.whole)*t.size:]
		n = s.node
	}
	m.Tokens = (len(pages)-before)*t.size + m.PartialTokens
	return m, pages
}

// stop says where a walk along one child ended.
type stop struct {
	node   Ref      // the child that shares most with the tokens, None if there is no child
	whole  int32    // pages of it that are equal
	last   seq.Page // the last of them
	page   seq.Page // the page after them, -1 if they are all
	shared int      // tokens of page that are equal
}

// follow compares q with the child of n that shares the longest prefix with it, and appends the pages that are equal.
func (t *Tree) follow(n Ref, q []seq.Token, pages []seq.Page) (stop, []seq.Page) {
	s := stop{node: t.find(n, q), last: -1, page: -1}
	if s.node == None {
		return s, pages
	}
	c := &t.nodes[s.node]
	for page := c.head; page >= 0; page = t.leaves[page].next {
		text := t.tokens(page, t.size)
		if page == c.tail {
			text = text[:c.fill]
		}
		if same := common(text, q); same < t.size {
			s.page, s.shared = page, same
			break
		}
		pages = append(pages, page)
		s.whole, s.last = s.whole+1, page
		q = q[t.size:]
	}
	return s, pages
}

// common is the length of the longest common prefix of a and b.
func common(a, b []seq.Token) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+16 <= n; i += 16 { // compiled to one comparison of 64 bytes
		if *(*[16]seq.Token)(a[i:]) != *(*[16]seq.Token)(b[i:]) {
			break
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// Evictable is the number of pages that Evict could free now: those that no lock protects.
func (t *Tree) Evictable() int { return t.unlocked }

// Cached is the number of pages that the tree owns.
func (t *Tree) Cached() int { return t.cached }

// Version changes whenever a Match could have become longer than it was. Eviction, which can only make matches
// shorter, leaves it alone.
func (t *Tree) Version() uint64 { return t.version }

// Pages appends every page that the tree owns to dst, in rising order. It is O(pages of the pool), for Check.
func (t *Tree) Pages(dst []seq.Page) []seq.Page {
	for page := range t.leaves {
		if t.leaves[page].held {
			dst = append(dst, seq.Page(page))
		}
	}
	return dst
}
