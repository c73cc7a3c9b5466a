package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// Values are nil (None), bool, int, *big.Int, float64, *text, *list, *dict, *undef, *namespace, *function, *macro,
// *loop and *iter.

type listKind uint8

const (
	kindList listKind = iota
	kindTuple
	kindRange
	kindKeys
	kindValues
	kindItems
)

// view says that the list stands for a dict's keys, values or items, which cannot be indexed.
func (k listKind) view() bool { return k >= kindKeys }

var kindNames = [...]string{"list", "tuple", "range", "dict_keys", "dict_values", "dict_items"}

type list struct {
	items []any
	kind  listKind
	repr  string // of a range
}

func (d *dict) pairs() []any {
	out := make([]any, len(d.keys))
	for i := range d.keys {
		out[i] = &list{items: []any{d.keys[i], d.vals[i]}, kind: kindTuple}
	}
	return out
}

// undef is jinja2's default Undefined: it prints as nothing and fails when used otherwise, with msg.
type undef struct{ msg string }

type namespace struct{ attrs *dict }

// function is one that templates may call: a global or a method bound to its value.
type function struct {
	name string
	call func(r *run, a args) any
}

// iter is a generator: it gives its values once.
type iter struct {
	next  func() (any, bool)
	depth int // generators that it draws from in turn
}

func fromSlice(items []any) *iter {
	i := 0
	return &iter{next: func() (any, bool) {
		if i >= len(items) {
			return nil, false
		}
		i++
		return items[i-1], true
	}}
}

// missing stands for an argument that was not given.
var missing = &struct{ int }{}

func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int, *big.Int:
		return "int"
	case float64:
		return "float"
	case *text:
		return "str"
	case *list:
		return kindNames[v.kind]
	case *dict:
		return "dict"
	case *undef:
		return "Undefined"
	case *namespace:
		return "Namespace"
	case *macro:
		return "Macro"
	case *loop:
		return "LoopContext"
	case *iter:
		return "generator"
	}
	return "function"
}

// truth is Python's bool().
func truth(v any) bool {
	switch v := v.(type) {
	case nil, *undef:
		return false
	case bool:
		return v
	case int:
		return v != 0
	case *big.Int:
		return v.Sign() != 0
	case float64:
		return v != 0
	case *text:
		return v.s != ""
	case *list:
		return len(v.items) > 0
	case *dict:
		return len(v.keys) > 0
	}
	return true
}

// str is Python's str(): a text keeps its ranges, everything else is nobody's.
func (r *run) str(v any) *text {
	switch v := v.(type) {
	case *text:
		return v
	case *undef:
		return emptyText
	case int:
		return plain(strconv.Itoa(v))
	}
	var b strings.Builder
	r.repr(&b, v, 0)
	r.charge(b.Len())
	return plain(b.String())
}

// repr writes Python's repr().
func (r *run) repr(b *strings.Builder, v any, depth int) {
	r.step(1)
	if depth > maxNesting || b.Len() > r.lim.Output {
		r.limit("value is too deep or too long to print")
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		b.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int:
		b.WriteString(strconv.Itoa(v))
	case *big.Int:
		b.WriteString(v.String())
	case float64:
		b.WriteString(floatRepr(v))
	case *text:
		b.WriteString(strRepr(v.s))
	case *list:
		r.reprList(b, v, depth)
	case *dict:
		r.reprDict(b, v, depth)
	case *undef:
		b.WriteString("Undefined")
	case *namespace:
		b.WriteString("<Namespace ")
		r.reprDict(b, v.attrs, depth)
		b.WriteString(">")
	case *macro:
		b.WriteString("<Macro " + strRepr(v.def.name) + ">")
	case *loop:
		b.WriteString("<LoopContext " + strconv.Itoa(v.index+1) + "/" + strconv.Itoa(v.length()) + ">")
	case *iter:
		b.WriteString("<generator object>")
	case *function:
		b.WriteString("<function " + v.name + ">")
	}
}

func (r *run) reprList(b *strings.Builder, l *list, depth int) {
	if l.kind == kindRange {
		b.WriteString(l.repr)
		return
	}
	open, end := "[", "]"
	switch {
	case l.kind == kindTuple && len(l.items) == 1:
		open, end = "(", ",)"
	case l.kind == kindTuple:
		open, end = "(", ")"
	case l.kind.view():
		open, end = kindNames[l.kind]+"([", "])"
	}
	b.WriteString(open)
	for i, v := range l.items {
		if i > 0 {
			b.WriteString(", ")
		}
		r.repr(b, v, depth+1)
	}
	b.WriteString(end)
}

func (r *run) reprDict(b *strings.Builder, d *dict, depth int) {
	b.WriteString("{")
	for i, k := range d.keys {
		if i > 0 {
			b.WriteString(", ")
		}
		r.repr(b, k, depth+1)
		b.WriteString(": ")
		r.repr(b, d.vals[i], depth+1)
	}
	b.WriteString("}")
}

// floatRepr is Python's repr of a float: the shortest digits that read back the same.
func floatRepr(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	e := strings.IndexByte(s, 'e')
	if exp, _ := strconv.Atoi(s[e+1:]); exp < -4 || exp >= 16 {
		return s
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// strRepr is Python's repr of a str.
func strRepr(s string) string {
	quote := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	var b strings.Builder
	b.WriteRune(quote)
	for _, c := range s {
		switch {
		case c == quote || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(c):
			b.WriteRune(c)
		case c < 0x100:
			b.WriteString(`\x` + hexN(c, 2))
		case c < 0x10000:
			b.WriteString(`\u` + hexN(c, 4))
		default:
			b.WriteString(`\U` + hexN(c, 8))
		}
	}
	b.WriteRune(quote)
	return b.String()
}

func hexN(c rune, n int) string {
	s := strconv.FormatInt(int64(c), 16)
	return strings.Repeat("0", max(0, n-len(s))) + s
}

// number gives a value's worth in arithmetic; bools count.
func number(v any) (any, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int, float64, *big.Int:
		return v, true
	}
	return nil, false
}

// toFloat widens a number.
func toFloat(v any) float64 {
	switch v := v.(type) {
	case int:
		return float64(v)
	case float64:
		return v
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f
	}
	return math.NaN()
}

func toBig(v any) *big.Int {
	if b, ok := v.(*big.Int); ok {
		return b
	}
	return big.NewInt(int64(v.(int)))
}

// small gives an int where it fits.
func small(b *big.Int) any {
	if b.IsInt64() {
		return int(b.Int64())
	}
	return b
}

// compareNumbers gives -1, 0 or 1, and 2 where a NaN is involved.
func compareNumbers(a, b any) int {
	_, fa := a.(float64)
	_, fb := b.(float64)
	if !fa && !fb {
		if x, ok := a.(int); ok {
			if y, ok := b.(int); ok {
				return cmpOf(x, y)
			}
		}
		return toBig(a).Cmp(toBig(b))
	}
	x, y := toFloat(a), toFloat(b)
	if x != x || y != y {
		return 2
	}
	return cmpOf(x, y)
}

func cmpOf[T int | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
