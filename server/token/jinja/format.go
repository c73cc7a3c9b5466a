package jinja

import (
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// spec is one conversion, of either way to format.
type spec struct {
	fill      *text
	align     rune // 0: the type's own
	sign      byte // '+', ' ' or 0
	alt, zero bool
	comma     byte
	width     int
	prec      int // -1: none
	verb      byte
}

// integer writes a whole number in the verb's base.
func (r *run) integer(s spec, n *big.Int) *text {
	base := map[byte]int{'x': 16, 'X': 16, 'o': 8, 'b': 2}[s.verb]
	if base == 0 {
		base = 10
	}
	digits := new(big.Int).Abs(n).Text(base)
	if s.prec > len(digits) {
		r.charge(s.prec)
		digits = strings.Repeat("0", s.prec-len(digits)) + digits
	}
	prefix := ""
	if s.alt && base != 10 {
		prefix = "0" + strings.ToLower(string(s.verb))
	}
	if s.verb == 'X' {
		digits, prefix = strings.ToUpper(digits), strings.ToUpper(prefix)
	}
	return r.signed(s, n.Sign() < 0, prefix, digits, "")
}

// floating writes a float.
func (r *run) floating(s spec, f float64) *text {
	verb, prec := s.verb|0x20, s.prec
	if prec < 0 {
		prec = 6
	}
	r.charge(prec)
	var digits string
	abs := math.Abs(f)
	switch {
	case math.IsInf(f, 0) || math.IsNaN(f):
		digits = map[bool]string{true: "nan", false: "inf"}[math.IsNaN(f)]
		s.zero = false
	case verb == 'g':
		digits = general(abs, max(prec, 1), s.alt)
	default:
		digits = strconv.FormatFloat(abs, verb, prec, 64)
	}
	if s.verb < 'a' {
		digits = strings.ToUpper(digits)
	}
	whole, frac := digits, ""
	if i := strings.IndexAny(digits, ".eE"); i >= 0 {
		whole, frac = digits[:i], digits[i:]
	}
	return r.signed(s, math.Signbit(f) && !math.IsNaN(f), "", whole, frac)
}

// general is C's %g of a value that is not negative.
func general(f float64, prec int, alt bool) string {
	e := strconv.FormatFloat(f, 'e', prec-1, 64)
	i := strings.IndexByte(e, 'e')
	exp, _ := strconv.Atoi(e[i+1:])
	trim := func(s string) string {
		if alt || !strings.Contains(s, ".") {
			return s
		}
		return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	}
	if exp < -4 || exp >= prec {
		return trim(e[:i]) + e[i:]
	}
	return trim(strconv.FormatFloat(f, 'f', prec-1-exp, 64))
}

// signed puts sign, prefix, grouping and padding around digits.
func (r *run) signed(s spec, neg bool, prefix, whole, frac string) *text {
	sign := ""
	switch {
	case neg:
		sign = "-"
	case s.sign != 0:
		sign = string(s.sign)
	}
	if s.comma != 0 {
		for i := len(whole) - 3; i > 0; i -= 3 {
			whole = whole[:i] + string(s.comma) + whole[i:]
		}
	}
	head, body := plain(sign+prefix), plain(whole+frac)
	if s.zero {
		if s.comma != 0 {
			r.fail("zero padding with grouping is not supported")
		}
		return concat(head, r.pad(body, plain("0"), '>', s.width-len(head.s)))
	}
	if s.align == '=' {
		return concat(head, r.pad(body, s.fill, '>', s.width-len(head.s)))
	}
	return r.pad(concat(head, body), s.fill, s.align, s.width)
}

// format is str.format.
func (r *run) format(t *text, a args) any {
	var b builder
	auto := 0
	for at := 0; at < len(t.s); {
		i := strings.IndexAny(t.s[at:], "{}")
		if i < 0 {
			b.add(t.cut(at, len(t.s)))
			break
		}
		b.add(t.cut(at, at+i))
		at += i
		if at+1 < len(t.s) && t.s[at+1] == t.s[at] {
			b.add(t.cut(at, at+1))
			at += 2
			continue
		}
		end := strings.IndexByte(t.s[at:], '}')
		if t.s[at] == '}' || end < 0 {
			r.fail("single '%c' encountered in format string", t.s[at])
		}
		field := t.cut(at+1, at+end)
		if strings.Contains(field.s, "{") {
			r.fail("nested replacement fields are not supported")
		}
		b.add(r.field(field, a, &auto))
		r.charge(len(b.buf))
		at += end + 1
	}
	return b.text()
}

// field formats one replacement field: name, !conversion and :spec.
func (r *run) field(f *text, a args, auto *int) *text {
	name, rest := f.s, f.cut(len(f.s), len(f.s))
	conv := ""
	if i := strings.IndexAny(f.s, ":!"); i >= 0 {
		name, rest = f.s[:i], f.cut(i, len(f.s))
		if f.s[i] == '!' {
			if len(rest.s) < 2 || len(rest.s) > 2 && rest.s[2] != ':' {
				r.fail("bad conversion in format string")
			}
			conv, rest = rest.s[1:2], rest.cut(2, len(rest.s))
		}
		rest = rest.cut(min(1, len(rest.s)), len(rest.s))
	}
	v := r.fieldValue(name, a, auto)
	switch conv {
	case "":
	case "s":
		v = r.str(v)
	case "r", "a":
		var b strings.Builder
		r.repr(&b, v, 0)
		v = plain(b.String())
	default:
		r.fail("unknown conversion specifier %s", conv)
	}
	return r.formatValue(v, rest)
}

var fieldPart = regexp.MustCompile(`^(?:\.([^.\[]+)|\[([^\]]+)\])`)

// fieldValue finds what a field names: a position, a keyword, and look-ups into it.
func (r *run) fieldValue(name string, a args, auto *int) any {
	i := strings.IndexAny(name, ".[")
	if i < 0 {
		i = len(name)
	}
	head, rest := name[:i], name[i:]
	var v any
	n, err := strconv.Atoi(head)
	switch {
	case head == "" && rest != "": // the sandbox's formatter numbers only fields without any name
		r.fail("KeyError: ''")
	case head == "":
		if *auto < 0 {
			r.fail("cannot switch from manual field specification to automatic field numbering")
		}
		n = *auto
		*auto++
		err = nil
	case err == nil:
		if *auto > 0 {
			r.fail("cannot switch from automatic field numbering to manual field specification")
		}
		*auto = -1
	}
	if err == nil {
		if n < 0 || n >= len(a.pos) {
			r.fail("replacement index %d out of range", n)
		}
		v = a.pos[n]
	} else if v = a.keyword(head); v == any(missing) {
		r.fail("KeyError: %s", strRepr(head))
	}
	for rest != "" {
		m := fieldPart.FindStringSubmatch(rest)
		if m == nil {
			r.fail("bad field name in format string")
		}
		rest = rest[len(m[0]):]
		if m[1] != "" {
			v = r.getattr(v, plain(m[1]))
		} else if k, err := strconv.Atoi(m[2]); err == nil {
			v = r.getitem(v, k)
		} else {
			v = r.getitem(v, plain(m[2]))
		}
	}
	return v
}

var specRE = regexp.MustCompile(`^(?:(.)?([<>=^]))?([-+ ])?(#)?(0)?(\d*)([,_])?(?:\.(\d+))?([a-zA-Z%])?$`)

// formatValue is Python's format(v, spec).
func (r *run) formatValue(v any, ft *text) *text {
	if ft.s == "" {
		return r.str(v)
	}
	m := specRE.FindStringSubmatch(ft.s)
	if m == nil {
		r.fail("invalid format specifier")
	}
	s := r.formatSpec(m, ft)
	n, isNumber := number(v)
	if t, ok := v.(*text); ok {
		if m[3] != "" || m[7] != "" || m[2] == "=" || s.verb != 0 && s.verb != 's' {
			r.fail("format specifier not allowed for str")
		}
		if s.prec >= 0 {
			t = r.section(t, 0, min(s.prec, runeLen(t.s))).(*text)
		}
		if s.zero {
			s.fill = plain("0")
		}
		if s.align == 0 {
			s.align = '<'
		}
		return r.pad(t, s.fill, s.align, s.width)
	}
	if !isNumber {
		r.fail("unsupported format string passed to %s", typeName(v))
	}
	if s.align == 0 {
		s.align = '>'
	} else if m[2] != "" {
		s.zero = false
	}
	return r.formatNumber(s, n, v)
}

func (r *run) formatSpec(m []string, ft *text) spec {
	s := spec{fill: own(" "), zero: m[5] != "", alt: m[4] != "", prec: -1}
	size := func(v string) int {
		n, err := strconv.Atoi("0" + v)
		if err != nil {
			r.charge(-1)
		}
		return n
	}
	if m[1] != "" {
		s.fill = ft.cut(0, len(m[1]))
	}
	if m[2] != "" {
		s.align = rune(m[2][0])
		if s.align == '^' {
			s.align = 'c'
		}
	}
	if m[3] != "" && m[3] != "-" {
		s.sign = m[3][0]
	}
	s.width = size(m[6])
	if m[7] != "" {
		s.comma = m[7][0]
	}
	if m[8] != "" {
		s.prec = size(m[8])
	}
	if m[9] != "" {
		s.verb = m[9][0]
	}
	return s
}

func (r *run) formatNumber(s spec, n, v any) *text {
	f, isFloat := n.(float64)
	switch s.verb {
	case 0:
		if _, ok := v.(bool); ok {
			r.fail("format specifiers for bool are not supported")
		}
		if isFloat && s.prec < 0 {
			return r.reprFloat(s, f)
		}
		if isFloat {
			r.fail("a precision without a type is not supported")
		}
	case 'd', 'x', 'X', 'o', 'b':
		if isFloat {
			r.fail("format code '%c' not allowed for float", s.verb)
		}
	case 'e', 'E', 'f', 'F', 'g', 'G':
		return r.floating(s, toFloat(n))
	case '%':
		s.verb = 'f'
		t := r.floating(spec{fill: s.fill, sign: s.sign, prec: s.prec, verb: 'f', comma: s.comma}, toFloat(n)*100)
		return r.pad(concat(t, plain("%")), s.fill, s.align, s.width)
	default:
		r.fail("unknown format code '%c'", s.verb)
	}
	if s.prec >= 0 {
		r.fail("precision not allowed in integer format specifier")
	}
	return r.integer(s, toBig(n))
}

func (r *run) reprFloat(s spec, f float64) *text {
	digits := floatRepr(math.Abs(f))
	whole, frac := digits, ""
	if i := strings.IndexAny(digits, ".e"); i >= 0 {
		whole, frac = digits[:i], digits[i:]
	}
	return r.signed(s, math.Signbit(f), "", whole, frac)
}
