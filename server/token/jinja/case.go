package jinja

import (
	"strings"
	"unicode"
)

// manyUpper are the letters that become several in capitals (Unicode's SpecialCasing, without the Greek letters that
// carry an iota).
var manyUpper = strings.NewReplacer(
	"ß", "SS", "ŉ", "ʼN", "ǰ", "J\u030c", "ΐ", "Ι\u0308\u0301", "ΰ", "Υ\u0308\u0301", "և", "ԵՒ",
	"ẖ", "H\u0331", "ẗ", "T\u0308", "ẘ", "W\u030a", "ẙ", "Y\u030a", "ẚ", "Aʾ",
	"ﬀ", "FF", "ﬁ", "FI", "ﬂ", "FL", "ﬃ", "FFI", "ﬄ", "FFL", "ﬅ", "ST", "ﬆ", "ST",
)

func upper(s string) string {
	if isASCII(s) {
		return strings.ToUpper(s)
	}
	return strings.ToUpper(manyUpper.Replace(s))
}

// titleRune is one character at the start of a word.
func titleRune(s string) string {
	if t := manyUpper.Replace(s); t != s {
		n := runeSize(t)
		return t[:n] + strings.ToLower(t[n:])
	}
	return strings.Map(unicode.ToTitle, s)
}

// lower is str.lower: a capital sigma at the end of a word and a dotted capital I have rules of their own.
func lower(s string) string {
	if isASCII(s) || !strings.ContainsAny(s, "Σİ") {
		return strings.ToLower(s)
	}
	var b strings.Builder
	before := false // a letter stands before
	for i, c := range s {
		switch {
		case c == 'İ':
			b.WriteString("i\u0307")
		case c == 'Σ' && before && !letterNext(s[i+runeSize(s[i:]):]):
			b.WriteRune('ς')
		default:
			b.WriteRune(unicode.ToLower(c))
		}
		if !ignorable(c) {
			before = unicode.IsLetter(c)
		}
	}
	return b.String()
}

func letterNext(s string) bool {
	for _, c := range s {
		if !ignorable(c) {
			return unicode.IsLetter(c)
		}
	}
	return false
}

// ignorable characters do not end a word.
func ignorable(c rune) bool {
	return unicode.In(c, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) || strings.ContainsRune("'.:·’", c)
}
