package jinja

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind tells tokens apart.
type kind uint8

const (
	tokEOF kind = iota
	tokData
	tokVarBegin
	tokVarEnd
	tokBlockBegin
	tokBlockEnd
	tokName
	tokString
	tokInt
	tokFloat
	tokOp
)

type token struct {
	kind kind
	val  string
	line int
}

func (t token) String() string {
	switch t.kind {
	case tokEOF:
		return "end of template"
	case tokVarEnd:
		return "'}}'"
	case tokBlockEnd:
		return "'%}'"
	}
	return fmt.Sprintf("%q", t.val)
}

// lexer splits a source as jinja2 does with trim_blocks and lstrip_blocks set and a trailing newline dropped.
type lexer struct {
	name      string
	src       string
	pos       int
	line      int
	counted   int  // bytes of src whose newlines are in line
	lineStart bool // what was read last ended in a newline
	toks      []token
	open      []byte // closers that are awaited inside a tag
}

func (l *lexer) fail(format string, a ...any) {
	panic(&Error{Template: l.name, Line: l.at(l.pos), Message: fmt.Sprintf(format, a...)})
}

// at is the line of a byte offset, which never goes back.
func (l *lexer) at(pos int) int {
	if pos > l.counted {
		l.line += strings.Count(l.src[l.counted:pos], "\n")
		l.counted = pos
	}
	return l.line
}

func (l *lexer) emit(k kind, val string) { l.toks = append(l.toks, token{k, val, l.at(l.pos)}) }

// lex turns a source into tokens. Line ends are made one kind first, and one at the very end is dropped.
func lex(name, src string) []token {
	src = strings.ReplaceAll(strings.ReplaceAll(src, "\r\n", "\n"), "\r", "\n")
	l := &lexer{name: name, src: strings.TrimSuffix(src, "\n"), line: 1, lineStart: true}
	for l.pos < len(l.src) {
		l.root()
	}
	l.emit(tokEOF, "")
	return l.toks
}

// root reads text up to the next tag, and that tag.
func (l *lexer) root() {
	i := l.nextTag()
	if i < 0 {
		l.emit(tokData, l.src[l.pos:])
		l.pos = len(l.src)
		return
	}
	open := l.src[i : i+2]
	sign := l.sign(i + 2)
	if s := l.leading(l.src[l.pos:i], sign, open != "{{"); s != "" {
		l.emit(tokData, s)
	}
	l.pos = i + 2
	if sign != 0 {
		l.pos++
	}
	switch {
	case open == "{#":
		l.comment()
	case open == "{%" && l.raw():
	case open == "{%":
		l.emit(tokBlockBegin, open)
		l.tag("%}", tokBlockEnd)
	default:
		l.emit(tokVarBegin, open)
		l.tag("}}", tokVarEnd)
	}
}

// nextTag is where the next tag opens, or -1.
func (l *lexer) nextTag() int {
	for i := l.pos; ; i++ {
		j := strings.IndexByte(l.src[i:], '{')
		if j < 0 || i+j+1 >= len(l.src) {
			return -1
		}
		i += j
		if c := l.src[i+1]; c == '%' || c == '{' || c == '#' {
			return i
		}
	}
}

// sign is the '-' or '+' at pos, or 0.
func (l *lexer) sign(pos int) byte {
	if pos < len(l.src) && (l.src[pos] == '-' || l.src[pos] == '+') {
		return l.src[pos]
	}
	return 0
}

// leading is the text before a tag, with what its sign and lstrip_blocks take away.
func (l *lexer) leading(s string, sign byte, block bool) string {
	if sign == '-' {
		return strings.TrimRightFunc(s, isSpace)
	}
	if sign == '+' || !block {
		return s
	}
	nl := strings.LastIndexByte(s, '\n') + 1
	if (nl > 0 || l.lineStart) && strings.TrimLeftFunc(s[nl:], isSpace) == "" {
		return s[:nl]
	}
	return s
}

// trailing skips what the end of a block takes away: all white space after '-', one newline unless '+'.
func (l *lexer) trailing(sign byte) {
	switch {
	case sign == '-':
		l.skipSpace()
	case sign != '+' && l.pos < len(l.src) && l.src[l.pos] == '\n':
		l.pos++
	}
	l.lineStart = l.src[l.pos-1] == '\n'
}

func (l *lexer) skipSpace() {
	l.pos += len(l.src[l.pos:]) - len(strings.TrimLeftFunc(l.src[l.pos:], isSpace))
}

// comment skips to the end of a comment; comments do not nest.
func (l *lexer) comment() {
	i := strings.Index(l.src[l.pos:], "#}")
	if i < 0 {
		l.fail("missing end of comment tag")
	}
	var sign byte
	if i > 0 {
		sign = l.sign(l.pos + i - 1)
	}
	l.pos += i + 2
	l.trailing(sign)
}

