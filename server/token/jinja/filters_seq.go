package jinja

import (
	"slices"
	"strconv"
	"strings"
)

func init() {
	for name, f := range map[string]filterFunc{
		"list":       func(r *run, v any, _ args) any { return &list{items: append([]any{}, r.collect(v)...)} },
		"join":       joinFilter,
		"first":      firstFilter,
		"last":       lastFilter,
		"reverse":    reverseFilter,
		"items":      itemsFilter,
		"map":        mapFilter,
		"select":     picker(true, false),
		"reject":     picker(false, false),
		"selectattr": picker(true, true),
		"rejectattr": picker(false, true),
		"unique":     uniqueFilter,
		"sort":       sortFilter,
		"dictsort":   dictSort,
		"sum":        sumFilter,
		"max":        extreme("max", 1),
		"min":        extreme("min", -1),
	} {
		filterTable[name] = f
	}
}

// attrGetter reads a dotted attribute such as "function.name" or "0.id"; def stands in for what is undefined.
func (r *run) attrGetter(attr, def any) func(v any) any {
	if attr == nil || attr == any(missing) {
		return func(v any) any { return v }
	}
	var path []any
	if n, ok := attr.(int); ok {
		path = []any{n}
	} else {
		for part := range strings.SplitSeq(r.text(attr).s, ".") {
			if n, err := strconv.Atoi(part); err == nil && n >= 0 {
				path = append(path, n)
			} else {
				path = append(path, plain(part))
			}
		}
	}
	return func(v any) any {
		for _, k := range path {
			r.step(1)
			v = r.getitem(v, k)
			if _, u := v.(*undef); u && def != nil {
				v = def
			}
		}
		return v
	}
}

// joinFilter joins the printed items.
func joinFilter(r *run, v any, a args) any {
	p := a.bind(r, "join", 0, "d", "attribute")
	get := r.attrGetter(p[1], nil)
	var items []any
	for it := r.iterate(v); ; {
		e, ok := it.next()
		if !ok {
			return r.joinTexts(r.str(given(p[0], emptyText)), items, false)
		}
		r.chargeList(1)
		items = append(items, get(e))
	}
}

func firstFilter(r *run, v any, a args) any {
	a.bind(r, "first", 0)
	if e, ok := r.iterate(v).next(); ok {
		return e
	}
	return &undef{msg: "No first item, sequence was empty."}
}

// lastFilter needs something that can be walked backwards, which a generator cannot.
func lastFilter(r *run, v any, a args) any {
	a.bind(r, "last", 0)
	switch v := v.(type) {
	case *iter, *loop:
		r.fail("'%s' object is not reversible", typeName(v))
	case *text:
		if v.s != "" {
			return r.getitem(v, -1)
		}
	default:
		if items := r.collect(v); len(items) > 0 {
			return items[len(items)-1]
		}
	}
	return &undef{msg: "No last item, sequence was empty."}
}

func reverseFilter(r *run, v any, a args) any {
	a.bind(r, "reverse", 0)
	if t, ok := v.(*text); ok {
		return r.slice(t, [3]any{nil, nil, -1})
	}
	items := append([]any{}, r.collect(v)...)
	slices.Reverse(items)
	if _, ok := v.(*iter); ok {
		return &list{items: items}
	}
	return fromSlice(items)
}

func itemsFilter(r *run, v any, a args) any {
	a.bind(r, "items", 0)
	switch v := v.(type) {
	case *undef:
		return fromSlice(nil)
	case *dict:
		return fromSlice(r.view(v, "items").items)
	}
	r.fail("can only get item pairs from a mapping")
	return nil
}

// mapFilter is map(attribute=..., default=...) or map('filter', arguments...).
func mapFilter(r *run, v any, a args) any {
	var f func(v any) any
	if attr := a.keyword("attribute"); attr != any(missing) && len(a.pos) == 0 {
		p := a.bind(r, "map", 0, "attribute", "default")
		f = r.attrGetter(attr, given(p[1], nil))
	} else {
		if len(a.pos) == 0 {
			r.fail("map requires a filter argument")
		}
		name := r.text(a.pos[0]).s
		filter := filterTable[name]
		if filter == nil {
			r.fail("no filter named '%s'", name)
		}
		rest := args{a.pos[1:], a.kw}
		f = func(v any) any { return filter(r, v, rest) }
	}
	src := r.iterateIf(v)
	return r.over(src, func() (any, bool) {
		e, ok := src.next()
		if !ok {
			return nil, false
		}
		r.step(1)
		return f(e), true
	})
}

// over is a generator that draws from src. How many may stand on each other is bounded, since each is a call.
func (r *run) over(src *iter, next func() (any, bool)) *iter {
	if src.depth >= maxNesting {
		r.limit("generators are nested too deeply")
	}
	return &iter{next: next, depth: src.depth + 1}
}

// iterateIf walks over v, or over nothing where it is false, as jinja2's generators do.
func (r *run) iterateIf(v any) *iter {
	if !truth(v) {
		return fromSlice(nil)
	}
	return r.iterate(v)
}

