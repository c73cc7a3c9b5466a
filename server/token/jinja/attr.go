package jinja

import (
	"math/big"
	"strings"
)

// getattr is v.name: what the value itself offers first, then its item of that name.
func (r *run) getattr(v any, name *text) any {
	r.misuse(v)
	if a, ok := r.own(v, name.s); ok {
		return a
	}
	if d, ok := v.(*dict); ok {
		if i := d.find(name); i >= 0 {
			return d.vals[i]
		}
	}
	return noAttr(v, name.s)
}

func noAttr(v any, name string) *undef {
	return &undef{msg: "'" + typeName(v) + " object' has no attribute '" + name + "'"}
}

// getitem is v[key]: the item first.
func (r *run) getitem(v, key any) any {
	r.misuse(v)
	switch v := v.(type) {
	case *dict:
		if hashable(key) {
			if i := v.find(key); i >= 0 {
				return v.vals[i]
			}
		}
	case *list:
		if i, ok := index(key, len(v.items)); ok && !v.kind.view() {
			return v.items[i]
		}
	case *text:
		if i, ok := index(key, runeLen(v.s)); ok {
			r.step(len(v.s) / 64)
			if at := offsets(v.s); at != nil {
				return v.cut(at[i], at[i+1])
			}
			return v.cut(i, i+1)
		}
	}
	if t, ok := key.(*text); ok {
		if a, ok := r.own(v, t.s); ok {
			return a
		}
		return noAttr(v, t.s)
	}
	var b strings.Builder
	r.repr(&b, key, 0)
	return &undef{msg: typeName(v) + " object has no element " + b.String()}
}

// index resolves a Python index.
func index(key any, n int) (int, bool) {
	if b, ok := key.(bool); ok {
		key, _ = number(b)
	}
	i, ok := key.(int)
	if i < 0 {
		i += n
	}
	return i, ok && i >= 0 && i < n
}

var mutators = map[string]bool{
	"append": true, "clear": true, "extend": true, "insert": true, "pop": true, "remove": true, "reverse": true,
	"sort": true, "popitem": true, "setdefault": true, "update": true,
}

// own is an attribute of the value itself, as a Python object of its type would have it. Those that the sandbox
// hides are undefined values that fail on use.
func (r *run) own(v any, name string) (any, bool) {
	if strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") {
		return unsafe(v, name), true
	}
	switch v := v.(type) {
	case *text:
		return r.textAttr(v, name)
	case *dict:
		return r.dictAttr(v, name)
	case *list:
		return r.listAttr(v, name)
	case *namespace:
		return v.attrs.get(name)
	case *loop:
		return v.attr(r, name)
	case *macro:
		return v.attr(name)
	case bool, int, *big.Int, float64:
		if name == "real" {
			n, _ := number(v)
			return n, true
		}
	}
	return nil, false
}

func unsafe(v any, name string) *undef {
	return &undef{msg: "access to attribute '" + name + "' of '" + typeName(v) + "' object is unsafe"}
}

// dictAttr is a method of dict. They hide keys of the same name from d.name, as in jinja2; d['name'] finds the key.
func (r *run) dictAttr(d *dict, name string) (any, bool) {
	method := func(f func(r *run, a args) any) (any, bool) { return &function{name, f}, true }
	switch name {
	case "items", "keys", "values":
		return method(func(r *run, a args) any {
			a.bind(r, name, 0)
			return r.view(d, name)
		})
	case "get":
		return method(func(r *run, a args) any {
			if len(a.kw) > 0 {
				r.fail("dict.get() takes no keyword arguments")
			}
			p := a.bind(r, name, 1, "key", "default")
			if !hashable(p[0]) {
				r.fail("unhashable type: '%s'", typeName(p[0]))
			}
			if i := d.find(p[0]); i >= 0 {
				return d.vals[i]
			}
			return given(p[1], nil)
		})
	case "copy":
		return method(func(r *run, a args) any {
			a.bind(r, name, 0)
			return r.copyDict(d)
		})
	case "clear", "pop", "popitem", "setdefault", "update":
		return unsafe(d, name), true
	case "fromkeys":
		r.fail("dict.fromkeys is not supported")
	}
	return nil, false
}

// view is d.items(), d.keys() or d.values().
func (r *run) view(d *dict, name string) *list {
	r.chargeList(len(d.keys))
	switch name {
	case "keys":
		return &list{items: d.keys, kind: kindKeys}
	case "values":
		return &list{items: d.vals, kind: kindValues}
	}
	return &list{items: d.pairs(), kind: kindItems}
}

func (r *run) copyDict(d *dict) *dict {
	r.chargeList(2 * len(d.keys))
	out := &dict{}
	for i, k := range d.keys {
		out.set(k, d.vals[i])
	}
	return out
}

