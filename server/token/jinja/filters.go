package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// filterFunc is what stands behind |.
type filterFunc func(r *run, v any, a args) any

var filterTable map[string]filterFunc

func init() {
	filterTable = map[string]filterFunc{
		"tojson":     toJSON,
		"string":     func(r *run, v any, _ args) any { return r.str(v) },
		"safe":       func(r *run, v any, _ args) any { return markup(r.str(v)) },
		"escape":     escapeFilter,
		"e":          escapeFilter,
		"upper":      textFilter("upper"),
		"lower":      textFilter("lower"),
		"capitalize": textFilter("capitalize"),
		"title":      titleFilter,
		"trim":       trimFilter,
		"replace":    replaceFilter,
		"format":     formatFilter,
		"center":     centerFilter,
		"indent":     indentFilter,
		"wordcount":  wordCount,
		"default":    defaultFilter,
		"d":          defaultFilter,
		"length":     length,
		"count":      length,
		"int":        intFilter,
		"float":      floatFilter,
		"abs":        absFilter,
		"round":      roundFilter,
		"attr":       attrFilter,
	}
}

func defaultFilter(r *run, v any, a args) any {
	p := a.bind(r, "default", 0, "default_value", "boolean")
	_, u := v.(*undef)
	if u || truth(given(p[1], false)) && !truth(v) {
		return given(p[0], emptyText)
	}
	return v
}

// length counts characters, items or keys.
func length(r *run, v any, a args) any {
	a.bind(r, "length", 0)
	switch v := v.(type) {
	case *text:
		r.step(len(v.s) / 64)
		return runeLen(v.s)
	case *list:
		return len(v.items)
	case *dict:
		return len(v.keys)
	case *undef:
		return 0
	case *loop:
		return v.length()
	}
	r.fail("object of type '%s' has no len()", typeName(v))
	return nil
}

// textFilter is a str method applied to str(v).
func textFilter(method string) filterFunc {
	return func(r *run, v any, a args) any {
		a.bind(r, method, 0)
		t := r.str(v)
		r.charge(len(t.s))
		return textMethods[method].call(r, t, nil)
	}
}

// titleFilter is jinja2's own idea of a title: words end at spaces, hyphens and opening brackets only.
func titleFilter(r *run, v any, a args) any {
	a.bind(r, "title", 0)
	t := r.str(v)
	r.charge(len(t.s))
	return t.mapped(func(s string) string {
		start := true
		return strings.Map(func(c rune) rune {
			was := start
			start = c == '-' || isSpace(c) || strings.ContainsRune("({[<", c)
			switch {
			case start:
				return c
			case was:
				return unicode.ToUpper(c)
			}
			return unicode.ToLower(c)
		}, s)
	})
}

func trimFilter(r *run, v any, a args) any {
	p := a.bind(r, "trim", 0, "chars")
	return r.str(v).strip(r.charSet(p[0]), true, true)
}

func replaceFilter(r *run, v any, a args) any {
	p := a.bind(r, "replace", 2, "old", "new", "count")
	limit := -1
	if c := given(p[2], nil); c != nil {
		limit = r.int(c)
	}
	return r.replace(r.str(v), r.str(p[0]), r.str(p[1]), limit)
}

func escapeFilter(r *run, v any, a args) any {
	a.bind(r, "escape", 0)
	t := r.str(v)
	r.charge(6 * len(t.s))
	return t.escaped()
}

// formatFilter is %, with its right side as arguments.
func formatFilter(r *run, v any, a args) any {
	if len(a.kw) > 0 && len(a.pos) > 0 {
		r.fail("can't handle positional and keyword arguments at the same time")
	}
	if len(a.kw) > 0 {
		d := &dict{}
		for _, k := range a.kw {
			d.set(own(k.name), k.v)
		}
		return r.printf(r.str(v), d)
	}
	return r.printf(r.str(v), &list{items: a.pos, kind: kindTuple})
}

func centerFilter(r *run, v any, a args) any {
	p := a.bind(r, "center", 0, "width")
	return r.pad(r.str(v), own(" "), '^', r.int(given(p[0], 80)))
}

// indentFilter puts width spaces, or a given text, before every line but the first, and before empty ones if told.
func indentFilter(r *run, v any, a args) any {
	p := a.bind(r, "indent", 0, "width", "first", "blank")
	var pad *text
	if t, ok := p[0].(*text); ok {
		pad = t
	} else {
		n := max(0, r.int(given(p[0], 4)))
		r.charge(n)
		pad = own(strings.Repeat(" ", n))
	}
	blank := truth(given(p[2], false))
	t := concat(r.text(v), own("\n")) // so that a last line that is empty counts as one
	lines := splitLines(r, t, []any{false}).(*list).items
	var parts []*text
	size := 0
	for i, line := range lines {
		l := line.(*text)
		if i > 0 {
			parts = append(parts, own("\n"))
		}
		if i > 0 && (blank || l.s != "") {
			parts = append(parts, pad)
			size += len(pad.s)
		}
		parts = append(parts, l)
		size += len(l.s) + 1
		if size > r.lim.Output {
			break
		}
	}
	if truth(given(p[1], false)) {
		parts = append([]*text{pad}, parts...)
		size += len(pad.s)
	}
	r.charge(size)
	return concat(parts...)
}

