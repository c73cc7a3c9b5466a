package jinja

import (
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// printfRE takes one conversion apart: (key), flags, width, precision and verb.
var printfRE = regexp.MustCompile(`^(\([^()]*\))?([-+ 0#]*)(\*|\d*)(\.(\*|\d*))?[hlL]?(.)?`)

// printf is Python's % on a str.
func (r *run) printf(t *text, v any) any {
	if t.markup {
		r.fail("formatting a string marked safe is not supported")
	}
	var b builder
	values, mapping := []any{v}, false
	switch v := v.(type) {
	case *list: // for Python whatever can be indexed may be a mapping, and then nobody counts
		if mapping = !v.kind.view(); v.kind == kindTuple {
			values, mapping = v.items, false
		}
	case *dict, *undef:
		mapping = true
	}
	next := 0
	take := func() any {
		if next >= len(values) {
			r.fail("not enough arguments for format string")
		}
		next++
		return values[next-1]
	}
	for at := 0; at < len(t.s); {
		i := strings.IndexByte(t.s[at:], '%')
		if i < 0 {
			i = len(t.s) - at
		}
		b.add(t.cut(at, at+i))
		at += i
		if at == len(t.s) {
			break
		}
		m := printfRE.FindStringSubmatch(t.s[at+1:])
		at += 1 + len(m[0])
		if m[6] == "" {
			r.fail("incomplete format")
		}
		if m[6] == "%" {
			b.add(t.cut(at-1, at))
			continue
		}
		s := r.printfSpec(m, take)
		var arg any
		if m[1] != "" {
			arg = r.keyed(v, m[1][1:len(m[1])-1])
			mapping = true
		} else {
			arg = take()
		}
		b.add(r.printfValue(s, arg))
		r.charge(len(b.buf))
	}
	if next < len(values) && !mapping {
		r.fail("not all arguments converted during string formatting")
	}
	return b.text()
}

func (r *run) keyed(v any, key string) any {
	d, ok := v.(*dict)
	if !ok {
		r.fail("format requires a mapping")
	}
	arg, ok := d.get(key)
	if !ok {
		r.fail("KeyError: %s", strRepr(key))
	}
	return arg
}

func (r *run) printfSpec(m []string, take func() any) spec {
	s := spec{fill: own(" "), align: '>', prec: -1, verb: m[6][0]}
	size := func(v string) int {
		if v == "*" {
			return r.int(take())
		}
		n, err := strconv.Atoi("0" + v)
		if err != nil {
			r.charge(-1)
		}
		return n
	}
	s.zero = strings.Contains(m[2], "0")
	s.alt = strings.Contains(m[2], "#")
	if strings.Contains(m[2], " ") {
		s.sign = ' '
	}
	if strings.Contains(m[2], "+") {
		s.sign = '+'
	}
	s.width = size(m[3])
	if s.width < 0 {
		s.width, s.align = -s.width, '<'
	}
	if m[4] != "" {
		s.prec = max(0, size(m[5]))
	}
	if strings.Contains(m[2], "-") {
		s.align, s.zero = '<', false
	}
	return s
}

// printfValue formats one value by its verb.
func (r *run) printfValue(s spec, v any) *text {
	var t *text
	switch s.verb {
	case 's', 'r', 'a':
		t = r.str(v)
		if s.verb != 's' {
			var b strings.Builder
			r.repr(&b, v, 0)
			t = plain(b.String())
		}
		if s.prec >= 0 {
			t = r.section(t, 0, min(s.prec, runeLen(t.s))).(*text)
		}
		return r.pad(t, s.fill, s.align, s.width)
	case 'c':
		if t, ok := v.(*text); ok && runeLen(t.s) == 1 {
			return r.pad(t, s.fill, s.align, s.width)
		}
		n := r.int(v)
		if n < 0 || n > 0x10ffff {
			r.fail("%%c arg not in range(0x110000)")
		}
		return r.pad(plain(string(rune(n))), s.fill, s.align, s.width)
	}
	n, ok := number(v)
	if !ok {
		r.misuse(v)
		r.fail("%%%c format: a number is required, not %s", s.verb, typeName(v))
	}
	switch s.verb {
	case 'd', 'i', 'u':
		if f, ok := n.(float64); ok {
			if math.IsNaN(f) || math.IsInf(f, 0) {
				r.fail("cannot convert float to integer")
			}
			b, _ := new(big.Float).SetFloat64(math.Trunc(f)).Int(nil)
			n = b
		}
		s.verb = 'd'
		return r.integer(s, toBig(n))
	case 'x', 'X', 'o':
		if _, ok := n.(float64); ok {
			r.fail("%%%c format: an integer is required, not float", s.verb)
		}
		return r.integer(s, toBig(n))
	case 'e', 'E', 'f', 'F', 'g', 'G':
		return r.floating(s, toFloat(n))
	}
	r.fail("unsupported format character '%c'", s.verb)
	return nil
}
