package jinja

import (
	"slices"
	"strings"
	"unicode"
)

// textMethod is a method of str; it gets the arguments already bound to its parameters.
type textMethod struct {
	need  int
	names []string // parameters; they cannot be given by keyword unless kw
	kw    bool
	call  func(r *run, t *text, p []any) any
}

var textMethods map[string]textMethod

func init() {
	textMethods = map[string]textMethod{
		"upper":        mapping(upper),
		"lower":        mapping(lower),
		"casefold":     mapping(lower),
		"title":        mapping(titleCase),
		"capitalize":   mapping(capitalize),
		"swapcase":     mapping(swapCase),
		"strip":        stripping(true, true),
		"lstrip":       stripping(true, false),
		"rstrip":       stripping(false, true),
		"startswith":   affix(strings.HasPrefix),
		"endswith":     affix(strings.HasSuffix),
		"removeprefix": {1, []string{"prefix"}, false, removePrefix},
		"removesuffix": {1, []string{"suffix"}, false, removeSuffix},
		"split":        {0, []string{"sep", "maxsplit"}, true, func(r *run, t *text, p []any) any { return r.split(t, p, false) }},
		"rsplit":       {0, []string{"sep", "maxsplit"}, true, func(r *run, t *text, p []any) any { return r.split(t, p, true) }},
		"splitlines":   {0, []string{"keepends"}, true, splitLines},
		"partition":    {1, []string{"sep"}, false, func(r *run, t *text, p []any) any { return r.partition(t, p, strings.Index) }},
		"rpartition":   {1, []string{"sep"}, false, func(r *run, t *text, p []any) any { return r.partition(t, p, strings.LastIndex) }},
		"replace":      {2, []string{"old", "new", "count"}, false, replaceMethod},
		"join":         {1, []string{"iterable"}, false, func(r *run, t *text, p []any) any { return r.joinTexts(t, r.collect(p[0]), true) }},
		"count":        finding(false, func(s, sub string) int { return countOf(s, sub) }),
		"find":         finding(true, strings.Index),
		"rfind":        finding(true, strings.LastIndex),
		"index":        strict(strings.Index),
		"rindex":       strict(strings.LastIndex),
		"center":       {1, []string{"width", "fillchar"}, false, padding('^')},
		"ljust":        {1, []string{"width", "fillchar"}, false, padding('<')},
		"rjust":        {1, []string{"width", "fillchar"}, false, padding('>')},
		"zfill":        {1, []string{"width"}, false, zfill},
		"isdigit":      every(unicode.IsDigit),
		"isdecimal":    every(unicode.IsDigit),
		"isnumeric":    every(unicode.IsNumber),
		"isalpha":      every(unicode.IsLetter),
		"isalnum":      every(func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) }),
		"isspace":      every(isSpace),
		"isupper":      cased(unicode.IsUpper, unicode.IsLower),
		"islower":      cased(unicode.IsLower, unicode.IsUpper),
		"isascii":      {0, nil, false, func(_ *run, t *text, _ []any) any { return isASCII(t.s) }},
	}
}

// otherTextMethods exist in Python and not here: naming one is an error rather than an undefined value.
var otherTextMethods = map[string]bool{
	"encode": true, "expandtabs": true, "isidentifier": true, "isprintable": true, "istitle": true, "maketrans": true,
	"translate": true, "format_map": true,
}

func (r *run) textAttr(t *text, name string) (any, bool) {
	if t.markup && (name == "format" || name == "join" || name == "replace") {
		r.fail("str.%s of a string marked safe is not supported", name)
	}
	if name == "format" {
		return &function{name, func(r *run, a args) any { return r.format(t, a) }}, true
	}
	m, ok := textMethods[name]
	if !ok {
		if otherTextMethods[name] {
			r.fail("str.%s is not supported", name)
		}
		return nil, false
	}
	return &function{name, func(r *run, a args) any {
		if len(a.kw) > 0 && !m.kw {
			r.fail("str.%s() takes no keyword arguments", name)
		}
		r.charge(len(t.s))
		r.step(len(t.s) / 64)
		return m.call(r, t, a.bind(r, name, m.need, m.names...))
	}}, true
}

// text is an argument that must be a str.
func (r *run) text(v any) *text {
	t, ok := v.(*text)
	if !ok {
		r.misuse(v)
		r.fail("expected str, not %s", typeName(v))
	}
	return t
}

func mapping(f func(string) string) textMethod {
	return textMethod{call: func(_ *run, t *text, _ []any) any { return t.mapped(f) }}
}

func stripping(left, right bool) textMethod {
	return textMethod{0, []string{"chars"}, false, func(r *run, t *text, p []any) any {
		return t.strip(r.charSet(p[0]), left, right)
	}}
}

func (r *run) charSet(v any) *string {
	if v == nil || v == any(missing) {
		return nil
	}
	return &r.text(v).s
}

