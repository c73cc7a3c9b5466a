package jinja

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Range is a half-open range of bytes.
type Range struct{ From, To int }

// text is a string with the byte ranges of it that the template (or its trusted variables) wrote. Ranges are sorted,
// not empty and do not touch. Texts are never changed once made.
type text struct {
	s      string
	ctl    []Range
	markup bool // went through |safe or |escape: adding to it escapes what is added
}

// own is a text that the template wrote, plain one that came from elsewhere.
func own(s string) *text {
	if s == "" {
		return emptyText
	}
	return &text{s: s, ctl: []Range{{0, len(s)}}}
}

// plain is a text that no part of the template wrote.
func plain(s string) *text { return &text{s: s} }

var emptyText = &text{}

// trusted says that every byte is the template's.
func (t *text) trusted() bool {
	return t.s == "" || len(t.ctl) == 1 && t.ctl[0] == Range{0, len(t.s)}
}

// cut is the text of bytes from..to.
func (t *text) cut(from, to int) *text {
	if from == 0 && to == len(t.s) {
		return t
	}
	out := &text{s: t.s[from:to], markup: t.markup}
	first, _ := slices.BinarySearchFunc(t.ctl, from+1, func(c Range, at int) int { return c.To - at })
	for _, c := range t.ctl[first:] {
		if c.From >= to {
			break
		}
		c.From, c.To = max(c.From, from)-from, min(c.To, to)-from
		if c.From < c.To {
			out.ctl = append(out.ctl, c)
		}
	}
	return out
}

// mapped is t with its letters changed by f. Where lengths may move, only an unmixed text keeps its mark.
func (t *text) mapped(f func(string) string) *text {
	out := &text{s: f(t.s), markup: t.markup}
	switch {
	case len(t.ctl) == 0 || out.s == "":
	case t.trusted():
		out.ctl = []Range{{0, len(out.s)}}
	case len(out.s) == len(t.s) && isASCII(t.s):
		out.ctl = t.ctl
	}
	return out
}

var entities = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")

// escaped is t as markup; what is markup already stays.
func (t *text) escaped() *text {
	if t.markup {
		return t
	}
	out := *t.mapped(entities.Replace)
	out.markup = true
	return &out
}

// markup is t marked as safe.
func markup(t *text) *text { return &text{s: t.s, ctl: t.ctl, markup: true} }

// builder puts texts together.
type builder struct {
	buf []byte
	ctl []Range
}

// add appends a text with its ranges moved along.
func (b *builder) add(t *text) {
	at := len(b.buf)
	b.buf = append(b.buf, t.s...)
	for _, c := range t.ctl {
		b.mark(at+c.From, at+c.To)
	}
}

func (b *builder) plain(s string) { b.buf = append(b.buf, s...) }

// mark notes a range, joined to the one before where they touch.
func (b *builder) mark(from, to int) {
	if n := len(b.ctl); n > 0 && b.ctl[n-1].To == from {
		b.ctl[n-1].To = to
		return
	}
	b.ctl = append(b.ctl, Range{from, to})
}

func (b *builder) text() *text { return &text{s: string(b.buf), ctl: b.ctl} }

// concat joins texts, each with its own ranges.
func concat(parts ...*text) *text {
	if len(parts) == 1 {
		return parts[0]
	}
	n := 0
	for _, p := range parts {
		n += len(p.s)
	}
	b := builder{buf: make([]byte, 0, n)}
	for _, p := range parts {
		b.add(p)
	}
	return b.text()
}

// isASCII says that bytes and characters are the same, which most short cuts here stand on.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// runeLen is Python's len of a str.
func runeLen(s string) int {
	if isASCII(s) {
		return len(s)
	}
	return utf8.RuneCountInString(s)
}

// offsets gives the byte offset of each character and the end, or nil when they are the indices themselves.
func offsets(s string) []int {
	if isASCII(s) {
		return nil
	}
	out := make([]int, 0, len(s)+1)
	for i := range s {
		out = append(out, i)
	}
	return append(out, len(s))
}

// isSpace is str.isspace of one character.
func isSpace(c rune) bool {
	switch {
	case c >= '\t' && c <= '\r', c >= 0x1c && c <= ' ', c == 0x85, c == 0xa0, c == 0x1680:
		return true
	case c >= 0x2000 && c <= 0x200a, c == 0x2028, c == 0x2029, c == 0x202f, c == 0x205f, c == 0x3000:
		return true
	}
	return false
}

// strip removes the characters of set (white space when nil) from the chosen sides.
func (t *text) strip(set *string, left, right bool) *text {
	drop := isSpace
	if set != nil {
		drop = func(c rune) bool { return strings.ContainsRune(*set, c) }
	}
	from, to := 0, len(t.s)
	if left {
		from = len(t.s) - len(strings.TrimLeftFunc(t.s, drop))
	}
	if right {
		to = from + len(strings.TrimRightFunc(t.s[from:], drop))
	}
	return t.cut(from, to)
}

// replaced puts with in place of old, at most limit times (negative: all of them).
func (t *text) replaced(old, with *text, limit int) *text {
	var b builder
	at := 0
	put := func(to int) { b.add(t.cut(at, to)) }
	if old.s == "" {
		for i := range t.s {
			if limit == 0 {
				break
			}
			put(i)
			b.add(with)
			at = i
			limit--
		}
		put(len(t.s))
		if limit != 0 {
			b.add(with)
		}
		return b.text()
	}
	for limit != 0 {
		i := strings.Index(t.s[at:], old.s)
		if i < 0 {
			break
		}
		put(at + i)
		b.add(with)
		at += i + len(old.s)
		limit--
	}
	put(len(t.s))
	return b.text()
}
