package radix

import "radish/server/seq"

// leaf is what the tree keeps of one page beside its tokens: its neighbours in the run of a node.
type leaf struct {
	prev, next seq.Page // -1 at the ends
	owner      Ref      // the node of which this is the last page; meaningless in any other page
	held       bool     // the tree owns the page
}

// reach makes room for page in the tables.
func (t *Tree) reach(page seq.Page) {
	if n := int(page) + 1; n > len(t.leaves) {
		t.leaves = append(t.leaves, make([]leaf, n-len(t.leaves))...)
		t.text = append(t.text, make([]seq.Token, n*t.size-len(t.text))...)
	}
}

// tokens returns the first n tokens of page.
func (t *Tree) tokens(page seq.Page, n int) []seq.Token {
	at := int(page) * t.size
	return t.text[at : at+n]
}

// write makes page, the last one of c, hold the first of q.
func (t *Tree) write(c Ref, q []seq.Token, page seq.Page) {
	k := copy(t.tokens(page, t.size), q)
	t.nodes[c].fill = int32(k)
	t.leaves[page].owner = c
}

// append links page to the end of n's run.
func (t *Tree) append(n *node, page seq.Page) {
	t.leaves[page] = leaf{prev: n.tail, next: -1, held: true}
	if n.tail >= 0 {
		t.leaves[n.tail].next = page
	} else {
		n.head = page
	}
	n.tail = page
	n.pages++
}

// unlink takes page out of n's run and out of the tree.
func (t *Tree) unlink(n *node, page seq.Page) {
	l := t.leaves[page]
	if l.prev >= 0 {
		t.leaves[l.prev].next = l.next
	} else {
		n.head = l.next
	}
	if l.next >= 0 {
		t.leaves[l.next].prev = l.prev
	} else {
		n.tail = l.prev
	}
	t.leaves[page] = leaf{}
	n.pages--
}
