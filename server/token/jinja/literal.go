package jinja

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	floatRE = regexp.MustCompile(`^(\d+_)*\d+((\.(\d+_)*\d+)?[eE][+\-]?(\d+_)*\d+|\.(\d+_)*\d+)`)
	intRE   = regexp.MustCompile(`^(0[bB](_?[01])+|0[oO](_?[0-7])+|0[xX](_?[\da-fA-F])+|[1-9](_?\d)*|0(_?0)*)`)
)

// number reads a number. Directly after a dot it is never a float, so that a.0.1 is two look-ups.
func (l *lexer) number() {
	rest := l.src[l.pos:]
	if l.src[l.pos-1] != '.' {
		if m := floatRE.FindString(rest); m != "" {
			l.emit(tokFloat, strings.ReplaceAll(m, "_", ""))
			l.pos += len(m)
			return
		}
	}
	m := intRE.FindString(rest)
	l.emit(tokInt, strings.ReplaceAll(m, "_", ""))
	l.pos += len(m)
}

var simpleEscapes = map[byte]string{
	'n': "\n", 't': "\t", 'r': "\r", 'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v",
	'\\': "\\", '\'': "'", '"': "\"", '\n': "",
}

// unescape resolves a string literal's escapes as Python's unicode-escape codec does.
func (l *lexer) unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		c := s[i]
		if r, ok := simpleEscapes[c]; ok {
			b.WriteString(r)
			continue
		}
		switch c {
		case 'x', 'u', 'U':
			n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
			b.WriteRune(l.hex(s, i+1, n))
			i += n
		case '0', '1', '2', '3', '4', '5', '6', '7':
			n := 1
			for n < 3 && i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '7' {
				n++
			}
			v, _ := strconv.ParseUint(s[i:i+n], 8, 32)
			b.WriteRune(rune(v))
			i += n - 1
		case 'N':
			l.fail("named characters in strings are not supported")
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (l *lexer) hex(s string, at, n int) rune {
	if at+n > len(s) {
		l.fail("truncated escape in a string")
	}
	v, err := strconv.ParseUint(s[at:at+n], 16, 32)
	if err != nil || !utf8.ValidRune(rune(v)) {
		l.fail("bad escape in a string")
	}
	return rune(v)
}