func affix(has func(s, fix string) bool) textMethod {
	return textMethod{1, []string{"prefix", "start", "end"}, false, func(r *run, t *text, p []any) any {
		from, to := r.bounds(p[1], p[2], runeLen(t.s))
		if from > to {
			return false
		}
		s := r.section(t, from, to).(*text).s
		l, ok := p[0].(*list)
		if !ok || l.kind != kindTuple {
			return has(s, r.text(p[0]).s)
		}
		for _, v := range l.items {
			if has(s, r.text(v).s) {
				return true
			}
		}
		return false
	}}
}

func removePrefix(r *run, t *text, p []any) any {
	return t.cut(len(t.s)-len(strings.TrimPrefix(t.s, r.text(p[0]).s)), len(t.s))
}

func removeSuffix(r *run, t *text, p []any) any {
	return t.cut(0, len(strings.TrimSuffix(t.s, r.text(p[0]).s)))
}

// every is one of the is... methods: not empty, and all characters pass.
func every(pass func(rune) bool) textMethod {
	return textMethod{call: func(_ *run, t *text, _ []any) any {
		return t.s != "" && strings.IndexFunc(t.s, func(c rune) bool { return !pass(c) }) < 0
	}}
}

// cased says that some character is of the wanted case and none of the other.
func cased(want, other func(rune) bool) textMethod {
	return textMethod{call: func(_ *run, t *text, _ []any) any {
		return strings.IndexFunc(t.s, want) >= 0 && strings.IndexFunc(t.s, other) < 0
	}}
}

// split is str.split and str.rsplit.
func (r *run) split(t *text, p []any, right bool) any {
	limit := -1
	if p[1] != any(missing) {
		limit = r.int(p[1])
	}
	var cuts [][2]int
	if p[0] == nil || p[0] == any(missing) {
		cuts = words(t.s, limit, right)
	} else {
		sep := r.text(p[0])
		if sep.s == "" {
			r.fail("empty separator")
		}
		cuts = pieces(t.s, sep.s, limit, right)
	}
	r.chargeList(len(cuts))
	out := &list{items: make([]any, len(cuts))}
	for i, c := range cuts {
		out.items[i] = t.cut(c[0], c[1])
	}
	return out
}

// pieces are the byte ranges between separators, at most limit of them split off (negative: all).
func pieces(s, sep string, limit int, right bool) [][2]int {
	var at []int
	if right {
		for end := len(s); limit != 0; limit-- {
			i := strings.LastIndex(s[:end], sep)
			if i < 0 {
				break
			}
			at = append(at, i)
			end = i
		}
		slices.Reverse(at)
	} else {
		for from := 0; limit != 0; limit-- {
			i := strings.Index(s[from:], sep)
			if i < 0 {
				break
			}
			at = append(at, from+i)
			from += i + len(sep)
		}
	}
	var out [][2]int
	from := 0
	for _, i := range at {
		out = append(out, [2]int{from, i})
		from = i + len(sep)
	}
	return append(out, [2]int{from, len(s)})
}

// words are the byte ranges between white space.
func words(s string, limit int, right bool) [][2]int {
	var all [][2]int
	from := -1
	for i, c := range s {
		if isSpace(c) {
			if from >= 0 {
				all = append(all, [2]int{from, i})
			}
			from = -1
		} else if from < 0 {
			from = i
		}
	}
	if from >= 0 {
		all = append(all, [2]int{from, len(s)})
	}
	if limit < 0 || len(all) <= limit+1 {
		if limit == 0 && right && len(all) == 1 {
			all[0][0] = 0 // the unsplit rest keeps the white space at its far end
		} else if limit >= 0 && len(all) == limit+1 {
			if right {
				all[0][0] = 0
			} else {
				all[limit][1] = len(s)
			}
		}
		return all
	}
	if right {
		k := len(all) - limit - 1
		all[k][0] = 0
		return all[k:]
	}
	all[limit][1] = len(s)
	return all[:limit+1]
}

// splitLines is str.splitlines, which knows more line ends than \n.
func splitLines(r *run, t *text, p []any) any {
	keep := truth(given(p[0], false))
	out := &list{}
	for from := 0; from < len(t.s); {
		r.chargeList(1)
		end := strings.IndexFunc(t.s[from:], isLineEnd)
		if end < 0 {
			out.items = append(out.items, t.cut(from, len(t.s)))
			break
		}
		end += from
		next := end + runeSize(t.s[end:])
		if strings.HasPrefix(t.s[end:], "\r\n") {
			next = end + 2
		}
		if keep {
			end = next
		}
		out.items = append(out.items, t.cut(from, end))
		from = next
	}
	return out
}

func isLineEnd(c rune) bool {
	return c >= '\n' && c <= '\r' || c >= 0x1c && c <= 0x1e || c == 0x85 || c == 0x2028 || c == 0x2029
}

