package radix

import (
	"fmt"

	"radish/server/seq"
)

// newNode returns an empty node below parent.
func (t *Tree) newNode(parent Ref) Ref {
	n := t.spare
	if n == None {
		t.nodes = append(t.nodes, node{})
		n = Ref(len(t.nodes) - 1)
	} else {
		t.spare = t.nodes[n].parent
	}
	t.nodes[n] = node{parent: parent, head: -1, tail: -1}
	return n
}

// recycle keeps an empty node for newNode. Its negative lock count tells it from the living.
func (t *Tree) recycle(n Ref) {
	t.nodes[n] = node{parent: t.spare, head: -1, tail: -1, locks: -1}
	t.spare = n
}

// root returns the root of domain, a new one if it has none.
func (t *Tree) root(domain string) Ref {
	r := t.roots[domain]
	if r == None {
		r = t.newNode(None)
		t.roots[domain], t.names[r] = r, domain
	}
	return r
}

// split cuts c behind its page last, the whole-th of the run, and returns the upper part, a new node; c itself is the
// lower part, so that locks on it still protect all they did. If last is c's last page there is nothing to cut.
func (t *Tree) split(c Ref, whole int32, last seq.Page) Ref {
	if whole == t.nodes[c].pages {
		return c
	}
	u := t.newNode(t.nodes[c].parent)
	upper, lower := &t.nodes[u], &t.nodes[c]
	*t.above(c) = leafLink(u)
	upper.kids, upper.up = leafLink(c), lower.up
	upper.head, upper.tail, upper.pages, upper.fill = lower.head, last, whole, int32(t.size)
	next := t.leaves[last].next
	t.leaves[last].next, t.leaves[last].owner = -1, u
	t.leaves[next].prev = -1
	lower.parent, lower.up, lower.head = u, 0, next
	lower.pages -= whole
	if lower.locked() {
		upper.busy = 1
	} else {
		t.list(u, lower.newer)
	}
	return u
}

// Lock protects every page on the path from the root to n from eviction and from being superseded, until Unlock was
// called as often. It is O(nodes that no lock protected before).
func (t *Tree) Lock(n Ref) {
	if n == None {
		return
	}
	c := t.living(n)
	was := c.locked()
	c.locks++
	for !was && c.parent != None {
		t.unlist(n)
		t.unlocked -= int(c.pages)
		n = c.parent
		c = &t.nodes[n]
		was = c.locked()
		c.busy++
	}
}

// Unlock takes one Lock back. A page that is no longer protected counts as used until now. Unlocking a node that is
// not locked is a programming error: Unlock panics.
func (t *Tree) Unlock(n Ref) {
	if n == None {
		return
	}
	c := t.living(n)
	if c.locks == 0 {
		panic(fmt.Sprintf("radix: unlock of node %d, which is not locked", n))
	}
	c.locks--
	for !c.locked() && c.parent != None {
		t.list(n, None) // a parent follows its child here, and so is newer
		t.unlocked += int(c.pages)
		n = c.parent
		c = &t.nodes[n]
		c.busy--
	}
}

// living returns n's node; a Ref to one that was evicted is a programming error.
func (t *Tree) living(n Ref) *node {
	c := &t.nodes[n]
	if c.locks < 0 || c.parent == None {
		panic(fmt.Sprintf("radix: node %d is not in the tree", n))
	}
	return c
}

// touch makes n the most recently used node but for after, its parent, and returns n.
func (t *Tree) touch(n, after Ref) Ref {
	if t.nodes[n].locked() {
		return n
	}
	if after != None && t.nodes[after].locked() {
		after = None
	}
	if t.nodes[n].newer != after {
		t.unlist(n)
		t.list(n, after)
	}
	return n
}

// list puts n into the recency list behind after, or as the newest if after is None or locked.
func (t *Tree) list(n, after Ref) {
	c := &t.nodes[n]
	if after == None || t.nodes[after].locked() {
		c.newer, c.older = None, t.newest
		t.newest = n
	} else {
		a := &t.nodes[after]
		c.newer, c.older = after, a.older
		a.older = n
	}
	if c.older != None {
		t.nodes[c.older].newer = n
	} else {
		t.oldest = n
	}
}

// unlist takes n out of the recency list.
func (t *Tree) unlist(n Ref) {
	c := &t.nodes[n]
	if c.newer != None {
		t.nodes[c.newer].older = c.older
	} else {
		t.newest = c.older
	}
	if c.older != None {
		t.nodes[c.older].newer = c.newer
	} else {
		t.oldest = c.newer
	}
	c.newer, c.older = None, None
}

// Evict takes n pages out of the tree, or as many as no lock protects, and appends them to freed for the caller to
// free. The least recently used leaf goes first, from its end: a long prefix is shortened by what is needed and no
// more, and the rest of it stays the first to go. It is O(pages freed), whatever the number of leaves.
func (t *Tree) Evict(n int, freed []seq.Page) []seq.Page {
	for n > 0 && t.oldest != None {
		c := t.oldest // all below it would be older, so it is a leaf
		k := min(n, int(t.nodes[c].pages))
		freed = t.trim(c, k, freed)
		n -= k
	}
	return freed
}

// Reset takes every page out of the tree that no lock protects.
func (t *Tree) Reset(freed []seq.Page) []seq.Page { return t.Evict(t.unlocked, freed) }

// trim frees the last k pages of the unlocked leaf c, and the leaf itself if they are all.
func (t *Tree) trim(c Ref, k int, freed []seq.Page) []seq.Page {
	n := &t.nodes[c]
	t.cached -= k
	t.unlocked -= k
	for range k {
		freed = append(freed, n.tail)
		t.unlink(n, n.tail)
	}
	if n.pages > 0 {
		n.fill = int32(t.size)
		t.leaves[n.tail].owner = c
		return freed
	}
	t.unlist(c)
	t.unhang(c)
	if root := n.parent; t.nodes[root].parent == None && t.nodes[root].kids == 0 {
		delete(t.roots, t.names[root])
		delete(t.names, root)
		t.recycle(root)
	}
	t.recycle(c)
	return freed
}
