package jinja

import "strings"

func (n *constExpr) eval(*run, *scope) any { return n.v }

func (n *nameExpr) eval(r *run, s *scope) any {
	r.step(1)
	return r.lookup(s, n.name)
}

func (n *listExpr) eval(r *run, s *scope) any {
	r.chargeList(len(n.items))
	l := &list{items: make([]any, len(n.items))}
	for i, e := range n.items {
		l.items[i] = e.eval(r, s)
	}
	if n.tuple {
		l.kind = kindTuple
	}
	return l
}

func (n *dictExpr) eval(r *run, s *scope) any {
	r.chargeList(2 * len(n.keys))
	d := &dict{}
	for i, k := range n.keys {
		key := k.eval(r, s)
		if !hashable(key) {
			r.line = n.line
			r.fail("unhashable type: '%s'", typeName(key))
		}
		d.set(key, n.vals[i].eval(r, s))
	}
	return d
}

// Where a node may fail, it notes its line after its operands were evaluated, since they have lines of their own.
func (n *attrExpr) eval(r *run, s *scope) any {
	r.step(1)
	v := n.obj.eval(r, s)
	r.line = n.line
	return r.getattr(v, n.name)
}

func (n *itemExpr) eval(r *run, s *scope) any {
	r.step(1)
	v := n.obj.eval(r, s)
	k := n.key.eval(r, s)
	r.line = n.line
	return r.getitem(v, k)
}

func (n *sliceExpr) eval(r *run, s *scope) any {
	r.step(1)
	v := n.obj.eval(r, s)
	var part [3]any
	for i, e := range n.part {
		if e != nil {
			part[i] = e.eval(r, s)
		}
	}
	r.line = n.line
	return r.slice(v, part)
}

func (n *callExpr) eval(r *run, s *scope) any {
	r.step(1)
	fn := n.fn.eval(r, s)
	a := n.args.eval(r, s)
	r.line = n.line
	return r.call(fn, a)
}

func (n *filterExpr) eval(r *run, s *scope) any {
	return n.apply(r, s, n.in.eval(r, s))
}

func (n *filterExpr) apply(r *run, s *scope, v any) any {
	r.step(1)
	a := n.args.eval(r, s)
	r.line = n.line
	if n.fn == nil {
		r.fail("no filter named '%s'", n.name)
	}
	return n.fn(r, v, a)
}

// onBlock applies a chain of filters to the text of a block.
func (n *filterExpr) onBlock(r *run, s *scope, v any) any {
	if in, ok := n.in.(*filterExpr); ok {
		v = in.onBlock(r, s, v)
	}
	return n.apply(r, s, v)
}

func (n *testExpr) eval(r *run, s *scope) any {
	r.step(1)
	v := n.in.eval(r, s)
	a := n.args.eval(r, s)
	r.line = n.line
	if n.fn == nil {
		r.fail("no test named '%s'", n.name)
	}
	return n.fn(r, v, a)
}

func (n *logicExpr) eval(r *run, s *scope) any {
	r.step(1)
	v := n.l.eval(r, s)
	if truth(v) == n.or {
		return v
	}
	return n.r.eval(r, s)
}

func (n *notExpr) eval(r *run, s *scope) any { return !truth(n.e.eval(r, s)) }

func (n *condExpr) eval(r *run, s *scope) any {
	r.step(1)
	if truth(n.test.eval(r, s)) {
		return n.then.eval(r, s)
	}
	if n.otherwise == nil {
		return &undef{msg: "the inline if-expression evaluated to false and no else section was defined"}
	}
	return n.otherwise.eval(r, s)
}

func (n *concatExpr) eval(r *run, s *scope) any {
	r.step(len(n.items))
	parts := make([]*text, len(n.items))
	size := 0
	for i, e := range n.items {
		parts[i] = r.str(e.eval(r, s))
		size += len(parts[i].s)
	}
	r.charge(size)
	return concat(parts...)
}