// partition is str.partition, or str.rpartition where find looks from the right.
func (r *run) partition(t *text, p []any, find func(s, sub string) int) any {
	sep := r.text(p[0])
	if sep.s == "" {
		r.fail("empty separator")
	}
	i := find(t.s, sep.s)
	parts := []any{t, emptyText, emptyText}
	if i >= 0 {
		parts = []any{t.cut(0, i), t.cut(i, i+len(sep.s)), t.cut(i+len(sep.s), len(t.s))}
	} else if t.s != "" && find("aa", "a") == 1 { // from the right: the whole is the last part
		parts = []any{emptyText, emptyText, t}
	}
	return &list{items: parts, kind: kindTuple}
}

func replaceMethod(r *run, t *text, p []any) any {
	limit := -1
	if p[2] != any(missing) {
		limit = r.int(p[2])
	}
	return r.replace(t, r.text(p[0]), r.text(p[1]), limit)
}

// replace charges for the result before making it.
func (r *run) replace(t, old, with *text, limit int) *text {
	n := countOf(t.s, old.s)
	if limit >= 0 {
		n = min(n, limit)
	}
	r.charge(len(t.s) + max(0, product(n, len(with.s))))
	if product(n, len(with.s)) < 0 {
		r.charge(-1)
	}
	r.step(n)
	return t.replaced(old, with, limit)
}

// countOf counts as str.count does.
func countOf(s, sub string) int { return strings.Count(s, sub) }

// joinTexts puts sep between the items; strict refuses items that are not str.
func (r *run) joinTexts(sep *text, items []any, strict bool) *text {
	var parts []*text
	size := 0
	for i, v := range items {
		if i > 0 {
			parts = append(parts, sep)
			size += len(sep.s)
		}
		t, ok := v.(*text)
		if !ok && strict {
			r.misuse(v)
			r.fail("sequence item %d: expected str instance, %s found", i, typeName(v))
		}
		if !ok {
			t = r.str(v)
		}
		parts = append(parts, t)
		size += len(t.s)
	}
	r.charge(size)
	return concat(parts...)
}

// finding is find, rfind or count within optional bounds; at says that the result is a place.
func finding(at bool, f func(s, sub string) int) textMethod {
	return textMethod{1, []string{"sub", "start", "end"}, false, func(r *run, t *text, p []any) any {
		from, to := r.bounds(p[1], p[2], runeLen(t.s))
		sub := r.text(p[0]).s
		if from > to {
			if at {
				return -1
			}
			return 0
		}
		s := r.section(t, from, to).(*text).s
		n := f(s, sub)
		if at && n >= 0 {
			return from + runeLen(s[:n])
		}
		return n
	}}
}

// strict is index or rindex: not to find is an error.
func strict(f func(s, sub string) int) textMethod {
	m := finding(true, f)
	find := m.call
	m.call = func(r *run, t *text, p []any) any {
		n := find(r, t, p)
		if n == -1 {
			r.fail("substring not found")
		}
		return n
	}
	return m
}

func padding(align rune) func(r *run, t *text, p []any) any {
	return func(r *run, t *text, p []any) any {
		fill := own(" ")
		if p[1] != any(missing) {
			fill = r.text(p[1])
		}
		if runeLen(fill.s) != 1 {
			r.fail("the fill character must be exactly one character long")
		}
		return r.pad(t, fill, align, r.int(p[0]))
	}
}

// pad fills t up to width characters; align is '<', '>', '=' or '^' (as str.center, which rounds its own way).
func (r *run) pad(t, fill *text, align rune, width int) *text {
	n := width - runeLen(t.s)
	if n <= 0 {
		return t
	}
	r.charge(product(n, len(fill.s)))
	left := 0
	switch align {
	case '>':
		left = n
	case '^':
		left = n/2 + n&width&1
	case 'c': // format's centring
		left = n / 2
	}
	many := func(k int) *text {
		return fill.mapped(func(s string) string { return strings.Repeat(s, k) })
	}
	return concat(many(left), t, many(n-left))
}

// zfill pads with zeros behind the sign.
func zfill(r *run, t *text, p []any) any {
	sign := 0
	if strings.HasPrefix(t.s, "+") || strings.HasPrefix(t.s, "-") {
		sign = 1
	}
	width := r.int(p[0])
	return concat(t.cut(0, sign), r.pad(t.cut(sign, len(t.s)), plain("0"), '>', width-sign))
}

// titleCase is str.title: a letter after a non-letter is a capital, all others are small.
func titleCase(s string) string {
	inWord := false
	return strings.Map(func(c rune) rune {
		was := inWord
		inWord = unicode.IsLetter(c)
		if !was {
			return unicode.ToTitle(c)
		}
		return unicode.ToLower(c)
	}, s)
}

func capitalize(s string) string {
	n := runeSize(s)
	return titleRune(s[:n]) + lower(s[n:])
}

func swapCase(s string) string {
	var b strings.Builder
	for _, c := range s {
		if unicode.IsUpper(c) {
			b.WriteRune(unicode.ToLower(c))
		} else {
			b.WriteString(upper(string(c)))
		}
	}
	return b.String()
}
