package token

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"github.com/dlclark/regexp2"
)

// alphabets are the characters of the random texts: those that the patterns distinguish, near misses of them, and
// whole planes.
var alphabets = [][]rune{
	[]rune("'sStTrReEvVmMlLdDaZ \n\r\t"),
	[]rune(" \u00a0\u3000\u2028\u2029\u0085\v\f\u1680\u200b\ufeff\u180e\n\ra1."),
	[]rune("0129٣४৩๓½²Ⅷ㉛𝟘𐄇①一七 a"),
	[]rune("éßİıſKÅǅʰªºЖжअनि्ไทยعר中あ한각𠀀𝒳ꟿ'. "),
	[]rune("\u0301\u0323\u20dd\u0903\ufe0f\u200d😀👩🏳🌈_-!?$+<=>^`|~\u00ad\x00\x7f\ue000\U00040000\U0010ffff a1"),
}

// randomText draws a text of up to 24 characters, mostly of one alphabet.
func randomText(r *rand.Rand) string {
	var b strings.Builder
	letters := alphabets[r.IntN(len(alphabets))]
	for range r.IntN(24) {
		c := letters[r.IntN(len(letters))]
		switch r.IntN(12) {
		case 0:
			other := alphabets[r.IntN(len(alphabets))]
			c = other[r.IntN(len(other))]
		case 1:
			c = rune(r.IntN(0x3100))
		case 2:
			c = rune(r.IntN(unicode.MaxRune + 1))
		}
		if c < 0xD800 || c > 0xDFFF {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// regexPieces cuts s as the pattern's own text says, by an engine that can look ahead.
func regexPieces(t *testing.T, re *regexp2.Regexp, s string) (out []string) {
	t.Helper()
	m, err := re.FindStringMatch(s)
	for ; m != nil && err == nil; m, err = re.FindNextMatch(m) {
		out = append(out, m.String())
	}
	if err != nil || strings.Join(out, "") != s {
		t.Fatalf("the pattern cuts %q into %q, %v", s, out, err)
	}
	return out
}

// cutPieces cuts s by a stage.
func cutPieces(st stage, s string) (out []string) {
	for s != "" {
		n := st.next(s)
		out = append(out, s[:n])
		s = s[n:]
	}
	return out
}

// TestPatterns: the hand-written scanners cut random texts as the patterns do. Known to differ: 'ſ, which regexp2 does
// not fold to 's; Python's regex and the tokenizers library do (the goldens have it).
func TestPatterns(t *testing.T) {
	for pattern, st := range patterns {
		re := regexp2.MustCompile(pattern, regexp2.None)
		r := rand.New(rand.NewPCG(1, uint64(len(pattern))))
		for range 40000 {
			s := randomText(r)
			if strings.Contains(s, "'ſ") {
				continue
			}
			got, want := strings.Join(cutPieces(st, s), "|"), strings.Join(regexPieces(t, re, s), "|")
			if got != want {
				t.Fatalf("%T cuts %q into %q, the pattern into %q", st, s, got, want)
			}
		}
	}
}

// FuzzPatterns is TestPatterns on what the fuzzer finds.
func FuzzPatterns(f *testing.F) {
	f.Add("I'LL  go\r\n\n 1234 !!\n")
	res := map[string]*regexp2.Regexp{}
	for pattern := range patterns {
		res[pattern] = regexp2.MustCompile(pattern, regexp2.None)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 256 {
			return // the engine backtracks
		}
		s = strings.ToValidUTF8(strings.ReplaceAll(s, "ſ", ""), "")
		for pattern, re := range res {
			got, want := strings.Join(cutPieces(patterns[pattern], s), "|"), strings.Join(regexPieces(t, re, s), "|")
			if got != want {
				t.Errorf("%q is cut into %q, the pattern cuts %q", s, got, want)
			}
		}
	})
}

// TestWords: texts are cut as worked out by hand.
func TestWords(t *testing.T) {
	for _, c := range []struct {
		st   stage
		text string
		want string // pieces joined by |
	}{
		{patterns[patternLlama3], "I'LL don't 12345", "I|'LL| don|'t| |123|45"},
		{patterns[patternQwen2], "a123  b\n\n c", "a|1|2|3| | b|\n\n| c"},
		{patterns[patternGPT2], "I'LL it's 12345  b\n\nc", "I|'|LL| it|'s| 12345| | b|\n|\n|c"},
		{patterns[patternLlama3], "x'ſy", "x|'ſ|y"},
		{digits{single: true}, "ab12c", "ab|1|2|c"},
		{digits{}, "ab12c", "ab|12|c"},
		{cutAfter{" "}, " a  b", " |a | |b"},
		{wordBorder{spaceMark}, "▁▁a▁b▁", "▁▁a|▁b|▁"},
	} {
		if got := strings.Join(cutPieces(c.st, c.text), "|"); got != c.want {
			t.Errorf("%T cuts %q into %q, want %q", c.st, c.text, got, c.want)
		}
	}
}
