package radix

import (
	"fmt"

	"radish/server/seq"
)

// Check proves every invariant of the tree and returns the first that does not hold, as a plain sentence. It is O(pages
// of the pool) and allocates: it is meant for tests and for idle moments.
func (t *Tree) Check() error {
	c := checker{Tree: t, age: make(map[Ref]int)}
	if err := c.recency(); err != nil {
		return fmt.Errorf("check tree: %w", err)
	}
	if len(t.roots) != len(t.names) {
		return fmt.Errorf("check tree: %d roots, %d names", len(t.roots), len(t.names))
	}
	for domain, r := range t.roots {
		if t.names[r] != domain || t.nodes[r].parent != None || t.nodes[r].pages != 0 {
			return fmt.Errorf("check tree: root %d of domain %q is not one", r, domain)
		}
		if t.nodes[r].kids == 0 {
			return fmt.Errorf("check tree: domain %q is empty", domain)
		}
		if err := c.children(r); err != nil {
			return fmt.Errorf("check tree: domain %q: %w", domain, err)
		}
	}
	if err := c.totals(); err != nil {
		return fmt.Errorf("check tree: %w", err)
	}
	return nil
}

// checker counts what a walk through the tree meets.
type checker struct {
	*Tree
	age                           map[Ref]int // place in the recency list, the newest being 1
	nodes, forks, pages, unlocked int
	listed                        int
}

// recency walks the recency list both ways.
func (c *checker) recency() error {
	last := None
	for n := c.newest; n != None; n = c.Tree.nodes[n].older {
		if c.Tree.nodes[n].newer != last {
			return fmt.Errorf("node %d follows %d in the recency list, but not back", n, last)
		}
		if c.age[n] != 0 {
			return fmt.Errorf("node %d is twice in the recency list", n)
		}
		c.age[n] = len(c.age) + 1
		last = n
	}
	if c.oldest != last {
		return fmt.Errorf("the oldest node is %d, the recency list ends with %d", c.oldest, last)
	}
	return nil
}

// children walks the subtree below n.
func (c *checker) children(n Ref) error {
	var kids []Ref
	if err := c.branch(n, c.Tree.nodes[n].kids, 0, &kids); err != nil {
		return err
	}
	busy := int32(0)
	for _, k := range kids {
		kid := &c.Tree.nodes[k]
		if kid.parent != n {
			return fmt.Errorf("node %d hangs below %d, its parent is %d", k, n, kid.parent)
		}
		if got := c.find(n, c.first(k)); got != k {
			return fmt.Errorf("node %d looked for by its first page, %d found", k, got)
		}
		if err := c.node(k); err != nil {
			return err
		}
		if kid.locked() {
			busy++
		} else if c.age[n] > c.age[k] {
			return fmt.Errorf("node %d was used after its parent %d", k, n)
		}
	}
	if p := &c.Tree.nodes[n]; p.busy != busy || p.locks < 0 {
		return fmt.Errorf("node %d has %d locked children and counts %d, %d locks", n, busy, p.busy, p.locks)
	}
	c.nodes++
	return nil
}

// branch walks one PATRICIA tree and collects its leaves.
func (c *checker) branch(n Ref, k link, up int32, kids *[]Ref) error {
	if k == 0 && up == 0 {
		return nil
	}
	if k <= 0 {
		if k == 0 || c.Tree.nodes[-k].up != up {
			return fmt.Errorf("node %d hangs below fork %d and does not know", -k, up)
		}
		*kids = append(*kids, Ref(-k))
		return nil
	}
	f := c.Tree.forks[k]
	if f.up != up || up != 0 && c.Tree.forks[up].bit >= f.bit {
		return fmt.Errorf("fork %d (bit %d) hangs below fork %d out of order", k, f.bit, up)
	}
	c.forks++
	before := len(*kids)
	for side, kid := range f.kid {
		from := len(*kids)
		if err := c.branch(n, kid, int32(k), kids); err != nil {
			return err
		}
		for _, leaf := range (*kids)[from:] {
			if bitOf(c.first(leaf), f.bit) != side {
				return fmt.Errorf("node %d is on the wrong side of fork %d", leaf, k)
			}
		}
	}
	if len(*kids)-before < 2 {
		return fmt.Errorf("fork %d parts fewer than two children", k)
	}
	return nil
}

// node checks one node that is not a root, and the subtree below it.
func (c *checker) node(n Ref) error {
	nd := &c.Tree.nodes[n]
	if nd.pages < 1 || nd.fill < 1 || int(nd.fill) > c.size || int(nd.fill) < c.size && nd.kids != 0 {
		return fmt.Errorf("node %d has %d pages, %d tokens in the last, children %v", n, nd.pages, nd.fill, nd.kids != 0)
	}
	count, last := int32(0), seq.Page(-1)
	for page := nd.head; page >= 0; page = c.leaves[page].next {
		if l := c.leaves[page]; !l.held || l.prev != last || count == nd.pages {
			return fmt.Errorf("page %d, number %d of node %d's %d, has lost its links", page, count, n, nd.pages)
		}
		last = page
		count++
	}
	if count != nd.pages || last != nd.tail || c.leaves[last].owner != n {
		return fmt.Errorf("node %d ends with page %d of %d, not %d of %d", n, last, count, nd.tail, nd.pages)
	}
	c.pages += int(count)
	if nd.locked() == (c.age[n] != 0) {
		return fmt.Errorf("node %d: locked %v, and in the recency list at %d", n, nd.locked(), c.age[n])
	}
	if !nd.locked() {
		c.unlocked += int(count)
		c.listed++
	}
	return c.children(n)
}

// totals compares the counters with what the walk met, so that nothing is outside the tree.
func (c *checker) totals() error {
	held, spare, idle := 0, 0, 0
	for i := range c.leaves {
		if c.leaves[i].held {
			held++
		}
	}
	for n := c.spare; n != None && spare < len(c.Tree.nodes); n = c.Tree.nodes[n].parent {
		spare++
	}
	for f := c.idle; f != 0 && idle < len(c.Tree.forks); f = c.Tree.forks[f].up {
		idle++
	}
	switch {
	case c.pages != c.cached || held != c.cached:
		return fmt.Errorf("%d pages in nodes, %d held, %d counted", c.pages, held, c.cached)
	case c.Tree.unlocked != c.unlocked:
		return fmt.Errorf("%d pages unlocked, %d counted", c.unlocked, c.Tree.unlocked)
	case c.listed != len(c.age):
		return fmt.Errorf("%d nodes unlocked, %d in the recency list", c.listed, len(c.age))
	case c.nodes+spare != len(c.Tree.nodes)-1:
		return fmt.Errorf("%d nodes in the tree and %d spare of %d", c.nodes, spare, len(c.Tree.nodes)-1)
	case c.forks+idle != len(c.Tree.forks)-1:
		return fmt.Errorf("%d forks in the tree and %d idle of %d", c.forks, idle, len(c.Tree.forks)-1)
	}
	return nil
}
