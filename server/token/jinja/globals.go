package jinja

import (
	"fmt"
	"strings"
	"time"
)

// globals are the functions that every template sees.
var globals map[string]any

func init() {
	globals = map[string]any{}
	for name, f := range map[string]func(r *run, a args) any{
		"range": rangeOf, "namespace": newNamespace, "dict": newDict, "raise_exception": raise, "strftime_now": strftimeNow,
	} {
		globals[name] = &function{name, f}
	}
}

func rangeOf(r *run, a args) any {
	if len(a.kw) > 0 {
		r.fail("range() takes no keyword arguments")
	}
	p := a.bind(r, "range", 1, "start", "stop", "step")
	from, to, step := 0, r.int(p[0]), 1
	if p[1] != any(missing) {
		from, to = to, r.int(p[1])
	}
	if p[2] != any(missing) {
		step = r.int(p[2])
	}
	const far = 1 << 60
	if step == 0 || max(from, to, step) > far || min(from, to, step) < -far {
		r.fail("range() arguments out of range")
	}
	n := 0
	if step > 0 && to > from {
		n = (to - from + step - 1) / step
	} else if step < 0 && to < from {
		n = (from - to - step - 1) / -step
	}
	if n > maxRange {
		r.limit("range too big: the sandbox blocks ranges larger than %d", maxRange)
	}
	r.chargeList(n)
	l := &list{kind: kindRange, items: make([]any, n), repr: fmt.Sprintf("range(%d, %d)", from, to)}
	if step != 1 {
		l.repr = fmt.Sprintf("range(%d, %d, %d)", from, to, step)
	}
	for i := range l.items {
		l.items[i] = from + i*step
	}
	return l
}

// rangeRepr is how a part of a range prints.
func rangeRepr(r *run, l *list, from, to int) string {
	if from >= to || strings.Count(l.repr, ",") > 1 {
		if from < len(l.items) && from >= to && strings.Count(l.repr, ",") == 1 {
			return fmt.Sprintf("range(%d, %d)", l.items[from], l.items[from])
		}
		r.fail("this part of a range cannot be taken here")
	}
	return fmt.Sprintf("range(%d, %d)", l.items[from], l.items[to-1].(int)+1)
}

// newDict is dict(mapping_or_pairs, **items).
func newDict(r *run, a args) any {
	d := &dict{}
	if len(a.pos) > 1 {
		r.fail("dict expected at most 1 argument, got %d", len(a.pos))
	}
	if len(a.pos) == 1 {
		r.fill(d, a.pos[0])
	}
	r.chargeList(2 * len(a.kw))
	for _, k := range a.kw {
		d.set(own(k.name), k.v)
	}
	return d
}

// fill sets a dict's entries from a mapping or from pairs.
func (r *run) fill(d *dict, from any) {
	if m, ok := from.(*dict); ok {
		r.chargeList(2 * len(m.keys))
		for i, k := range m.keys {
			d.set(k, m.vals[i])
		}
		return
	}
	for _, v := range r.collect(from) {
		pair := r.collect(v)
		if len(pair) != 2 || !hashable(pair[0]) {
			r.fail("a dict is made from pairs of a hashable key and a value")
		}
		d.set(pair[0], pair[1])
	}
}

func newNamespace(r *run, a args) any {
	return &namespace{newDict(r, a).(*dict)}
}

// raise is raise_exception: the template refuses its input.
func raise(r *run, a args) any {
	msg := r.str(a.bind(r, "raise_exception", 1, "message")[0])
	panic(&Error{Template: r.name, Line: r.line, Message: msg.s, Raised: true})
}

func strftimeNow(r *run, a args) any {
	layout := r.text(a.bind(r, "strftime_now", 1, "format")[0])
	now := r.lim.Now
	if now.IsZero() {
		now = time.Now()
	}
	r.charge(32 * len(layout.s))
	return layout.mapped(func(s string) string { return strftime(r, now, s) })
}

// dateParts are the letters of strftime that Go has a layout for.
var dateParts = map[byte]string{
	'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'y': "06", 'B': "January", 'b': "Jan", 'h': "Jan",
	'A': "Monday", 'a': "Mon", 'I': "03", 'p': "PM", 'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06",
	'e': "_2", 'x': "01/02/06", 'X': "15:04:05", 'c': "Mon Jan _2 15:04:05 2006", 'f': "000000", 'j': "002",
}

// unpadded are the same after glibc's '-' flag.
var unpadded = map[byte]string{'m': "1", 'd': "2", 'e': "2", 'I': "3", 'M': "4", 'S': "5"}

// strftime formats in the C locale, as datetime.strftime does on Linux for a time without a zone.
func strftime(r *run, t time.Time, s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		c := s[i]
		layout, ok := dateParts[c]
		if c == '-' && i+1 < len(s) {
			i++
			c = s[i]
			layout, ok = unpadded[c]
			if c == 'H' {
				fmt.Fprintf(&b, "%d", t.Hour())
				continue
			}
		}
		switch {
		case c == 'f':
			fmt.Fprintf(&b, "%06d", t.Nanosecond()/1000)
		case ok:
			b.WriteString(t.Format(layout))
		case c == '%' || c == 'n' || c == 't':
			b.WriteString(map[byte]string{'%': "%", 'n': "\n", 't': "\t"}[c])
		case c == 'u' || c == 'w':
			day := int(t.Weekday())
			if c == 'u' && day == 0 {
				day = 7
			}
			fmt.Fprintf(&b, "%d", day)
		case c == 'Z' || c == 'z': // no zone: nothing
		default:
			r.fail("strftime: %%%c is not supported", c)
		}
	}
	return b.String()
}
