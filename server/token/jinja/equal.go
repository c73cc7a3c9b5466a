package jinja

// comparer bounds how much a comparison looks at: values may share parts and so be far larger than their memory.
type comparer struct{ left, depth int }

// tooMuch gives up on a value that is too large to handle; Render adds where.
func tooMuch(msg string) { panic(&Error{Message: msg, Err: ErrLimit}) }

// equal is Python's == for values that are small, such as keys.
func equal(a, b any) bool {
	c := comparer{left: 1 << 16}
	return c.equal(a, b)
}

// equal spends what it looks at.
func (r *run) equal(a, b any) bool {
	c := comparer{left: r.steps}
	is := c.equal(a, b)
	r.step(r.steps - c.left)
	return is
}

// enter goes one level down; the caller lowers depth again.
func (c *comparer) enter() {
	c.left--
	c.depth++
	if c.left < 0 || c.depth > maxNesting {
		tooMuch("values are too large or too deep to compare")
	}
}

func (c *comparer) equal(a, b any) bool {
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && compareNumbers(x, y) == 0
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case *text:
		b, ok := b.(*text)
		return ok && a.s == b.s
	case *undef:
		_, ok := b.(*undef)
		return ok
	case *list:
		b, ok := b.(*list)
		return ok && c.lists(a, b)
	case *dict:
		b, ok := b.(*dict)
		return ok && c.dicts(a, b)
	}
	return a == b
}

func (c *comparer) lists(a, b *list) bool {
	if a == b {
		return true
	}
	if a.kind != b.kind || a.kind == kindValues || len(a.items) != len(b.items) {
		return false
	}
	c.enter()
	defer func() { c.depth-- }()
	for i := range a.items {
		c.left--
		if !c.equal(a.items[i], b.items[i]) {
			return false
		}
	}
	return true
}

func (c *comparer) dicts(a, b *dict) bool {
	if len(a.keys) != len(b.keys) {
		return false
	}
	c.enter()
	defer func() { c.depth-- }()
	for i, k := range a.keys {
		c.left--
		j := b.find(k)
		if j < 0 || !c.equal(a.vals[i], b.vals[j]) {
			return false
		}
	}
	return true
}

// hashable says whether v may be a dict's key.
func hashable(v any) bool {
	c := comparer{left: 1 << 12}
	return c.hashable(v)
}

func (c *comparer) hashable(v any) bool {
	switch v := v.(type) {
	case *dict:
		return false
	case *list:
		if v.kind != kindTuple {
			return v.kind == kindRange
		}
		c.enter()
		defer func() { c.depth-- }()
		for _, e := range v.items {
			if !c.hashable(e) {
				return false
			}
		}
	}
	return true
}