func (n *signExpr) eval(r *run, s *scope) any {
	v := n.e.eval(r, s)
	r.line = n.line
	x, ok := number(v)
	if !ok {
		r.misuse(v)
		r.fail("bad operand type for unary operator: '%s'", typeName(v))
	}
	if !n.neg {
		return x
	}
	if f, ok := x.(float64); ok {
		return -f
	}
	return r.arith("-", 0, x)
}

func (n *cmpExpr) eval(r *run, s *scope) any {
	l := n.first.eval(r, s)
	for _, op := range n.ops {
		r.step(1)
		v := op.e.eval(r, s)
		r.line = n.line
		if !r.compare(op.op, l, v) {
			return false
		}
		l = v
	}
	return true
}

// compare is one Python comparison.
func (r *run) compare(op string, a, b any) bool {
	switch op {
	case "==":
		return r.equal(a, b)
	case "!=":
		return !r.equal(a, b)
	case "in":
		return r.contains(b, a)
	case "not in":
		return !r.contains(b, a)
	}
	c := r.order(a, b)
	switch op {
	case "<":
		return c == -1
	case "<=":
		return c == -1 || c == 0
	case ">":
		return c == 1
	}
	return c == 1 || c == 0
}

// order gives -1, 0 or 1 (2: neither, a NaN) or fails for values that Python does not order.
func (r *run) order(a, b any) int {
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			return compareNumbers(x, y)
		}
	}
	switch x := a.(type) {
	case *text:
		if y, ok := b.(*text); ok {
			return strings.Compare(x.s, y.s)
		}
	case *list:
		if y, ok := b.(*list); ok && x.kind == y.kind && x.kind <= kindTuple {
			return r.orderLists(x.items, y.items)
		}
	}
	r.misuse(a)
	r.misuse(b)
	r.fail("'%s' and '%s' cannot be ordered", typeName(a), typeName(b))
	return 0
}

func (r *run) orderLists(a, b []any) int {
	r.depth++ // of macros and of values alike
	defer func() { r.depth-- }()
	if r.depth > maxNesting {
		r.limit("values are too deep to compare")
	}
	for i := range min(len(a), len(b)) {
		r.step(1)
		if !r.equal(a[i], b[i]) {
			return r.order(a[i], b[i])
		}
	}
	return cmpOf(len(a), len(b))
}

// misuse fails with an undefined value's own message.
func (r *run) misuse(v any) {
	if u, ok := v.(*undef); ok {
		r.fail("%s", u.msg)
	}
}

// contains is Python's in.
func (r *run) contains(in, v any) bool {
	switch in := in.(type) {
	case *text:
		t, ok := v.(*text)
		if !ok {
			r.fail("'in <string>' requires string as left operand, not %s", typeName(v))
		}
		r.step(len(in.s) / 64)
		return strings.Contains(in.s, t.s)
	case *dict:
		if !hashable(v) {
			r.fail("unhashable type: '%s'", typeName(v))
		}
		return in.find(v) >= 0
	}
	for it := r.iterate(in); ; {
		e, ok := it.next()
		if !ok {
			return false
		}
		r.step(1)
		if r.equal(e, v) {
			return true
		}
	}
}

// iterate walks over a value as Python's iter does.
func (r *run) iterate(v any) *iter {
	switch v := v.(type) {
	case *list:
		return fromSlice(v.items)
	case *dict:
		return fromSlice(v.keys)
	case *iter:
		return v
	case *undef:
		return fromSlice(nil)
	case *text:
		at := 0
		return &iter{next: func() (any, bool) {
			if at >= len(v.s) {
				return nil, false
			}
			from := at
			at += runeSize(v.s[at:])
			r.spend(16)
			return v.cut(from, at), true
		}}
	case *loop:
		return &iter{next: func() (any, bool) { ok := v.advance(); return v.cur, ok }}
	}
	r.fail("'%s' object is not iterable", typeName(v))
	return nil
}

// collect is Python's list().
func (r *run) collect(v any) []any {
	if l, ok := v.(*list); ok {
		r.chargeList(len(l.items))
		return l.items[:len(l.items):len(l.items)]
	}
	var out []any
	for it := r.iterate(v); ; {
		e, ok := it.next()
		if !ok {
			return out
		}
		r.chargeList(1)
		out = append(out, e)
	}
}
