package radix

import (
	"fmt"

	"radish/server/seq"
)

// Insert records that the keys and values of tokens stand in pages, ceil(len(tokens)/PageSize) of them, the last one
// possibly short. The tree owns the pages it keeps from now on, and the caller frees those that Insert appends to
// dup: its own pages that the tree already had (other pages with the same tokens), and pages of the tree that one of
// the caller's supersedes because it holds the same tokens and more. A page that the tree owns at that very place
// already, because the sequence began with a Match, is neither kept again nor returned.
//
// A sequence may insert its short last page and go on writing behind the tokens it claimed, as long as it keeps the
// lock on the Ref that this Insert returned: a later Insert of the longer sequence with the same page extends the
// claim. A locked page is never superseded; the longer one then stands beside it until the shorter one is evicted.
//
// The Ref returned ends with the page that holds the last token, and the path to it counts as used now. It is None
// only for no tokens. A page inserted at a second place, or a number of pages that does not fit the tokens, is a
// programming error: Insert panics. Time is O(pages).
func (t *Tree) Insert(domain string, tokens []seq.Token, pages []seq.Page, dup []seq.Page) (Ref, []seq.Page) {
	if len(pages) != (len(tokens)+t.size-1)/t.size {
		panic(fmt.Sprintf("radix: %d tokens in %d pages of %d", len(tokens), len(pages), t.size))
	}
	if len(tokens) == 0 {
		return None, dup
	}
	for _, page := range pages {
		t.reach(page)
	}
	w := insertion{Tree: t, node: t.root(domain), tokens: tokens, pages: pages, dup: dup}
	for w.step() {
	}
	return w.path, w.dup
}

// insertion is an Insert under way: what is left of it below node.
type insertion struct {
	*Tree
	node   Ref // where the walk stands, a root at first
	path   Ref // node, or None at the root
	tokens []seq.Token
	pages  []seq.Page
	dup    []seq.Page
}

// step walks along one child, or ends the walk; it reports whether there is more to do.
func (w *insertion) step() bool {
	s, found := w.follow(w.node, w.tokens, w.found[:0])
	w.found = found
	for i, page := range found {
		w.duplicate(page, w.pages[i])
	}
	w.tokens, w.pages = w.tokens[int(s.whole)*w.size:], w.pages[s.whole:]
	switch {
	case len(w.tokens) == 0: // every page was there
		w.enter(w.split(s.node, s.whole, s.last))
		return false
	case s.node != None && s.page < 0: // the whole child was equal: go on below it
		w.enter(s.node)
		return true
	case s.shared == len(w.tokens): // the page that was there holds as much or more
		w.duplicate(s.page, w.pages[0])
		w.enter(w.split(s.node, s.whole+1, s.page))
		return false
	}
	if short := w.shorter(s); short != None {
		w.grow(short)
	} else if s.whole > 0 {
		w.enter(w.split(s.node, s.whole, s.last))
	}
	if len(w.tokens) > 0 {
		w.attach()
	}
	return false
}

// enter goes down to n, which counts as used.
func (w *insertion) enter(n Ref) {
	w.path = w.touch(n, w.path)
	w.node = n
}

// duplicate gives the caller's page back where the tree holds its tokens in another one. A page that the tree owns
// elsewhere (a short last page whose sequence wrote on and was overtaken) stays the tree's.
func (w *insertion) duplicate(kept, given seq.Page) {
	if !w.leaves[given].held {
		w.dup = append(w.dup, given)
	} else if given != kept {
		w.owner(given)
	}
}

// owner returns the node whose short last page is page; the tree holding it anywhere else is the caller's mistake.
func (w *insertion) owner(page seq.Page) Ref {
	o := w.leaves[page].owner
	if n := &w.nodes[o]; o == None || n.tail != page || int(n.fill) == w.size {
		panic(fmt.Sprintf("radix: page %d inserted in two places", page))
	}
	return o
}

// shorter returns the node whose last page holds a proper prefix of the tokens at hand, all that it holds, and may
// grow: it is the caller's own page, or another that no lock protects. None if there is no such node.
func (w *insertion) shorter(s stop) Ref {
	c := s.node
	own := w.leaves[w.pages[0]].held
	if own {
		c = w.owner(w.pages[0])
	} else if s.whole == 0 && s.shared > 0 {
		c = w.find(w.node, w.tokens[:s.shared]) // finds the sibling that is exactly the shared tokens, if there is one
	}
	if c == None {
		return None
	}
	n := &w.nodes[c]
	here := c == s.node || n.parent == w.node && s.whole == 0
	fits := here && n.pages == s.whole+1 && w.holds(n, w.tokens)
	if own && !fits {
		panic(fmt.Sprintf("radix: page %d inserted in two places", w.pages[0]))
	}
	if fits && (own || int(n.fill) == s.shared && !n.locked()) {
		return c
	}
	return None
}

// holds reports whether n's last page is short and all its tokens are the first of q.
func (t *Tree) holds(n *node, q []seq.Token) bool {
	return int(n.fill) < t.size && common(t.tokens(n.tail, int(n.fill)), q) == int(n.fill)
}

// grow puts the caller's longer page in place of n's short last one, or extends it if it is the same.
func (w *insertion) grow(c Ref) {
	n, given := &w.nodes[c], w.pages[0]
	if n.pages == 1 {
		w.unhang(c)
	}
	if old := n.tail; old != given {
		w.append(n, given)
		w.unlink(n, old)
		w.dup = append(w.dup, old)
	}
	w.write(c, w.tokens, given)
	if n.pages == 1 {
		w.hang(n.parent, c)
	}
	w.version++
	w.enter(c)
	k := min(w.size, len(w.tokens))
	w.tokens, w.pages = w.tokens[k:], w.pages[1:]
}

// attach adds what is left behind w.node: to its own run if it is an unlocked leaf, which keeps a path that was
// cached at once in one piece, else as a new child.
func (w *insertion) attach() {
	c := w.node
	fresh := w.path == None || w.nodes[c].locked() || w.nodes[c].kids != 0
	if fresh {
		c = w.newNode(w.node)
	}
	n := &w.nodes[c]
	for i, page := range w.pages {
		if w.leaves[page].held {
			panic(fmt.Sprintf("radix: page %d inserted in two places", page))
		}
		w.append(n, page)
		w.write(c, w.tokens[i*w.size:], page)
	}
	w.cached += len(w.pages)
	w.unlocked += len(w.pages)
	w.version++
	if fresh {
		w.hang(w.node, c)
		w.list(c, w.path)
		w.path, w.node = c, c
		return
	}
	w.path = c
}
