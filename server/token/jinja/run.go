package jinja

import (
	"context"
	"fmt"
	"time"
)

// Limits bound one rendering. Zero values take the defaults given here.
type Limits struct {
	Steps   int             // nodes evaluated and items walked over; 0: 20 million
	Output  int             // bytes of the result, and of any one string on the way; 0: 16 MiB
	Memory  int             // bytes of all strings and lists made on the way; 0: 512 MiB
	Depth   int             // calls of macros within macros; 0: 100
	Context context.Context // given up when done; nil: never
	Now     time.Time       // for strftime_now; zero: the clock
}

func (l Limits) withDefaults() Limits {
	set := func(p *int, def int) {
		if *p <= 0 {
			*p = def
		}
	}
	set(&l.Steps, 20_000_000)
	set(&l.Output, 16<<20)
	set(&l.Memory, 512<<20)
	set(&l.Depth, 100)
	return l
}

// maxRange is the longest range() of jinja2's sandbox.
const maxRange = 100_000

// Output is a rendered text.
type Output struct {
	Text    string
	Control []Range // what the template's own literals and trusted variables wrote, sorted; all else is untrusted
}

// run is the state of one rendering.
type run struct {
	name  string
	lim   Limits
	out   *builder
	vars  map[string]any // as given
	seen  map[string]any // of vars: what was converted already
	steps int
	mem   int
	depth int
	line  int
}

// Render runs the template over vars: nil, bool, numbers, json.Number, string, Trusted, []any, map[string]any (its
// keys sorted) and *Object, nested. Strings are untrusted unless they are Trusted. Nothing in vars is changed.
func (t *Template) Render(vars map[string]any, opt Limits) (out Output, err error) {
	r := &run{name: t.name, lim: opt.withDefaults(), vars: vars, seen: map[string]any{}, out: &builder{}, line: 1}
	defer func() {
		if e, ok := err.(*Error); ok && e.Template == "" {
			e.Template, e.Line = r.name, r.line
		}
	}()
	defer catch(&err)
	r.steps, r.mem = r.lim.Steps, r.lim.Memory
	r.body(t.body, &scope{})
	return Output{string(r.out.buf), r.out.ctl}, nil
}

// fail gives up with an error at the current line.
func (r *run) fail(format string, a ...any) {
	panic(&Error{Template: r.name, Line: r.line, Message: fmt.Sprintf(format, a...)})
}

// limit gives up with an error that wraps ErrLimit.
func (r *run) limit(format string, a ...any) {
	panic(&Error{Template: r.name, Line: r.line, Message: fmt.Sprintf(format, a...), Err: ErrLimit})
}

// step spends n steps, and looks at the context now and then.
func (r *run) step(n int) {
	const every = 1 << 12
	before := r.steps
	r.steps -= n
	if r.steps < 0 {
		r.limit("too many steps")
	}
	if r.lim.Context != nil && before/every != r.steps/every {
		if err := r.lim.Context.Err(); err != nil {
			panic(&Error{Template: r.name, Line: r.line, Message: err.Error(), Err: err})
		}
	}
}

// charge spends n bytes of memory: call it before making them.
func (r *run) charge(n int) {
	if n < 0 || n > r.lim.Output {
		r.limit("a string of %d bytes is too long", n)
	}
	r.spend(n)
}

func (r *run) spend(n int) {
	r.mem -= n
	if r.mem < 0 {
		r.limit("too much memory")
	}
}

// chargeList spends the memory of n list items, and the steps to fill them.
func (r *run) chargeList(n int) {
	if n < 0 || n > r.lim.Memory/16 {
		r.limit("a list of %d items is too long", n)
	}
	r.step(n)
	r.spend(16 * n)
}

// emit writes to the current output.
func (r *run) emit(t *text) {
	if len(r.out.buf)+len(t.s) > r.lim.Output {
		r.limit("output is too long")
	}
	r.spend(len(t.s))
	r.out.add(t)
}

// capture runs f with its output kept apart.
func (r *run) capture(f func()) *text {
	outer := r.out
	r.out = &builder{}
	f()
	t := r.out.text()
	r.out = outer
	return t
}

// scope holds names that were set; outer ones show through.
type scope struct {
	names  []string
	vals   []any
	parent *scope
}

func (s *scope) set(name string, v any) {
	for i, n := range s.names {
		if n == name {
			s.vals[i] = v
			return
		}
	}
	s.names = append(s.names, name)
	s.vals = append(s.vals, v)
}

// lookup finds a name: in the scopes, then among the variables (converted when first asked for), then the globals.
func (r *run) lookup(s *scope, name string) any {
	for ; s != nil; s = s.parent {
		for i, n := range s.names {
			if n == name {
				return s.vals[i]
			}
		}
	}
	if v, ok := r.seen[name]; ok {
		return v
	}
	if raw, ok := r.vars[name]; ok {
		v := r.convert(raw, 0)
		r.seen[name] = v
		return v
	}
	if v, ok := globals[name]; ok {
		return v
	}
	return &undef{msg: fmt.Sprintf("'%s' is undefined", name)}
}
