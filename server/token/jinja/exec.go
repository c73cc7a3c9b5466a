package jinja

// body runs statements until one breaks or continues a loop.
func (r *run) body(b []stmt, s *scope) signal {
	for _, st := range b {
		r.step(1)
		if sig := st.exec(r, s); sig != sigNone {
			return sig
		}
	}
	return sigNone
}

func (n *dataStmt) exec(r *run, _ *scope) signal {
	r.emit(n.t)
	return sigNone
}

func (n *printStmt) exec(r *run, s *scope) signal {
	r.line = n.line
	for _, e := range n.items {
		r.emit(r.str(e.eval(r, s)))
	}
	return sigNone
}

func (n *ifStmt) exec(r *run, s *scope) signal {
	for _, b := range n.branches {
		r.line = b.line
		if truth(b.test.eval(r, s)) {
			return r.body(b.body, s)
		}
	}
	return r.body(n.otherwise, s)
}

func (n *jumpStmt) exec(*run, *scope) signal { return n.sig }

// assign sets a target, taking a tuple apart.
func (r *run) assign(t *target, v any, s *scope) {
	if t.parts == nil {
		s.set(t.name, v)
		return
	}
	items := r.collect(v)
	if len(items) != len(t.parts) {
		r.fail("cannot unpack %d values into %d names", len(items), len(t.parts))
	}
	for i, p := range t.parts {
		r.assign(p, items[i], s)
	}
}

func (n *setStmt) exec(r *run, s *scope) signal {
	r.line = n.line
	var v any
	if n.value != nil {
		v = n.value.eval(r, s)
	} else {
		sig := sigNone
		v = r.capture(func() { sig = r.body(n.body, &scope{parent: s}) })
		if sig != sigNone {
			return sig
		}
		if n.filter != nil {
			v = n.filter.onBlock(r, s, v)
		}
	}
	if n.ns == nil {
		r.assign(n.targets, v, s)
		return sigNone
	}
	ns, ok := r.lookup(s, n.ns.name).(*namespace)
	if !ok {
		r.fail("cannot assign attribute on non-namespace object")
	}
	r.spend(32)
	ns.attrs.set(&text{s: n.attr}, v)
	return sigNone
}

func (n *scopeStmt) exec(r *run, s *scope) signal {
	inner := &scope{parent: s}
	for i, t := range n.targets {
		r.assign(t, n.values[i].eval(r, s), inner)
	}
	return r.body(n.body, inner)
}

func (n *filterStmt) exec(r *run, s *scope) signal {
	sig := sigNone
	t := r.capture(func() { sig = r.body(n.body, &scope{parent: s}) })
	if sig != sigNone {
		return sig
	}
	r.line = n.line
	r.emit(r.str(n.f.onBlock(r, s, t)))
	return sigNone
}

func (n *macroStmt) exec(r *run, s *scope) signal {
	s.set(n.def.name, &macro{def: n.def, scope: s})
	return sigNone
}

// exec calls the macro with the block as its caller.
func (n *callStmt) exec(r *run, s *scope) signal {
	r.line = n.line
	fn := n.call.fn.eval(r, s)
	a := n.call.args.eval(r, s)
	a.kw = append(a.kw, kwArg{"caller", &macro{def: n.body, scope: s}})
	r.emit(r.str(r.call(fn, a)))
	return sigNone
}

// loop is the loop variable: items are taken as they are needed, so that a filter sees what the body has set.
type loop struct {
	src    *iter
	ahead  []any // taken from src, not yet current
	index  int   // of the current item, from 0
	prev   any
	cur    any
	values []any // what changed() saw last
}

// peek looks at the item after the current one.
func (l *loop) peek() (any, bool) {
	if len(l.ahead) == 0 {
		v, ok := l.src.next()
		if !ok {
			return nil, false
		}
		l.ahead = append(l.ahead, v)
	}
	return l.ahead[0], true
}

func (l *loop) advance() bool {
	v, ok := l.peek()
	if !ok {
		return false
	}
	l.ahead = l.ahead[1:]
	l.index++
	l.prev, l.cur = l.cur, v
	return true
}

func (l *loop) length() int {
	for {
		v, ok := l.src.next()
		if !ok {
			return l.index + 1 + len(l.ahead)
		}
		l.ahead = append(l.ahead, v)
	}
}

// exec gives every round a scope of its own: what it sets is gone in the next.
func (n *forStmt) exec(r *run, s *scope) signal {
	r.line = n.line
	l := &loop{src: r.iterate(n.iter.eval(r, s)), index: -1}
	if n.test != nil {
		l.src = n.filtered(r, s, l.src)
	}
	for l.advance() {
		r.step(1)
		inner := &scope{names: []string{"loop"}, vals: []any{l}, parent: s}
		r.assign(n.targets, l.cur, inner)
		if r.body(n.body, inner) == sigBreak {
			break
		}
	}
	if l.index < 0 {
		return r.body(n.otherwise, &scope{parent: s})
	}
	return sigNone
}

// filtered is src without the items that the loop's condition refuses.
func (n *forStmt) filtered(r *run, s *scope, src *iter) *iter {
	return &iter{next: func() (any, bool) {
		for {
			v, ok := src.next()
			if !ok {
				return nil, false
			}
			r.step(1)
			inner := &scope{parent: s}
			r.assign(n.targets, v, inner)
			if truth(n.test.eval(r, inner)) {
				return v, true
			}
		}
	}}
}

// attr is an attribute of the loop variable; those that need the end of the loop draw all items first.
func (l *loop) attr(r *run, name string) (any, bool) {
	optional := func(v any, ok bool, what string) any {
		if !ok {
			return &undef{msg: "there is no " + what + " item"}
		}
		return v
	}
	switch name {
	case "index":
		return l.index + 1, true
	case "index0":
		return l.index, true
	case "revindex":
		return l.length() - l.index, true
	case "revindex0":
		return l.length() - l.index - 1, true
	case "first":
		return l.index == 0, true
	case "last":
		_, more := l.peek()
		return !more, true
	case "length":
		return l.length(), true
	case "depth": // of recursive loops, which are not supported
		return 1, true
	case "depth0":
		return 0, true
	case "previtem":
		return optional(l.prev, l.index > 0, "previous"), true
	case "nextitem":
		v, ok := l.peek()
		return optional(v, ok, "next"), true
	case "cycle":
		return &function{"cycle", l.cycle}, true
	case "changed":
		return &function{"changed", l.changed}, true
	}
	return nil, false
}

func (l *loop) cycle(r *run, a args) any {
	if len(a.pos) == 0 || len(a.kw) > 0 {
		r.fail("no items for cycling given")
	}
	return a.pos[l.index%len(a.pos)]
}

// changed says whether its arguments differ from those of the last call.
func (l *loop) changed(_ *run, a args) any {
	same := l.values != nil && equal(&list{items: l.values}, &list{items: a.pos})
	l.values = append([]any{}, a.pos...)
	return !same
}
