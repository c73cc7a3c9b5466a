package token

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A stage is one step of a pre-tokenizer: it may rewrite a text, then cuts it into pieces for the next stage.
type stage interface {
	// prepare rewrites the text before it is cut; first says that the text begins the whole input.
	prepare(s string, first bool) string
	// next is the length in bytes of the first piece of s, which is not empty.
	next(s string) int
}

// The patterns that are known, by their text in tokenizer.json. None looks behind, so the next piece depends only on
// what follows.
const (
	patternGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// patterns are the scanners of Split by pattern.
var patterns = map[string]stage{
	patternGPT2:   gpt2Words{},
	patternLlama3: llamaWords{digits: 3},
	patternQwen2:  llamaWords{digits: 1},
}

// class is what the patterns distinguish of a character.
type class uint8

const (
	other   class = iota // [^\s\p{L}\p{N}]
	letter               // \p{L}
	number               // \p{N}
	space                // \s but not a line end
	newline              // [\r\n]
)

// classes of the basic multilingual plane; the planes beyond are looked up in the unicode tables.
var classes = func() (t [1 << 16]class) {
	fill := func(tab *unicode.RangeTable, c class) {
		for _, r := range tab.R16 {
			for x := uint32(r.Lo); x <= uint32(r.Hi); x += uint32(r.Stride) {
				t[x] = c
			}
		}
	}
	fill(unicode.L, letter)
	fill(unicode.N, number)
	fill(unicode.White_Space, space)
	t['\n'], t['\r'] = newline, newline
	return t
}()

// classAt is the class and the length of the character at s[i]; i == len(s) gives length 0.
func classAt(s string, i int) (class, int) {
	if i >= len(s) {
		return other, 0
	}
	if c := s[i]; c < utf8.RuneSelf {
		return classes[c], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	switch {
	case r < 1<<16:
		return classes[r], n
	case unicode.Is(unicode.L, r):
		return letter, n
	case unicode.Is(unicode.N, r):
		return number, n
	}
	return other, n // no white space beyond the basic plane
}

// run is the end of the run of characters of class c that begins at i.
func run(s string, i int, c class) int {
	for {
		k, n := classAt(s, i)
		if n == 0 || k != c {
			return i
		}
		i += n
	}
}

// blanks is the length of the piece that white space at the beginning of s makes, as \s+(?!\S)|\s+ does: all of it at
// the end of the text, else all but the last character, which goes to the word that follows. With lines, white space
// that holds line ends is cut after the last of them (\s*[\r\n]+).
func blanks(s string, lines bool) int {
	end, last, line := 0, 0, 0
	for {
		c, n := classAt(s, end)
		if n == 0 || c != space && c != newline {
			break
		}
		last, end = end, end+n
		if c == newline {
			line = end
		}
	}
	switch {
	case lines && line > 0:
		return line
	case end == len(s) || last == 0:
		return end
	}
	return last
}

// contraction is the length of 's 't 're 've 'm 'll 'd at the beginning of s, or 0. Folding case takes in ſ (U+017F),
// whose upper case is S.
func contraction(s string, fold bool) int {
	if len(s) < 2 {
		return 0
	}
	a, b := s[1], byte(0)
	if len(s) > 2 {
		b = s[2]
	}
	if fold {
		if strings.HasPrefix(s[1:], "ſ") {
			return 1 + len("ſ")
		}
		a, b = a|0x20, b|0x20
	}
	switch {
	case a == 's' || a == 't' || a == 'm' || a == 'd':
		return 2
	case a == 'r' && b == 'e' || a == 'v' && b == 'e' || a == 'l' && b == 'l':
		return 3
	}
	return 0
}

// gpt2Words is patternGPT2.
type gpt2Words struct{}

func (gpt2Words) prepare(s string, _ bool) string { return s }

func (gpt2Words) next(s string) int {
	if s[0] == '\'' {
		if n := contraction(s, false); n > 0 {
			return n
		}
	}
	c, n := classAt(s, 0)
	if s[0] == ' ' {
		if c1, n1 := classAt(s, 1); n1 > 0 {
			c, n = c1, 1+n1
		}
	}
	if c == space || c == newline {
		return blanks(s, false)
	}
	return run(s, n, c)
}

// llamaWords is patternLlama3 (three digits to a piece) and patternQwen2 (one).
type llamaWords struct{ digits int }

func (llamaWords) prepare(s string, _ bool) string { return s }

func (w llamaWords) next(s string) int {
	if s[0] == '\'' {
		if n := contraction(s, true); n > 0 {
			return n
		}
	}
	c, n := classAt(s, 0)
	switch c {
	case letter:
		return run(s, n, letter)
	case number:
		return w.number(s, n)
	case newline:
		return blanks(s, true)
	}
	c1, n1 := classAt(s, n)
	if n1 > 0 && c1 == letter {
		return run(s, n+n1, letter)
	}
	if c == space {
		if s[0] != ' ' || n1 == 0 || c1 != other {
			return blanks(s, true)
		}
		n += n1
	}
	return run(s, run(s, n, other), newline)
}

// number is the end of the digits of a piece, n bytes of which are known.
func (w llamaWords) number(s string, n int) int {
	for i := 1; i < w.digits; i++ {
		c, m := classAt(s, n)
		if m == 0 || c != number {
			break
		}
		n += m
	}
	return n
}

// digits is the Digits pre-tokenizer: numbers apart from the rest, each digit by itself or all together.
type digits struct{ single bool }

func (digits) prepare(s string, _ bool) string { return s }

func (d digits) next(s string) int {
	c, n := classAt(s, 0)
	if d.single && c == number {
		return n
	}
	for {
		c1, n1 := classAt(s, n)
		if n1 == 0 || (c1 == number) != (c == number) {
			return n
		}
		n += n1
	}
}

// cutAfter is Split by a fixed string that stays with what precedes it (MergedWithPrevious), as Gemma has it.
type cutAfter struct{ sep string }

func (cutAfter) prepare(s string, _ bool) string { return s }

func (c cutAfter) next(s string) int {
	if i := strings.Index(s, c.sep); i >= 0 {
		return i + len(c.sep)
	}
	return len(s)
}

// prefixSpace is ByteLevel's add_prefix_space; it cuts as inner does, or not at all.
type prefixSpace struct{ inner stage }

func (prefixSpace) prepare(s string, _ bool) string {
	if strings.HasPrefix(s, " ") {
		return s
	}
	return " " + s
}

func (p prefixSpace) next(s string) int {
	if p.inner == nil {
		return len(s)
	}
	return p.inner.next(s)
}

// metaspace is the Metaspace pre-tokenizer: spaces become mark, one is put before the text as scheme says, and pieces
// begin at every mark.
type metaspace struct {
	mark   string
	scheme string // always, first, never
	split  bool
}

func (m metaspace) prepare(s string, first bool) string {
	s = strings.ReplaceAll(s, " ", m.mark)
	if m.scheme == "never" || m.scheme == "first" && !first || strings.HasPrefix(s, m.mark) {
		return s
	}
	return m.mark + s
}

func (m metaspace) next(s string) int {
	if !m.split {
		return len(s)
	}
	if i := strings.Index(s[1:], m.mark); i >= 0 {
		return 1 + i
	}
	return len(s)
}

// wordBorder cuts before every mark that follows another character. It stands in for no pre-tokenizer: a tokenizer
// whose merges never join across such a border gives the same tokens word by word as in one piece, sooner.
type wordBorder struct{ mark string }

func (wordBorder) prepare(s string, _ bool) string { return s }

func (w wordBorder) next(s string) int {
	n := 0
	for strings.HasPrefix(s[n:], w.mark) {
		n += len(w.mark)
	}
	if i := strings.Index(s[n:], w.mark); i >= 0 {
		return n + i
	}
	return len(s)
}