// word skips spaces and the given word, and gives the offset behind both, or -1.
func (l *lexer) word(pos int, w string) int {
	rest := strings.TrimLeftFunc(l.src[pos:], isSpace)
	if !strings.HasPrefix(rest, w) {
		return -1
	}
	rest = strings.TrimLeftFunc(rest[len(w):], isSpace)
	return len(l.src) - len(rest)
}

// raw reads {% raw %} to {% endraw %}, standing behind the opening and its sign.
func (l *lexer) raw() bool {
	p := l.word(l.pos, "raw")
	if p < 0 {
		return false
	}
	switch {
	case strings.HasPrefix(l.src[p:], "-%}"):
		l.pos = p + 3
		l.skipSpace()
	case strings.HasPrefix(l.src[p:], "%}"):
		l.pos = p + 2
	default:
		return false
	}
	l.lineStart = l.src[l.pos-1] == '\n'
	for i := l.pos; ; i += 2 {
		j := strings.Index(l.src[i:], "{%")
		if j < 0 {
			l.fail("missing end of raw directive")
		}
		i += j
		if l.endRaw(i) {
			return true
		}
	}
}

// endRaw ends a raw section if {% endraw %} stands at i.
func (l *lexer) endRaw(i int) bool {
	p := i + 2
	sign := l.sign(p)
	if sign != 0 {
		p++
	}
	p = l.word(p, "endraw")
	if p < 0 {
		return false
	}
	end := l.sign(p)
	if end != 0 {
		p++
	}
	if !strings.HasPrefix(l.src[p:], "%}") {
		return false
	}
	if s := l.leading(l.src[l.pos:i], sign, true); s != "" {
		l.emit(tokData, s)
	}
	l.pos = p + 2
	l.trailing(end)
	return true
}

// tag reads the tokens of one tag and its end.
func (l *lexer) tag(end string, k kind) {
	l.open = l.open[:0]
	for {
		if len(l.open) == 0 && l.tagEnd(end, k) {
			return
		}
		if l.pos >= len(l.src) {
			l.fail("unexpected end of template inside a tag")
		}
		c, size := utf8.DecodeRuneInString(l.src[l.pos:])
		switch {
		case isSpace(c):
			l.pos += size
		case c >= '0' && c <= '9':
			l.number()
		case c == '_' || unicode.IsLetter(c):
			l.ident()
		case c == '"' || c == '\'':
			l.str(byte(c))
		default:
			l.operator()
		}
	}
}

// tagEnd reads the end of a tag with what it takes away. It is looked for only where no bracket is open, so that the
// braces of {{ {} }} are told apart.
func (l *lexer) tagEnd(end string, k kind) bool {
	sign := l.sign(l.pos)
	if sign == '+' && k == tokVarEnd {
		sign = 0
	}
	p := l.pos
	if sign != 0 {
		p++
	}
	if !strings.HasPrefix(l.src[p:], end) {
		return false
	}
	l.emit(k, end)
	l.pos = p + 2
	if k == tokVarEnd && sign == 0 {
		sign = '+' // a variable never takes the newline behind it
	}
	l.trailing(sign)
	return true
}

func (l *lexer) ident() {
	i := l.pos
	for i < len(l.src) {
		c, size := utf8.DecodeRuneInString(l.src[i:])
		if c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			break
		}
		i += size
	}
	l.emit(tokName, l.src[l.pos:i])
	l.pos = i
}

func (l *lexer) str(quote byte) {
	for i := l.pos + 1; i < len(l.src); i++ {
		switch l.src[i] {
		case '\\':
			i++
		case quote:
			l.emit(tokString, l.unescape(l.src[l.pos+1:i]))
			l.pos = i + 1
			return
		}
	}
	l.fail("unexpected char %q", quote)
}

// operator reads an operator and keeps the stack of open brackets.
func (l *lexer) operator() {
	op := l.src[l.pos : l.pos+1]
	if l.pos+1 < len(l.src) {
		switch two := l.src[l.pos : l.pos+2]; two {
		case "//", "**", "==", "!=", ">=", "<=":
			op = two
		}
	}
	if len(op) == 1 && !strings.Contains("+-/*%~[](){}.:|,;=><", op) {
		l.fail("unexpected char %q", op)
	}
	switch op {
	case "(":
		l.open = append(l.open, ')')
	case "[":
		l.open = append(l.open, ']')
	case "{":
		l.open = append(l.open, '}')
	case ")", "]", "}":
		n := len(l.open)
		if n == 0 || l.open[n-1] != op[0] {
			l.fail("unexpected %q", op)
		}
		l.open = l.open[:n-1]
	}
	l.emit(tokOp, op)
	l.pos += len(op)
}
