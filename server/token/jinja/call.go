package jinja

// args are a call's arguments, evaluated.
type args struct {
	pos []any
	kw  []kwArg
}

type kwArg struct {
	name string
	v    any
}

// eval evaluates arguments from left to right.
func (l *argList) eval(r *run, s *scope) args {
	var a args
	if n := len(l.pos); n > 0 {
		a.pos = make([]any, n)
		for i, e := range l.pos {
			a.pos[i] = e.eval(r, s)
		}
	}
	for _, k := range l.kw {
		a.kw = append(a.kw, kwArg{k.name, k.e.eval(r, s)})
	}
	if l.star != nil {
		a.pos = append(a.pos, r.collect(l.star.eval(r, s))...)
	}
	if l.starstar != nil {
		d, ok := l.starstar.eval(r, s).(*dict)
		if !ok {
			r.fail("argument after ** must be a mapping")
		}
		for i, k := range d.keys {
			t, ok := k.(*text)
			if !ok || a.keyword(t.s) != missing {
				r.fail("keywords must be strings, each given once")
			}
			a.kw = append(a.kw, kwArg{t.s, d.vals[i]})
		}
	}
	return a
}

// keyword is the named argument, or missing.
func (a args) keyword(name string) any {
	for _, k := range a.kw {
		if k.name == name {
			return k.v
		}
	}
	return missing
}

// bind spreads the arguments over named parameters as Python does; those not given are missing. The first need of
// them must be given.
func (a args) bind(r *run, fn string, need int, names ...string) []any {
	if len(a.pos) > len(names) {
		r.fail("%s() takes at most %d arguments, %d given", fn, len(names), len(a.pos))
	}
	out := make([]any, len(names))
	for i := range out {
		out[i] = any(missing)
	}
	copy(out, a.pos)
next:
	for _, k := range a.kw {
		for i, n := range names {
			if n == k.name {
				if out[i] != missing {
					r.fail("%s() got multiple values for argument '%s'", fn, n)
				}
				out[i] = k.v
				continue next
			}
		}
		r.fail("%s() got an unexpected keyword argument '%s'", fn, k.name)
	}
	for i := range need {
		if out[i] == missing {
			r.fail("%s() is missing the argument '%s'", fn, names[i])
		}
	}
	return out
}

// call calls whatever may be called.
func (r *run) call(fn any, a args) any {
	switch fn := fn.(type) {
	case *function:
		return fn.call(r, a)
	case *macro:
		return fn.invoke(r, a)
	case *undef:
		r.fail("%s", fn.msg)
	}
	r.fail("'%s' object is not callable", typeName(fn))
	return nil
}

// macro is a macro with the scope it was made in.
type macro struct {
	def   *macroDef
	scope *scope
}

// invoke runs a macro and gives what it wrote.
func (m *macro) invoke(r *run, a args) any {
	r.depth++
	if r.depth > r.lim.Depth {
		r.limit("macros call each other too deeply")
	}
	s := &scope{parent: m.scope}
	m.bind(r, a, s)
	t := r.capture(func() { r.body(m.def.body, s) })
	r.depth--
	return t
}

// bind fills a macro's scope: parameters, then what is left over where the body reads it.
func (m *macro) bind(r *run, a args, s *scope) {
	d := m.def
	used := map[string]bool{}
	for i, p := range d.params {
		v := any(missing)
		if i < len(a.pos) {
			v = a.pos[i]
		} else if v = a.keyword(p); v != missing {
			used[p] = true
		}
		if v == missing {
			if k := i - (len(d.params) - len(d.defaults)); k >= 0 {
				v = d.defaults[k].eval(r, s)
			} else {
				v = &undef{msg: "parameter '" + p + "' was not provided"}
			}
		}
		s.set(p, v)
	}
	m.extra(r, a, s, used)
}

func (m *macro) extra(r *run, a args, s *scope, used map[string]bool) {
	d := m.def
	if d.caller {
		v := a.keyword("caller")
		if v == missing {
			v = &undef{msg: "no caller defined"}
		}
		s.set("caller", v)
		used["caller"] = true
	}
	rest := &dict{}
	for _, k := range a.kw {
		if !used[k.name] {
			rest.set(plain(k.name), k.v)
		}
	}
	if d.kwargs {
		s.set("kwargs", rest)
	} else if len(rest.keys) > 0 {
		r.fail("macro '%s' takes no keyword argument '%s'", d.name, rest.keys[0].(*text).s)
	}
	over := a.pos[min(len(a.pos), len(d.params)):]
	if d.varargs {
		s.set("varargs", &list{items: over, kind: kindTuple})
	} else if len(over) > 0 {
		r.fail("macro '%s' takes not more than %d argument(s)", d.name, len(d.params))
	}
}

func (m *macro) attr(name string) (any, bool) {
	switch name {
	case "name":
		return own(m.def.name), true
	case "arguments":
		l := &list{kind: kindTuple}
		for _, p := range m.def.params {
			l.items = append(l.items, own(p))
		}
		return l, true
	case "catch_varargs":
		return m.def.varargs, true
	case "catch_kwargs":
		return m.def.kwargs, true
	case "caller":
		return m.def.caller, true
	}
	return nil, false
}
