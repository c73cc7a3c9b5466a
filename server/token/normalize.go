package token

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalizer is one step that rewrites a text before it is cut. A prepend step puts its text before every part that
// is not empty; the others rewrite what stands there.
type normalizer struct {
	prepend string
	apply   func(string) string
	growth  int // of a Replace: how many times as long a text can become
}

// normalizers are the steps in their order.
type normalizers []normalizer

// apply runs the steps; bare leaves out what is prepended.
func (n normalizers) apply(s string, bare bool) string {
	for _, step := range n {
		switch {
		case step.apply != nil:
			s = step.apply(s)
		case !bare && s != "":
			s = step.prepend + s
		}
	}
	return s
}

// mapControl carries the control ranges of raw, a part of the text, over to its normalized form. The length of a
// beginning's normalized form is taken as the sum over its segments, which is exact unless a range borders on a
// character that composes with its neighbour; then a border moves by that character.
func (n normalizers) mapControl(c control, raw string) control {
	if c.all || len(c.ranges) == 0 || len(n) == 0 {
		return c
	}
	lead := len(n.apply("x", false)) - len(n.apply("x", true)) // what is prepended
	out := control{}
	at, done := lead, 0
	advance := func(to int) int {
		at += len(n.apply(raw[done:to], true))
		done = to
		return at
	}
	for _, r := range c.ranges {
		from, to := max(r.From-c.shift, 0), min(r.To-c.shift, len(raw))
		if from < to {
			if from = advance(from); done == 0 {
				from = 0 // what is prepended belongs to the first character
			}
			out.ranges = append(out.ranges, Range{from, advance(to)})
		}
	}
	return out
}

// form normalizes to a Unicode normalization form. x/text breaks runs of more than 30 combining marks with U+034F
// (Unicode Standard Annex 15, stream-safe text); such texts take a slower way without.
func form(f norm.Form) func(string) string {
	return func(s string) string {
		if f.QuickSpanString(s) == len(s) {
			return s
		}
		if !longMarks(s) {
			return f.String(s)
		}
		return normalizeSlow(f, s)
	}
}

// maxMarks is a run of combining marks that x/text certainly leaves whole: a character of the text decomposes into up
// to 3 marks or more, and 30 is the bound.
const maxMarks = 8

// longMarks reports whether s has more than maxMarks characters in a row that are not starters.
func longMarks(s string) bool {
	marks := 0
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			marks = 0
			i++
			continue
		}
		p := norm.NFD.PropertiesString(s[i:])
		marks++
		if p.CCC() == 0 && p.BoundaryBefore() {
			marks = 0
		}
		if marks > maxMarks {
			return true
		}
		i += max(p.Size(), 1)
	}
	return false
}

// normalizeSlow decomposes, orders by combining class and composes (Unicode Standard Annex 15), one character at a
// time.
func normalizeSlow(f norm.Form, s string) string {
	single, compose := norm.NFD, f == norm.NFC || f == norm.NFKC
	if f == norm.NFKC || f == norm.NFKD {
		single = norm.NFKD
	}
	var runes []rune
	for _, r := range s {
		runes = append(runes, []rune(single.String(string(r)))...)
	}
	for i := 0; i < len(runes); {
		j := i + 1
		for j < len(runes) && combining(runes[j]) != 0 {
			j++
		}
		slices.SortStableFunc(runes[i:j], func(a, b rune) int { return int(combining(a)) - int(combining(b)) })
		i = j
	}
	if compose {
		runes = composeRunes(runes)
	}
	return string(runes)
}

// composeRunes joins each character with the last starter before it unless one of the same or a higher class stands
// between them.
func composeRunes(in []rune) []rune {
	out := in[:0]
	starter, last := -1, uint8(0)
	for _, r := range in {
		c := combining(r)
		if starter >= 0 && (starter == len(out)-1 || last < c) {
			pair := norm.NFC.String(string([]rune{out[starter], r}))
			if p, n := utf8.DecodeRuneInString(pair); n == len(pair) {
				out[starter] = p
				continue
			}
		}
		out = append(out, r)
		if last = c; c == 0 {
			starter = len(out) - 1
		}
	}
	return out
}

// combining is the canonical combining class of r.
func combining(r rune) uint8 { return norm.NFD.PropertiesString(string(r)).CCC() }

// replace is the Replace normalizer for a fixed string.
func replace(from, to string) func(string) string {
	return func(s string) string { return strings.ReplaceAll(s, from, to) }
}
