package token

import (
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedSet finds added tokens in a text: at each place the leftmost, and of those the longest.
type addedSet struct {
	tokens  []addedSpec
	spelled []string         // by token: what is looked for
	first   [256]bool        // bytes with which a token begins
	edges   map[uint64]int32 // state<<8 | byte -> state of the trie; the root is 0
	end     []int32          // by state: 1 + index of the token that ends there, or 0
}

// add puts a token into the trie under the spelling to look for; of tokens with one spelling the first counts.
func (a *addedSet) add(tok addedSpec, spelling string) {
	if a.edges == nil {
		a.edges, a.end = map[uint64]int32{}, []int32{0}
	}
	state := int32(0)
	for i := 0; i < len(spelling); i++ {
		key := uint64(state)<<8 | uint64(spelling[i])
		next, ok := a.edges[key]
		if !ok {
			next = int32(len(a.end))
			a.edges[key], a.end = next, append(a.end, 0)
		}
		state = next
	}
	if a.end[state] == 0 {
		a.tokens, a.spelled = append(a.tokens, tok), append(a.spelled, spelling)
		a.end[state] = int32(len(a.tokens))
	}
	a.first[spelling[0]] = true
}

// match is an added token in a text.
type match struct {
	from, to int // with the white space that lstrip and rstrip take in
	id       int32
}

// next finds the first match in s at or after from. A control token counts only where ctl allows it.
func (a *addedSet) next(s string, from int, ctl *control) (match, bool) {
	for i := from; i < len(s) && len(a.tokens) > 0; i++ {
		if !a.first[s[i]] {
			continue
		}
		tok, to := a.longest(s, i, ctl)
		if tok == nil {
			continue
		}
		if tok.SingleWord && (endsWithWord(s[:i]) || startsWithWord(s[to:])) {
			i = to - 1
			continue
		}
		m := match{i, to, tok.ID}
		if tok.LStrip {
			m.from = from + len(strings.TrimRightFunc(s[from:i], unicode.IsSpace))
		}
		if tok.RStrip {
			m.to = len(s) - len(strings.TrimLeftFunc(s[to:], unicode.IsSpace))
		}
		return m, true
	}
	return match{}, false
}

// longest is the longest token that begins at s[i] and counts there, and its end.
func (a *addedSet) longest(s string, i int, ctl *control) (tok *addedSpec, to int) {
	state, ok := int32(0), false
	for j := i; j < len(s); j++ {
		if state, ok = a.edges[uint64(state)<<8|uint64(s[j])]; !ok {
			break
		}
		if k := a.end[state]; k > 0 && (!a.tokens[k-1].Special || ctl.allows(i, j+1)) {
			tok, to = &a.tokens[k-1], j+1
		}
	}
	return tok, to
}

func endsWithWord(s string) bool {
	r, _ := utf8.DecodeLastRuneInString(s)
	return s != "" && isWord(r)
}

func startsWithWord(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return s != "" && isWord(r)
}

// isWord is \w of Unicode Technical Standard 18, annex C.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.Nl, unicode.Other_Alphabetic, unicode.M, unicode.Nd, unicode.Pc,
		unicode.Join_Control)
}

// control says where in a text control tokens count.
type control struct {
	all    bool
	ranges []Range // sorted and disjoint
	shift  int     // the text is a part that begins here
}

// allows reports whether a control token at [from, to) of the text counts.
func (c *control) allows(from, to int) bool {
	if c.all {
		return true
	}
	from, to = from+c.shift, to+c.shift
	i := sort.Search(len(c.ranges), func(i int) bool { return c.ranges[i].To > from })
	return i < len(c.ranges) && c.ranges[i].From <= from && to <= c.ranges[i].To
}