// picker is select, reject, selectattr and rejectattr.
func picker(keep, byAttr bool) filterFunc {
	return func(r *run, v any, a args) any {
		get := r.attrGetter(nil, nil)
		if byAttr {
			if len(a.pos) == 0 {
				r.fail("missing parameter for attribute name")
			}
			get = r.attrGetter(a.pos[0], nil)
			a.pos = a.pos[1:]
		}
		pass := func(v any) bool { return truth(v) }
		if len(a.pos) > 0 {
			name := r.text(a.pos[0]).s
			test := testTable[name]
			if test == nil {
				r.fail("no test named '%s'", name)
			}
			rest := args{a.pos[1:], a.kw}
			pass = func(v any) bool { return test(r, v, rest) }
		}
		src := r.iterateIf(v)
		return r.over(src, func() (any, bool) {
			for {
				e, ok := src.next()
				if !ok {
					return nil, false
				}
				r.step(1)
				if pass(get(e)) == keep {
					return e, true
				}
			}
		})
	}
}

// folded is the key that sorting and comparing without case uses.
func folded(v any, caseSensitive bool) any {
	if t, ok := v.(*text); ok && !caseSensitive {
		return plain(strings.ToLower(t.s))
	}
	return v
}

// uniqueFilter gives the first of items that are equal, letters' case aside.
func uniqueFilter(r *run, v any, a args) any {
	p := a.bind(r, "unique", 0, "case_sensitive", "attribute")
	get := r.attrGetter(p[1], nil)
	sensitive := truth(given(p[0], false))
	src := r.iterate(v)
	seen := &dict{}
	return r.over(src, func() (any, bool) {
		for {
			e, ok := src.next()
			if !ok {
				return nil, false
			}
			key := folded(get(e), sensitive)
			if !hashable(key) {
				r.fail("unhashable type: '%s'", typeName(key))
			}
			r.step(1)
			if seen.find(key) < 0 {
				seen.set(key, nil)
				return e, true
			}
		}
	})
}

// sortKeys pairs each item with its keys: one for each of the comma separated attributes.
func (r *run) sortKeys(items []any, attr any, sensitive bool) [][]any {
	var gets []func(any) any
	if t, ok := attr.(*text); ok {
		for part := range strings.SplitSeq(t.s, ",") {
			gets = append(gets, r.attrGetter(plain(part), nil))
		}
	} else {
		gets = append(gets, r.attrGetter(attr, nil))
	}
	out := make([][]any, len(items))
	for i, e := range items {
		for _, get := range gets {
			out[i] = append(out[i], folded(get(e), sensitive))
		}
	}
	return out
}

// sorted orders items by keys, stably.
func (r *run) sorted(items []any, keys [][]any, reverse bool) *list {
	at := make([]int, len(items))
	for i := range at {
		at[i] = i
	}
	slices.SortStableFunc(at, func(i, j int) int {
		r.step(1)
		if reverse {
			i, j = j, i
		}
		return r.orderLists(keys[i], keys[j])
	})
	out := &list{items: make([]any, len(items))}
	for k, i := range at {
		out.items[k] = items[i]
	}
	return out
}

func sortFilter(r *run, v any, a args) any {
	p := a.bind(r, "sort", 0, "reverse", "case_sensitive", "attribute")
	items := r.collect(v)
	keys := r.sortKeys(items, p[2], truth(given(p[1], false)))
	return r.sorted(items, keys, truth(given(p[0], false)))
}

// dictSort gives pairs sorted by key or by value.
func dictSort(r *run, v any, a args) any {
	p := a.bind(r, "dictsort", 0, "case_sensitive", "by", "reverse")
	d, ok := v.(*dict)
	if !ok {
		r.misuse(v)
		r.fail("'%s' object has no attribute 'items'", typeName(v))
	}
	by := d.keys
	switch r.text(given(p[1], own("key"))).s {
	case "key":
	case "value":
		by = d.vals
	default:
		r.fail("you can only sort by either 'key' or 'value'")
	}
	keys := r.sortKeys(by, nil, truth(given(p[0], false)))
	return r.sorted(r.view(d, "items").items, keys, truth(given(p[2], false)))
}

func sumFilter(r *run, v any, a args) any {
	p := a.bind(r, "sum", 0, "attribute", "start")
	get := r.attrGetter(p[0], nil)
	sum := given(p[1], 0)
	if _, ok := sum.(*text); ok {
		r.fail("sum() can't sum strings")
	}
	for it := r.iterate(v); ; {
		e, ok := it.next()
		if !ok {
			return sum
		}
		r.step(1)
		sum = r.binary("+", sum, get(e))
	}
}

// extreme is max (sign 1) or min (sign -1): the first of equals.
func extreme(name string, sign int) filterFunc {
	return func(r *run, v any, a args) any {
		p := a.bind(r, name, 0, "case_sensitive", "attribute")
		sensitive := truth(given(p[0], false))
		get := r.attrGetter(p[1], nil)
		src := r.iterate(v)
		best, ok := src.next()
		if !ok {
			return &undef{msg: "No aggregated item, sequence was empty."}
		}
		key := folded(get(best), sensitive)
		for {
			e, ok := src.next()
			if !ok {
				return best
			}
			r.step(1)
			if k := folded(get(e), sensitive); r.order(k, key) == sign {
				best, key = e, k
			}
		}
	}
}
