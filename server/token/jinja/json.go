package jinja

import (
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// jsonWriter writes as Python's json.dumps.
type jsonWriter struct {
	r          *run
	b          strings.Builder
	ascii      bool
	indent     *string
	item, pair string // separators
	sorted     bool
}

// toJSON is the tojson that transformers puts in place of jinja2's own. What it writes is one untrusted text: its
// strings are data.
func toJSON(r *run, v any, a args) any {
	p := a.bind(r, "tojson", 0, "ensure_ascii", "indent", "separators", "sort_keys")
	w := &jsonWriter{r: r, ascii: truth(given(p[0], false)), item: ", ", pair: ": ", sorted: truth(given(p[3], false))}
	switch in := given(p[1], nil).(type) {
	case nil:
	case *text:
		w.indent = &in.s
	default:
		n := max(0, r.int(in))
		r.charge(n)
		s := strings.Repeat(" ", n)
		w.indent = &s
	}
	if w.indent != nil {
		w.item = ","
	}
	if seps := given(p[2], nil); seps != nil {
		both := r.collect(seps)
		if len(both) != 2 {
			r.fail("separators must be two strings")
		}
		w.item, w.pair = r.text(both[0]).s, r.text(both[1]).s
	}
	w.value(v, 0)
	return plain(w.b.String())
}

func (w *jsonWriter) put(s string) {
	w.r.spend(len(s))
	if w.b.Len()+len(s) > w.r.lim.Output {
		w.r.limit("JSON text is too long")
	}
	w.b.WriteString(s)
}

func (w *jsonWriter) value(v any, depth int) {
	w.r.step(1)
	if depth > maxNesting {
		w.r.limit("value is nested too deeply for JSON")
	}
	switch v := v.(type) {
	case *text:
		w.str(v.s)
	case *list:
		if v.kind > kindTuple {
			w.r.fail("object of type %s is not JSON serializable", typeName(v))
		}
		w.block("[", "]", len(v.items), depth, func(i int) { w.value(v.items[i], depth+1) })
	case *dict:
		order := w.order(v)
		w.block("{", "}", len(order), depth, func(i int) {
			w.str(w.key(v.keys[order[i]]))
			w.put(w.pair)
			w.value(v.vals[order[i]], depth+1)
		})
	default:
		w.put(w.scalar(v))
	}
}

// scalar is None, a bool or a number.
func (w *jsonWriter) scalar(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case *big.Int:
		return v.String()
	case float64:
		switch {
		case math.IsNaN(v):
			return "NaN"
		case math.IsInf(v, 1):
			return "Infinity"
		case math.IsInf(v, -1):
			return "-Infinity"
		}
		return floatRepr(v)
	}
	w.r.fail("object of type %s is not JSON serializable", typeName(v))
	return ""
}

func (w *jsonWriter) key(v any) string {
	switch v := v.(type) {
	case *text:
		return v.s
	case *list:
		w.r.fail("keys must be str, int, float, bool or None, not tuple")
	}
	return w.scalar(v)
}

// order lists the entries' indices as they are written.
func (w *jsonWriter) order(d *dict) []int {
	at := make([]int, len(d.keys))
	for i := range at {
		at[i] = i
	}
	if w.sorted {
		slices.SortStableFunc(at, func(i, j int) int { return w.r.order(d.keys[i], d.keys[j]) })
	}
	return at
}

// block writes n members between brackets.
func (w *jsonWriter) block(open, end string, n, depth int, member func(i int)) {
	w.put(open)
	for i := range n {
		if i > 0 {
			w.put(w.item)
		}
		w.newline(depth + 1)
		member(i)
	}
	if n > 0 {
		w.newline(depth)
	}
	w.put(end)
}

func (w *jsonWriter) newline(depth int) {
	if w.indent == nil {
		return
	}
	w.put("\n")
	for range depth {
		w.put(*w.indent)
	}
}

func (w *jsonWriter) str(s string) {
	const short = "\b\f\n\r\t\"\\"
	w.put(`"`)
	from := 0
	for i, c := range s {
		if c >= ' ' && c != '"' && c != '\\' && (c < 0x7f || !w.ascii || c == 0x7f) {
			continue
		}
		w.put(s[from:i])
		from = i + runeSize(s[i:])
		if k := strings.IndexRune(short, c); k >= 0 && c < 0x7f {
			w.put(`\` + `bfnrt"\`[k:k+1])
			continue
		}
		if c >= 0x10000 {
			c -= 0x10000
			w.put(`\u` + hexN(0xd800+c>>10, 4))
			c = 0xdc00 + c&0x3ff
		}
		w.put(`\u` + hexN(c, 4))
	}
	w.put(s[from:])
	w.put(`"`)
}
