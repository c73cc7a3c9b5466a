package jinja

import (
	"math/big"
	"strings"
	"unicode"
)

// testFunc is what stands behind `is`.
type testFunc func(r *run, v any, a args) bool

var testTable map[string]testFunc

func init() {
	testTable = map[string]testFunc{
		"defined":   kindTest(func(v any) bool { _, u := v.(*undef); return !u }),
		"undefined": kindTest(func(v any) bool { _, u := v.(*undef); return u }),
		"none":      kindTest(func(v any) bool { return v == nil }),
		"boolean":   kindTest(func(v any) bool { _, ok := v.(bool); return ok }),
		"true":      kindTest(func(v any) bool { return v == true }),
		"false":     kindTest(func(v any) bool { return v == false }),
		"string":    kindTest(func(v any) bool { _, ok := v.(*text); return ok }),
		"mapping":   kindTest(func(v any) bool { _, ok := v.(*dict); return ok }),
		"number":    kindTest(func(v any) bool { _, ok := number(v); return ok }),
		"integer":   kindTest(isInteger),
		"float":     kindTest(func(v any) bool { _, ok := v.(float64); return ok }),
		"iterable":  kindTest(isIterable),
		"sequence":  kindTest(isSequence),
		"callable":  kindTest(isCallable),
		"escaped":   kindTest(func(v any) bool { t, ok := v.(*text); return ok && t.markup }),
		"lower": func(r *run, v any, _ args) bool {
			return truth(cased(unicode.IsLower, unicode.IsUpper).call(r, r.str(v), nil))
		},
		"upper": func(r *run, v any, _ args) bool {
			return truth(cased(unicode.IsUpper, unicode.IsLower).call(r, r.str(v), nil))
		},
		"odd":  func(r *run, v any, _ args) bool { return equal(r.binary("%", v, 2), 1) },
		"even": func(r *run, v any, _ args) bool { return equal(r.binary("%", v, 2), 0) },
		"divisibleby": func(r *run, v any, a args) bool {
			return equal(r.binary("%", v, a.bind(r, "divisibleby", 1, "num")[0]), 0)
		},
		"in":     func(r *run, v any, a args) bool { return r.contains(a.bind(r, "in", 1, "seq")[0], v) },
		"sameas": func(r *run, v any, a args) bool { return same(v, a.bind(r, "sameas", 1, "other")[0]) },
		"filter": func(r *run, v any, _ args) bool { return filterTable[r.text(v).s] != nil },
		"test":   func(r *run, v any, _ args) bool { return testTable[r.text(v).s] != nil },
	}
	for op, names := range map[string]string{
		"==": "eq equalto ==", "!=": "ne !=", ">": "gt greaterthan >", ">=": "ge >=", "<": "lt lessthan <", "<=": "le <=",
	} {
		for _, n := range strings.Fields(names) {
			testTable[n] = func(r *run, v any, a args) bool { return r.compare(op, v, a.bind(r, n, 1, "other")[0]) }
		}
	}
}

// kindTest is a test without arguments.
func kindTest(f func(v any) bool) testFunc {
	return func(r *run, v any, a args) bool {
		a.bind(r, "test", 0)
		return f(v)
	}
}

func isInteger(v any) bool {
	switch v.(type) {
	case int, *big.Int:
		return true
	}
	return false
}

func isIterable(v any) bool {
	switch v.(type) {
	case *text, *list, *dict, *undef, *iter, *loop:
		return true
	}
	return false
}

// isSequence asks for a length and for items by index, which dicts and undefined values have too.
func isSequence(v any) bool {
	switch v := v.(type) {
	case *text, *dict, *undef:
		return true
	case *list:
		return !v.kind.view()
	}
	return false
}

func isCallable(v any) bool {
	switch v.(type) {
	case *function, *macro, *undef:
		return true
	}
	return false
}

// same is Python's `is`, as far as it is defined by the language.
func same(a, b any) bool {
	switch a := a.(type) {
	case *text, int, float64:
		return typeName(a) == typeName(b) && equal(a, b)
	}
	return a == b
}