// wordCount counts runs of word characters.
func wordCount(r *run, v any, _ args) any {
	n, in := 0, false
	for _, c := range r.str(v).s {
		w := c == '_' || unicode.IsLetter(c) || unicode.IsNumber(c)
		if w && !in {
			n++
		}
		in = w
	}
	return n
}

// attrFilter looks at attributes only, never at items.
func attrFilter(r *run, v any, a args) any {
	name := r.str(a.bind(r, "attr", 1, "name")[0])
	if got, ok := r.own(v, name.s); ok {
		return got
	}
	return noAttr(v, name.s)
}

// intFilter is int(): what cannot be read gives the default, what is undefined an error.
func intFilter(r *run, v any, a args) any {
	p := a.bind(r, "int", 0, "default", "base")
	r.misuse(v)
	def := given(p[0], 0)
	t, ok := v.(*text)
	if ok {
		if n, ok := parsePyInt(t.s, r.int(given(p[1], 10))); ok {
			return n
		}
		f, ok := parsePyFloat(t.s)
		if !ok {
			return def
		}
		v = f
	}
	if n, ok := v.(float64); ok {
		if math.IsNaN(n) || math.IsInf(n, 0) {
			if math.IsInf(n, 0) && t == nil {
				r.fail("cannot convert float infinity to integer")
			}
			return def
		}
		b, _ := new(big.Float).SetFloat64(math.Trunc(n)).Int(nil)
		return small(b)
	}
	if n, ok := number(v); ok {
		return n
	}
	return def
}

// parsePyInt reads what Python's int() accepts; base 0 is not used here.
func parsePyInt(s string, base int) (any, bool) {
	s = strings.TrimFunc(s, isSpace)
	if len(s) > maxBits/4 || base < 2 || base > 36 {
		return nil, false
	}
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 {
		return nil, false
	}
	if pre := map[int]string{2: "0b", 8: "0o", 16: "0x"}[base]; pre != "" && strings.HasPrefix(strings.ToLower(digits), pre) {
		digits = strings.TrimPrefix(digits[2:], "_")
	}
	clean, ok := underscores(digits)
	if !ok || strings.ContainsAny(clean, "+-") {
		return nil, false
	}
	b, ok := new(big.Int).SetString(clean, base)
	if !ok {
		return nil, false
	}
	if strings.HasPrefix(s, "-") {
		b.Neg(b)
	}
	return small(b), true
}

// underscores removes the single underscores between digits, and refuses any other.
func underscores(s string) (string, bool) {
	if strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") || strings.Contains(s, "__") || s == "" {
		return "", false
	}
	return strings.ReplaceAll(s, "_", ""), true
}

func parsePyFloat(s string) (float64, bool) {
	s, ok := underscores(strings.TrimFunc(s, isSpace))
	if !ok || strings.ContainsAny(s, "xXpP") {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

func floatFilter(r *run, v any, a args) any {
	p := a.bind(r, "float", 0, "default")
	r.misuse(v)
	if t, ok := v.(*text); ok {
		if f, ok := parsePyFloat(t.s); ok {
			return f
		}
	} else if n, ok := number(v); ok {
		return toFloat(n)
	}
	return given(p[0], 0.0)
}

func absFilter(r *run, v any, a args) any {
	a.bind(r, "abs", 0)
	n, ok := number(v)
	if !ok {
		r.misuse(v)
		r.fail("bad operand type for abs(): '%s'", typeName(v))
	}
	if f, ok := n.(float64); ok {
		return math.Abs(f)
	}
	return small(new(big.Int).Abs(toBig(n)))
}

func roundFilter(r *run, v any, a args) any {
	p := a.bind(r, "round", 0, "precision", "method")
	prec := r.int(given(p[0], 0))
	method := r.str(given(p[1], own("common"))).s
	n, ok := number(v)
	if !ok {
		r.misuse(v)
		r.fail("type %s cannot be rounded", typeName(v))
	}
	if prec > 300 || prec < -300 {
		r.limit("precision is too large")
	}
	switch method {
	case "common":
		return r.roundHalfEven(n, prec)
	case "ceil", "floor":
		f := math.Ceil
		if method == "floor" {
			f = math.Floor
		}
		scale := math.Pow(10, float64(prec))
		return f(toFloat(n)*scale) / scale
	}
	r.fail("method must be common, ceil or floor")
	return nil
}

// roundHalfEven is Python's round: exact on the decimal value, ties to even; ints stay ints.
func (r *run) roundHalfEven(n any, prec int) any {
	f, ok := n.(float64)
	if !ok {
		if prec >= 0 {
			return n
		}
		unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-prec)), nil)
		q, m := new(big.Int).DivMod(toBig(n), unit, new(big.Int))
		switch c := new(big.Int).Lsh(m, 1).Cmp(unit); {
		case c > 0 || c == 0 && q.Bit(0) == 1:
			q.Add(q, big.NewInt(1))
		}
		return small(q.Mul(q, unit))
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return f
	}
	if prec >= 0 {
		g, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', prec, 64), 64)
		return g
	}
	unit := math.Pow(10, float64(-prec))
	return math.RoundToEven(f/unit) * unit
}
