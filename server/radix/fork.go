package radix

import (
	"math/bits"

	"radish/server/seq"
)

// The children of a node are the leaves of a PATRICIA tree (D. R. Morrison, 1968; the variant known as crit-bit) over
// the bits of their first pages. A page is PageSize symbols of 64 bits: token + 1, or 0 behind the last token of a
// short page, so that no page is a prefix of another. Going down by the bits of a query, without looking at anything
// else, ends at a child that shares as many leading bits with the query as any child does; comparing its tokens then
// tells how many. That is one comparison, no hash and no collision, and the way down is as deep as the children that
// resemble the query are many: about log2 of their number, at most the number of bits of a page.

// link is a child in a PATRICIA tree: a fork if positive, a node (negated) if negative, nothing if 0.
type link int32

func leafLink(n Ref) link { return link(-n) }

// fork is where two sets of siblings part.
type fork struct {
	bit int32   // the first that differs: symbol*64 + bit, the most significant bit being 0
	up  int32   // the fork above, 0 for the first below a node
	kid [2]link // by the value of the bit
}

// symbol is the i-th symbol of a page that begins with q.
func symbol(q []seq.Token, i int) uint64 {
	if i >= len(q) {
		return 0
	}
	return uint64(uint32(q[i])) + 1
}

func bitOf(q []seq.Token, bit int32) int {
	return int(symbol(q, int(bit>>6))>>(63-bit&63)) & 1
}

// find returns the child of n that shares the longest prefix with q inside the first page, None if n has none.
func (t *Tree) find(n Ref, q []seq.Token) Ref {
	k := t.nodes[n].kids
	for k > 0 {
		f := &t.forks[k]
		k = f.kid[bitOf(q, f.bit)]
	}
	return Ref(-k)
}

// first returns the tokens of c's first page.
func (t *Tree) first(c Ref) []seq.Token {
	n := &t.nodes[c]
	if n.pages == 1 {
		return t.tokens(n.head, int(n.fill))
	}
	return t.tokens(n.head, t.size)
}

// above returns the link that leads to c.
func (t *Tree) above(c Ref) *link {
	n := &t.nodes[c]
	if n.up == 0 {
		return &t.nodes[n.parent].kids
	}
	return t.side(n.up, leafLink(c))
}

// side returns the link of fork f that equals k.
func (t *Tree) side(f int32, k link) *link {
	kid := &t.forks[f].kid
	if kid[0] == k {
		return &kid[0]
	}
	return &kid[1]
}

// hang makes c, whose pages are in place, a child of n. No sibling has the same first page.
func (t *Tree) hang(n, c Ref) {
	q := t.first(c)
	near := t.find(n, q)
	if near == None {
		t.nodes[n].kids, t.nodes[c].up = leafLink(c), 0
		return
	}
	other := t.first(near)
	i := common(q, other)
	bit := int32(i<<6 + bits.LeadingZeros64(symbol(q, i)^symbol(other, i)))
	f := t.newFork()
	at, up := &t.nodes[n].kids, int32(0)
	for *at > 0 && t.forks[*at].bit < bit {
		up = int32(*at)
		at = &t.forks[up].kid[bitOf(q, t.forks[up].bit)]
	}
	below, side := *at, bitOf(q, bit)
	*at = link(f)
	t.forks[f] = fork{bit: bit, up: up}
	t.forks[f].kid[side], t.forks[f].kid[1-side] = leafLink(c), below
	t.nodes[c].up = f
	t.setUp(below, f)
}

// unhang takes c out of its parent's children.
func (t *Tree) unhang(c Ref) {
	n := &t.nodes[c]
	f := n.up
	if f == 0 {
		t.nodes[n.parent].kids = 0
		return
	}
	fk := t.forks[f]
	rest := fk.kid[0]
	if rest == leafLink(c) {
		rest = fk.kid[1]
	}
	if fk.up == 0 {
		t.nodes[n.parent].kids = rest
	} else {
		*t.side(fk.up, link(f)) = rest
	}
	t.setUp(rest, fk.up)
	n.up = 0
	t.forks[f] = fork{up: t.idle, bit: -1}
	t.idle = f
}

// setUp tells k that the fork above it is up.
func (t *Tree) setUp(k link, up int32) {
	if k > 0 {
		t.forks[k].up = up
	} else {
		t.nodes[-k].up = up
	}
}

// newFork returns a fork to be filled in. It may move all others.
func (t *Tree) newFork() int32 {
	f := t.idle
	if f == 0 {
		t.forks = append(t.forks, fork{})
		return int32(len(t.forks) - 1)
	}
	t.idle = t.forks[f].up
	return f
}