// given is v, or def where the argument was not given.
func given(v, def any) any {
	if v == any(missing) {
		return def
	}
	return v
}

func (r *run) listAttr(l *list, name string) (any, bool) {
	if l.kind.view() {
		return nil, false
	}
	if l.kind == kindList && mutators[name] && name != "popitem" && name != "setdefault" && name != "update" {
		return unsafe(l, name), true
	}
	switch name {
	case "count", "index":
		return &function{name, func(r *run, a args) any { return r.position(l, name, a) }}, true
	case "copy":
		if l.kind == kindList {
			return &function{name, func(r *run, a args) any {
				a.bind(r, name, 0)
				return &list{items: append([]any{}, r.collect(l)...)}
			}}, true
		}
	}
	return nil, false
}

// position is list.count and list.index.
func (r *run) position(l *list, name string, a args) any {
	names := []string{"value", "start", "stop"}
	if name == "count" {
		names = names[:1]
	}
	p := append(a.bind(r, name, 1, names...), any(missing), any(missing))
	from, to := r.bounds(p[1], p[2], len(l.items))
	n := 0
	for i := from; i < to; i++ {
		r.step(1)
		if r.equal(l.items[i], p[0]) {
			if name == "index" {
				return i
			}
			n++
		}
	}
	if name == "index" {
		r.fail("value is not in list")
	}
	return n
}

// bounds resolves a start and an end as Python's slices do.
func (r *run) bounds(start, end any, n int) (int, int) {
	clip := func(v any, def int) int {
		if v == nil || v == any(missing) {
			return def
		}
		i := r.int(v)
		if i < 0 {
			i = max(i+n, 0)
		}
		return min(i, n)
	}
	return clip(start, 0), clip(end, n)
}

// int is a value that must be an integer.
func (r *run) int(v any) int {
	n, _ := number(v)
	i, ok := n.(int)
	if !ok {
		r.misuse(v)
		r.fail("'%s' object cannot be interpreted as an integer", typeName(v))
	}
	return i
}

// slice is v[from:to:step].
func (r *run) slice(v any, part [3]any) any {
	var n int
	switch v := v.(type) {
	case *text:
		n = runeLen(v.s)
	case *list:
		n = len(v.items)
		if v.kind.view() {
			r.fail("'%s' object is not subscriptable", typeName(v))
		}
	default:
		r.misuse(v)
		r.fail("'%s' object cannot be sliced", typeName(v))
	}
	step := 1
	if part[2] != nil {
		step = r.int(part[2])
	}
	if step == 0 {
		r.fail("slice step cannot be zero")
	}
	if step == 1 {
		from, to := r.bounds(part[0], part[1], n)
		return r.section(v, from, max(from, to))
	}
	return r.pick(v, r.steps3(part, n, step))
}

// section is v[from:to] with resolved bounds.
func (r *run) section(v any, from, to int) any {
	switch v := v.(type) {
	case *text:
		r.step(len(v.s) / 64)
		if at := offsets(v.s); at != nil {
			return v.cut(at[from], at[to])
		}
		return v.cut(from, to)
	case *list:
		r.chargeList(to - from)
		out := &list{items: v.items[from:to:to], kind: v.kind}
		if v.kind == kindRange {
			out.repr = rangeRepr(r, v, from, to)
		}
		return out
	}
	return nil
}

// steps3 lists the indices of a slice with a step.
func (r *run) steps3(part [3]any, n, step int) []int {
	lo, hi := 0, n
	if step < 0 {
		lo, hi = -1, n-1
	}
	clip := func(v any, def int) int {
		if v == nil {
			return def
		}
		i := r.int(v)
		if i < 0 {
			i += n
		}
		return min(max(i, lo), hi)
	}
	from, to := clip(part[0], lo), clip(part[1], hi)
	if step < 0 {
		from, to = clip(part[0], hi), clip(part[1], lo)
	}
	var out []int
	for i := from; step > 0 && i < to || step < 0 && i > to; {
		r.step(1)
		out = append(out, i)
		if step > n || step < -n {
			break
		}
		i += step
	}
	return out
}

// pick takes the items at the given indices.
func (r *run) pick(v any, at []int) any {
	switch v := v.(type) {
	case *text:
		off := offsets(v.s)
		parts := make([]*text, len(at))
		for k, i := range at {
			from, to := i, i+1
			if off != nil {
				from, to = off[i], off[i+1]
			}
			parts[k] = v.cut(from, to)
		}
		r.charge(len(v.s))
		return concat(parts...)
	case *list:
		if v.kind == kindRange {
			r.fail("a range cannot be sliced with a step here")
		}
		r.chargeList(len(at))
		out := &list{kind: v.kind, items: make([]any, len(at))}
		for k, i := range at {
			out.items[k] = v.items[i]
		}
		return out
	}
	return nil
}
